# SPDX-License-Identifier: Apache-2.0
"""One watched task: what a status that was read says of its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import FINAL_STATES, TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions
from airflow_provider_sops.core.wait.policy import WaitPolicy
from airflow_provider_sops.core.wait.task_wait import TaskWait
from airflow_provider_sops.core.wait.verdict import Next

#: States that can be announced: the final ones, and FAILED, which a person may yet mend.
WATCHABLE_STATES = frozenset({*FINAL_STATES, TaskState.FAILED})
#: Every end is one that was waited for; a failure is told where it is to be announced, and outages last as they last.
_UNTIL_FAILED = WaitPolicy(allowed_states=FINAL_STATES, on_failed="fail", max_outage=float("inf"))
_UNTIL_ENDED = _UNTIL_FAILED._replace(on_failed="wait")
_UNKNOWN_END = (
    "SOPS task {} has ended, and whether it has finished or was revoked is unknown: grant the app the API "
    "get_task_status, or watch for both states. It is not announced."
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a status says of a watched task.

    :param status: to be announced; ``None``: nothing is.
    :param is_over: the task is watched no more.
    :param note: for the log, of a task that is watched no more though it was not seen to end.
    """

    status: TaskStatus | None = None
    is_over: bool = False
    note: str = ""


@dataclass(slots=True)
class WatchedTask:
    """One task that has not ended yet, as far as is known.

    :param states: those that are announced.
    :param since: seconds since the epoch by SOPS' clock; an end before it is not announced of an old task.
    :param is_old: the task was there before the watch, and its state was not read yet.
    :param is_failed: its failure was announced.
    """

    task_id: int
    project: Project
    states: frozenset[TaskState]
    permissions: ApiPermissions
    since: float = 0.0
    is_old: bool = False
    is_failed: bool = False
    task_wait: TaskWait = field(init=False)

    def __post_init__(self) -> None:
        policy = _UNTIL_ENDED if self.is_failed else self._policy
        self.task_wait = TaskWait(self.task_id, self.project, policy, had_answer=True, permissions=self.permissions)

    @property
    def _policy(self) -> WaitPolicy:
        return _UNTIL_FAILED if TaskState.FAILED in self.states else _UNTIL_ENDED

    @property
    def must_be_evaluated(self) -> bool:
        """Whether time alone may change what its last status means."""
        failing = self.task_wait.wait_state.failed is not None and self.task_wait.policy is _UNTIL_FAILED
        return self.task_wait.must_be_kept or failing

    def evaluate(self, status: TaskStatus, now: float) -> Flow[Sighting]:
        """Say what a status means; asks further where that is needed to decide.

        :param now: seconds since the epoch.
        :raises SopsError: when a further question fails; the same status is to be evaluated again.
        """
        if status.state.is_final and status.state not in self.states:
            return Sighting(is_over=True)  # an old one's end time would cost a request
        observation = yield from self.task_wait.evaluate(status, now, may_read_for_log=lambda: False)
        if isinstance(observation.error, errors.SopsError):
            raise observation.error
        found = observation.status or status
        was_old, self.is_old = self.is_old, False
        if observation.next is Next.WAIT:
            if self.is_failed and found.state is not TaskState.FAILED and not found.is_paused:
                self.is_failed, self.task_wait.policy = False, self._policy
            return Sighting()
        if found.state is TaskState.FAILED and not found.is_deleted:
            self.is_failed, self.task_wait.policy = True, _UNTIL_ENDED
            return Sighting() if was_old and not self._is_since(found.failed_at) else Sighting(found)
        if observation.next is Next.FAILURE:
            return Sighting(is_over=True, note=f"SOPS task {self.task_id} {observation.reason}; it is watched no more.")
        if found.state is TaskState.ENDED and not self.states >= {TaskState.FINISHED, TaskState.REVOKED}:
            return Sighting(is_over=True, note=_UNKNOWN_END.format(self.task_id))
        is_wanted = found.state is TaskState.ENDED or found.state in self.states
        if not is_wanted or (was_old and not self._is_new_end(found)):
            return Sighting(is_over=True)
        return Sighting(found, is_over=True)

    def _is_new_end(self, status: TaskStatus) -> bool:
        """Return whether an old task has ended within the watch; what has finished before is not listed."""
        return status.state is TaskState.FINISHED or self._is_since(status.finish_time)

    def _is_since(self, moment: datetime | None) -> bool:
        # SOPS cuts its times to whole seconds
        return moment is not None and moment.timestamp() >= int(self.since)
