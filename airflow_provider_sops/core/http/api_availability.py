# SPDX-License-Identifier: Apache-2.0
"""Which APIs of a site answer: how to distinguish an API that SOPS lacks from a site that is away.

SOPS redirects the address of an API that it does not have, and so does the login page of a site under maintenance.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.sops_releases import since
from airflow_provider_sops.core.errors import make_error, perhaps_missing
from airflow_provider_sops.core.http.gateway_refusals import answered_405

#: Seconds within which an API is redirected, another one answers, and the first is redirected again: what lies further
#: apart may be two maintenances, and the site have been well in between.
WITHIN = 300.0


class ApiAvailability:
    """What one client has learnt of its site's APIs; each client has its own, and forgets it with its end.

    One failure decides nothing. An API is missing when it has never answered, is redirected (or leads to a 404 that
    no gateway has signed), another API answers, and then it is redirected again.

    :param clock: gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answered: set[str] = set()
        #: how many answers there were up to now
        self._answers = 0
        #: by API that has not answered: when it first failed so, and how many answers there had been
        self._failed: dict[str, tuple[float, int]] = {}

    def note_answer(self, call: Call) -> None:
        """Record that SOPS has answered a call, with yes or no."""
        self._answers += 1
        self._answered.add(call.name)
        self._failed.pop(call.name, None)

    def note_failure(self, call: Call, error: errors.SopsError) -> errors.SopsError:
        """Record how a call has failed.

        :return: the error, or in its place the one that says for certain that this SOPS does not have the API.
        """
        if isinstance(error, errors.SopsApiError):
            self.note_answer(call)
        if call.name in self._answered or not perhaps_missing(error) or answered_405(error.remote_message or ""):
            return error
        now = self._clock()
        first, answers = self._failed.get(call.name, (now, self._answers))
        if now - first > WITHIN:
            first, answers = now, self._answers
        self._failed[call.name] = first, answers
        return _missing(call, error) if self._answers > answers else error


def _missing(call: Call, error: errors.SopsError) -> errors.SopsApiNotFoundError:
    made = make_error(
        errors.SopsApiNotFoundError,
        call,
        f"this SOPS does not have {call.name}{since(call.name)}",
        code=error.code,
        remote_message=error.remote_message,
        status=error.http_status,
        request_id=error.request_id,
        hint="Its other APIs answer at the same address, but there is nothing at that of this one: "
        "do without it, or have SOPS upgraded.",
    )
    made.certain = True
    made.__cause__ = error
    return made
