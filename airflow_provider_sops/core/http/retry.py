# SPDX-License-Identifier: Apache-2.0
"""Which failed call deserves another try, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.errors import nobody_answers

#: Errors that say nothing of the task and may be gone at the next try: nobody has answered, or not SOPS.
TRANSIENT = (
    errors.SopsConnectionError,
    errors.SopsTimeoutError,
    errors.SopsRateLimitError,
    errors.SopsGatewayUnavailableError,
    errors.SopsInvalidAnswerError,
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long one call is tried: bounded in tries and in time."""

    #: tries in all
    tries: int = 4
    #: seconds from the first try after which no further one starts
    max_seconds: float = 60.0
    #: seconds before the second try; doubled for each further one
    first_delay: float = 0.5
    #: longest pause of our own choice, in seconds; a server's ``Retry-After`` may ask for more
    max_delay: float = 10.0

    def delay(self, call: Call, error: errors.SopsError, tries_done: int, elapsed: float) -> float | None:
        """Return the seconds to wait before another try, or ``None`` when the error is to be raised.

        :param tries_done: how often the call was tried up to now.
        :param elapsed: seconds since the first try began.
        """
        if tries_done >= self.tries or not may_repeat(call, error):
            return None
        delay = backoff(tries_done, self.first_delay, self.max_delay)
        if error.retry_after is not None:
            delay = max(delay, error.retry_after)
        return delay if elapsed + delay <= self.max_seconds else None


#: One try and no more.
NO_RETRY = RetryPolicy(tries=1)


def may_repeat(call: Call, error: errors.SopsError) -> bool:
    """Return whether the same call may be sent again after this error.

    A read may be repeated after every transient error. What may have taken effect (create, start, operate) is repeated
    only when it is certain that it did not reach SOPS: not connected, or refused for its rate.
    """
    if not isinstance(error, TRANSIENT) and not nobody_answers(error):
        return False
    if call.reads or isinstance(error, errors.SopsRateLimitError):
        return True
    return isinstance(error, errors.SopsConnectionError | errors.SopsTimeoutError) and not error.may_have_been_sent


def backoff(failures: int, first: float, longest: float) -> float:
    """Return the seconds to wait after so many failures in a row: doubled each time, with up to a fifth of jitter."""
    return min(longest, first * 2.0 ** min(failures - 1, 30)) * random.uniform(0.8, 1.0)  # noqa: S311 (no secret)
