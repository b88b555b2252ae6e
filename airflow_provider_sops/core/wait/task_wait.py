# SPDX-License-Identifier: Apache-2.0
"""The wait for the end of one SOPS task, without I/O: flows that both clients and every mode of a wait carry out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import nocache
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.api.sops_releases import SINCE
from airflow_provider_sops.core.call_flow import Flow, LogLine
from airflow_provider_sops.core.models import TaskDetail, TaskStatus, readers
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions, is_denied, read_status
from airflow_provider_sops.core.wait.auto_retry import LONGEST_WINDOW, retry_window
from airflow_provider_sops.core.wait.intervention import read_intervention
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.outage import ends_at_once, observe_outage
from airflow_provider_sops.core.wait.policy import WaitPolicy
from airflow_provider_sops.core.wait.progress import ProgressLog, describe_progress, progress_lines
from airflow_provider_sops.core.wait.verdict import Next, Verdict, WaitState, judge

#: What a failed task is asked for besides its state; an old SOPS leaves out what it does not know.
_FLAGS = ("with_ex_data", "with_failed_node_info", "with_auto_retry_status")

NO_STATUS_NOTICE = (
    "The app may not call get_task_status, so it is decided by get_tasks_status alone: whether SOPS will retry a "
    "failed node by itself is not known. Apply for the API permission 'get_task_status' of bk-sops."
)
NO_TREE_NOTICE = (
    "Whether SOPS will retry the failed node by itself is not known: SOPS has not said it (it does since "
    f"{SINCE['get_task_status.failed_node_info']}), and the settings of the task's nodes cannot be read by "
    f"get_task_detail. So the failure is believed only when it has lasted for {LONGEST_WINDOW:.0f} s."
)


@dataclass(slots=True)
class TaskWait:
    """The wait for one task: its policy, and what was read up to now. Each status of the task is evaluated by it.

    :param had_answer: SOPS has answered before (in an earlier poke, or before deferring). Wrong credentials may then be
        a rotation under way, and an address where nobody answers a restart; both are tolerated like an outage. Without
        it they end the wait at once.
    """

    task_id: int
    project: Project
    policy: WaitPolicy
    had_answer: bool = False
    permissions: ApiPermissions = field(default_factory=ApiPermissions)
    wait_state: WaitState = field(default_factory=WaitState)
    #: what was logged already
    progress_log: ProgressLog = field(default_factory=ProgressLog)
    #: seconds since the epoch of the first failed reading of the present outage
    outage_since: float | None = None
    task_url: str = ""
    #: the task's name, which not every answer has
    name: str = ""
    detail: TaskDetail | None = None
    #: the end that was read; an older answer takes it back no more
    final: TaskStatus | None = None

    @property
    def must_be_kept(self) -> bool:
        """Whether this wait knows what a new one could not learn: an outage, an end without end time, or since when it
        has waited for a retry of which SOPS says nothing."""
        retry_timed = self.wait_state.retry_until is not None and self.wait_state.failed_at is None
        return self.outage_since is not None or self.wait_state.finished is not None or retry_timed

    def observe(self, now: float) -> Flow[Observation]:
        """Read the task's status and say what follows.

        :param now: seconds since the epoch.
        """
        lines: list[LogLine] = []
        try:
            notices: list[str] = []
            status = yield from read_status(self.project, self.task_id, self.permissions, notices, keep=self._keep)
            if self.progress_log.logged_until is None:  # else an earlier process has logged them
                lines += [LogLine(notice, warning=True) for notice in notices]
            if self.detail is None and not status.is_deleted:
                yield from self._read_detail_once()
            observation = yield from self.evaluate(status, now, has_nodes=True)
        except errors.SopsError as error:
            observation = self.failed_read(error, now)
        return replace(observation, lines=(*lines, *observation.lines))

    def evaluate(
        self,
        status: TaskStatus,
        now: float,
        *,
        has_nodes: bool = False,
        may_read_for_log: Callable[[], bool] = lambda: True,
    ) -> Flow[Observation]:
        """Return what follows from a status that was read already; asks further where that is needed to decide.

        :param has_nodes: the status was read with the task's nodes, so that the log may name them.
        :param may_read_for_log: asked before a question that only makes the log richer; ``False`` puts it off.
        :raises errors.SopsError: when a further question fails; hand it to :meth:`failed_read`.
        """
        if status.state is TaskState.UNKNOWN:
            return self.failed_read(_unknown_state(status), now)
        self.had_answer = True
        if self.final is not None and (self.final.is_deleted or not status.state.is_final):
            status = self.final  # a replica with an older answer takes no end back
        elif status.state.is_final or status.is_deleted:
            self.final = status
        status = self._named(status)
        self.task_url = status.task_url or self.task_url
        verdict = judge(status, self.policy, self.wait_state, now)
        lines: list[LogLine] = []
        if verdict.next is Next.ASK_STATUS:
            status, verdict = yield from self._ask_again(status, now, lines)
        if verdict.next is Next.ASK_DETAIL:
            status, verdict = yield from self._ask_detail(status)
        if verdict.next is Next.SUCCESS and status.is_deleted is None and self.permissions.status:
            single = yield from read_status(self.project, self.task_id, self.permissions, [], keep=self._keep)
            if single.is_deleted:
                status, verdict = single, judge(single, self.policy, self.wait_state, now)
        # not before: a status whose further questions fail is of no use, and the outage goes on
        lines = [*self._recovered(now), *lines, *self._changes(status, now, has_nodes)]
        if verdict.next is Next.WAIT:
            lines += yield from self._intervention(status, now, may_read_for_log)
            return Observation(Next.WAIT, status, lines=tuple(lines))
        if verdict.next is Next.SUCCESS:
            status = yield from self._complete(status)
        status = replace(self._named(status), task_url=self.task_url)
        return Observation(verdict.next, status, verdict.reason, tuple(lines))

    def read_progress(self, now: float) -> Flow[list[LogLine]]:
        """Read how far the task's nodes are, for the log alone; nothing is judged.

        Should the task prove to be deleted, :attr:`final` says so: the batches of an old SOPS never do.
        """
        try:
            answer = yield self.project.call("get_task_status", task_id=self.task_id)
            return self._changes(self._named(readers.task_status(answer)), now, has_nodes=True)
        except errors.SopsNotFoundError:
            yield from self._find_deleted()
            return []
        except errors.SopsError as error:
            if is_denied(error):
                self.permissions.status = False
            return []

    def _find_deleted(self) -> Flow[None]:
        try:
            status = yield from read_status(
                self.project, self.task_id, self.permissions, [], fresh=True, keep=self._keep
            )
        except errors.SopsError:
            return
        if status.is_deleted:
            self.final = status

    def failed_read(self, error: errors.SopsError, now: float, *, what: str = "status") -> Observation:
        """Return what follows from a reading that failed.

        :param now: seconds since the epoch.
        :param what: what could not be read.
        """
        if ends_at_once(error, had_answer=self.had_answer):
            return Observation(Next.FAILURE, error=error, reason=str(error))
        begins = self.outage_since is None
        since = self.outage_since = now if self.outage_since is None else self.outage_since
        return observe_outage(
            self.task_id, error, begins=begins, lasted=now - since, max_outage=self.policy.max_outage, what=what
        )

    def _recovered(self, now: float) -> list[LogLine]:
        if self.outage_since is None:
            return []
        lasted, self.outage_since = now - self.outage_since, None
        return [LogLine(f"SOPS answers again after {lasted:.0f} s.")]

    def _read_detail_once(self) -> Flow[None]:
        """Read the detail for the task's address and the names of its nodes; a wait can do without."""
        try:
            answer = yield self.project.call("get_task_detail", task_id=self.task_id)
            self._keep(readers.task_detail(answer))
        except errors.SopsError:
            return

    def _keep(self, detail: TaskDetail) -> None:
        self.detail = detail
        self.task_url = detail.task_url or self.task_url
        self.name = detail.name or self.name

    def _named(self, status: TaskStatus) -> TaskStatus:
        """Return a status the task's name where it has none, as from ``get_task_status`` before SOPS 3.6.46."""
        self.name = status.name or self.name
        return status if status.name or not self.name else replace(status, name=self.name)

    def _ask_again(self, status: TaskStatus, now: float, lines: list[LogLine]) -> Flow[tuple[TaskStatus, Verdict]]:
        """Read the status past the caches, with the reasons of failures and whether SOPS will retry by itself."""
        if not self.permissions.status:  # the detail knows neither FAILED nor SUSPENDED; a batch did
            return (yield from self._decide_without(status, now, lines))
        flags = dict.fromkeys(_FLAGS, "1") if status.state is TaskState.FAILED else {}
        try:
            answer = yield self.project.call("get_task_status", task_id=self.task_id, **flags, **nocache())
            fresh = readers.task_status(answer)
        except errors.SopsNotFoundError:  # deleted just now, or a batch does not tell
            fresh = yield from read_status(
                self.project, self.task_id, self.permissions, [], fresh=True, keep=self._keep
            )
        except errors.SopsError as error:
            if not is_denied(error):
                raise
            self.permissions.status = False
            return (yield from self._decide_without(status, now, lines))
        fresh = self._named(replace(fresh, task_url=fresh.task_url or status.task_url))
        if fresh.state is TaskState.UNKNOWN:
            raise _unknown_state(fresh)
        return fresh, (yield from self._decide(fresh, now, lines))

    def _decide_without(self, status: TaskStatus, now: float, lines: list[LogLine]) -> Flow[tuple[TaskStatus, Verdict]]:
        """Decide by what a batch has said, as no more may be asked."""
        self._log_once(NO_STATUS_NOTICE, lines)
        return status, (yield from self._decide(status, now, lines))

    def _decide(self, status: TaskStatus, now: float, lines: list[LogLine]) -> Flow[Verdict]:
        """Judge a status to be decided on; if nothing else, the tree tells whether SOPS may yet retry by itself."""
        verdict = judge(status, self.policy, self.wait_state, now, fresh=True)
        if verdict.next is not Next.ASK_TREE:
            return verdict
        if self.detail is None:
            yield from self._read_detail_once()
        tree = self.detail.pipeline_tree if self.detail else {}
        if not tree.get("activities"):
            self._log_once(NO_TREE_NOTICE, lines)
        window = retry_window(status, tree)
        return judge(status, self.policy, self.wait_state, now, fresh=True, retry_window=window)

    def _log_once(self, notice: str, lines: list[LogLine]) -> None:
        if self.progress_log.note_notice(notice, self.wait_state.failed):
            lines.append(LogLine(notice, warning=True))

    def _ask_detail(self, status: TaskStatus) -> Flow[tuple[TaskStatus, Verdict]]:
        """FINISHED for long without an end time: a fresh detail decides."""
        answer = yield self.project.call("get_task_detail", task_id=self.task_id, **nocache())
        detail = readers.task_detail(answer)
        self._keep(detail)
        if detail.finish_time is None:
            return status, Verdict(
                Next.FAILURE,
                "is FINISHED, but SOPS has given no end time for two minutes, nor does its detail: "
                "look at the task's page, and tell those who run SOPS",
            )
        ended = replace(status, finish_time=detail.finish_time)
        return ended, judge(ended, self.policy, self.wait_state, 0.0)

    def _complete(self, status: TaskStatus) -> Flow[TaskStatus]:
        """Add what a wait returns but the status lacks: REVOKED never gets an end time, EXPIRED has nothing."""
        if status.finish_time is not None and status.start_time is not None and self.task_url and status.name:
            return status
        try:
            answer = yield self.project.call("get_task_detail", task_id=self.task_id, **nocache())
            detail = readers.task_detail(answer)
        except errors.SopsError:
            return status
        self._keep(detail)
        return _complete_from(status, detail)

    def _changes(self, status: TaskStatus, now: float, has_nodes: bool) -> list[LogLine]:
        """Return the lines for a change of the state, the nodes done or the nodes running."""
        has_nodes = has_nodes or bool(status.nodes)
        if not has_nodes and status.state is self.progress_log.state:
            return []  # a batch, which says nothing of the nodes
        progress = describe_progress(status, self.detail) if has_nodes else str(status.state)
        if not self.progress_log.note_progress(status, progress, now):
            return []
        return progress_lines(status, progress, self.wait_state, self.task_url)

    def _intervention(
        self, status: TaskStatus, now: float, may_read_for_log: Callable[[], bool]
    ) -> Flow[tuple[LogLine, ...]]:
        """Log it when a task that has run on for long without a change waits for a person."""
        due = self.progress_log.intervention_due
        if due is None or now < due or status.state is not TaskState.RUNNING or not may_read_for_log():
            return ()
        self.progress_log.intervention_asked = True
        intervention = yield from read_intervention(self.project, self.task_id, self.task_url)
        self.progress_log.never_intervention = intervention.is_lacking
        return intervention.lines


def _complete_from(status: TaskStatus, detail: TaskDetail) -> TaskStatus:
    return replace(
        status,
        name=status.name or detail.name,
        start_time=status.start_time or detail.start_time,
        finish_time=status.finish_time or detail.finish_time,
        elapsed_time=status.elapsed_time or detail.elapsed_time,
    )


def _unknown_state(status: TaskStatus) -> errors.SopsInvalidAnswerError:
    error = errors.SopsInvalidAnswerError(
        f"SOPS task {status.task_id} is in a state that this provider does not know: {status.raw_state!r}. "
        "It is taken neither for success nor for failure; look for a newer version of the provider."
    )
    error.task_id = status.task_id
    return error
