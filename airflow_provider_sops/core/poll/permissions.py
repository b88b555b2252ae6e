# SPDX-License-Identifier: Apache-2.0
"""Which ways of reading SOPS grants a poller, best first: batches, single statuses, details alone."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.sops_releases import since
from airflow_provider_sops.core.errors import perhaps_missing
from airflow_provider_sops.core.status_reading import ApiPermissions, is_denied

#: Seconds after which the ways that were denied are tried again.
BATCH_RETRY = 1800.0

#: Kinds of notices, of which each wait gets one each.
NO_BATCHES, DETAILS_ALONE = "no batches", "details alone"
NO_BATCH_NOTICE = (
    "get_tasks_status cannot be used here, so each waiting task is read by a request of its own; apply for the API "
    "permission 'get_tasks_status' of bk-sops to read fifty at once. It is tried again in 30 minutes."
)
MISSING_BATCH_NOTICE = (
    f"This SOPS does not have get_tasks_status{since('get_tasks_status')}, so each waiting task is read by a request "
    "of its own, not fifty at once. It is tried again in 30 minutes."
)


def denies_batches(error: errors.SopsError) -> bool:
    """Return whether it is certain that the app, the user or this SOPS has no batches; single reads may do.

    IAM asks for more rights for a batch than for one task.
    """
    return is_denied(error) or isinstance(error, errors.SopsIamDeniedError)


class PollPermissions:
    """What may be used, learnt from refusals; all of it is tried again after :data:`BATCH_RETRY`.

    Times are monotonic, in seconds, and the caller's.
    """

    def __init__(self) -> None:
        #: for the reads of single tasks, which the waits share
        self.single = ApiPermissions()
        self.batches = True
        #: what waits are to know while there are no batches
        self.batch_notice = NO_BATCH_NOTICE
        #: since when not all ways are granted
        self._denied_at: float | None = None
        #: a batch has answered: where batches are missing later, the whole site is away
        self._batch_answered = False

    @property
    def details_alone(self) -> bool:
        """Whether neither batches nor single statuses are granted."""
        return not self.batches and not self.single.status

    def note_batch_answer(self) -> None:
        """Record that this SOPS has batches."""
        self._batch_answered = True

    def doubts_batches(self, error: errors.SopsError) -> bool:
        """Return whether a refused batch means that there are none, or perhaps means it."""
        return denies_batches(error) or (perhaps_missing(error) and not self._batch_answered)

    def deny_batches(self, error: errors.SopsError) -> str:
        """Do without batches from now on; give the notice for the waits."""
        missing = isinstance(error, errors.SopsApiNotFoundError)
        self.batches, self.batch_notice = False, MISSING_BATCH_NOTICE if missing else NO_BATCH_NOTICE
        return f"{self.batch_notice} (What it said: {error})"

    def note_denials(self, now: float) -> None:
        """Record since when a way is denied, if one is."""
        if self._denied_at is None and not (self.batches and self.single.status):
            self._denied_at = now

    def retry_if_due(self, now: float) -> None:
        """Begin anew with the best way once a denial is old enough."""
        if self._denied_at is not None and now - self._denied_at >= BATCH_RETRY:
            self.batches, self.single.status, self._denied_at = True, True, None
