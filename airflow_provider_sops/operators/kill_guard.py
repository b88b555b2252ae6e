# SPDX-License-Identifier: Apache-2.0
"""What a try does once Airflow has killed it: it stops, and revokes its SOPS task."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_sops.compat import is_out_of_time
from airflow_provider_sops.operators.run_kill import revoke_when_killed
from airflow_provider_sops.task_log import report_to

if TYPE_CHECKING:
    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.operators.run_kill import Running
    from airflow_provider_sops.operators.run_record_store import RunRecordStore
    from airflow_provider_sops.operators.run_spec import RunSpec

#: Longest sleep in one piece (seconds), so that a kill is noticed.
_SLICE = 0.5
#: How often a start is tried to be undone, a slice apart: Airflow's SIGKILL comes five seconds after a kill.
_UNDO_ATTEMPTS = 7


class KillGuard:
    """Stops a try that was killed, and revokes its SOPS task.

    :param is_killed: tells whether Airflow has called ``on_kill``.
    :ivar running: what a kill revokes; ``None`` before there is a SOPS task, and after its end.
    """

    def __init__(
        self, spec: RunSpec, hook: SopsHook, ti: Any, records: RunRecordStore, log: Any, is_killed: Callable[[], bool]
    ) -> None:
        self._spec = spec
        self._hook = hook
        self._ti = ti
        self._records = records
        self._log = log
        self._report = report_to(log)
        self._is_killed = is_killed
        self.running: Running | None = None
        #: a kill has found the SOPS task not started, and its start is under way
        self._may_start = False
        #: a kill could not learn from Airflow whether a user is behind it
        self._unanswered = False

    def kill(self) -> None:
        """Revoke the SOPS task."""
        running, spec = self.running, self._spec
        if running is None:
            self._log.info("No SOPS task runs for this task: nothing is revoked.")
        elif not spec.revoke_on_kill:
            self._log.info("SOPS task %s is left running, as revoke_on_kill is off.", running.task_id)
        else:
            killed = revoke_when_killed(
                running,
                self._hook,
                self._ti,
                self._records,
                keep_when_cleared=spec.reattach,
                out_of_time=is_out_of_time(),
            )
            self._may_start, self._unanswered = killed.may_start, killed.unanswered and not self._unanswered
            for report in list(killed.reports):
                self._report(report)

    def stop_if_killed(self) -> None:
        """Fail, so that a retry may follow: Airflow 3 lets the task go on after ``on_kill``.

        :raises AirflowException: the try was killed.
        """
        if not self._is_killed():
            return
        if self._unanswered:  # what the kill has interrupted may have been just what it needed to ask
            self.kill()
        raise AirflowException("This task was told to stop.")

    def sleep(self, seconds: float) -> None:
        """Sleep, but for a kill.

        :raises AirflowException: the try was killed.
        """
        wake_at = time.monotonic() + seconds
        while (left := wake_at - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))
            self.stop_if_killed()

    def undo_start_if_killed(self) -> None:
        """Revoke what was started just when the kill came, whose own attempt was too early."""
        for _ in range(_UNDO_ATTEMPTS):
            if not self._may_start:
                return
            time.sleep(_SLICE)
            self.kill()
