# SPDX-License-Identifier: Apache-2.0
"""After the gateway has refused a wait's own call for the number of requests, all waits' own calls pause."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.poll.pace import asked_to_wait


class RateLimitPause:
    """Up to when such calls are not sent, and why. Times are monotonic, in seconds, and the caller's."""

    def __init__(self) -> None:
        self._until = float("-inf")
        self._refusal: errors.SopsRateLimitError | None = None

    def begin(self, refusal: errors.SopsRateLimitError, now: float, interval: float) -> None:
        """Send none for an interval, or for as long as the server asks to wait."""
        self._until, self._refusal = now + max(interval, asked_to_wait(refusal)), refusal

    def check(self, call: Call, now: float) -> None:
        """Let a call pass, unless they pause.

        :raises SopsRateLimitError: in place of sending the call.
        """
        if self._refusal is not None and now < self._until:
            raise _not_sent(call, self._refusal) from self._refusal


def _not_sent(call: Call, refusal: errors.SopsRateLimitError) -> errors.SopsRateLimitError:
    """Make the error of a call that is not sent, from that of one like it, perhaps about another task."""
    return errors.make_error(
        errors.SopsRateLimitError,
        call,
        "not asked, as the gateway has just refused a question for the number of requests",
        code=refusal.code,
        remote_message=refusal.remote_message,
        status=refusal.http_status,
        request_id=refusal.request_id,
        retry_after=refusal.retry_after,
    )
