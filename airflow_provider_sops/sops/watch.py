# SPDX-License-Identifier: Apache-2.0
"""Watching one SOPS task until it ends, without I/O: steps that both clients and every mode of a wait carry out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_sops.sops import errors, models
from airflow_provider_sops.sops.auto_retry import LONGEST_WINDOW, retry_window
from airflow_provider_sops.sops.calls import Call, Scope, make_call
from airflow_provider_sops.sops.gateway import nobody_answers, perhaps_missing
from airflow_provider_sops.sops.models import TaskDetail, TaskStatus
from airflow_provider_sops.sops.policy import WaitPolicy
from airflow_provider_sops.sops.refusals import just_started
from airflow_provider_sops.sops.releases import SINCE
from airflow_provider_sops.sops.states import TaskState
from airflow_provider_sops.sops.text import DEEPEST
from airflow_provider_sops.sops.transport import Steps
from airflow_provider_sops.sops.verdict import Next, Since, Verdict, judge

#: Errors that waiting does not mend: they end a wait at once.
DEFINITE = (
    errors.SopsNotFoundError,
    errors.SopsInvalidParameterError,
    errors.SopsIamDeniedError,
    errors.SopsApiPermissionError,
    errors.SopsApiNotFoundError,
    errors.SopsIpRefusedError,
)
#: The app may not ask for this, or this SOPS does not have it: another API may tell the same.
DENIED = (errors.SopsApiPermissionError, errors.SopsApiNotFoundError)
#: What a failed task is asked for besides its state; an old SOPS leaves out what it does not know.
_FLAGS = ("with_ex_data", "with_failed_node_info", "with_auto_retry_status")
#: Seconds without any change after which it is asked whether the task waits for a person.
INTERVENTION_AFTER = 300.0
#: Seconds after which new processes, which do not know what was told, tell again that a task is paused.
REMIND_AFTER = 600.0

DETAIL_ONLY_NOTICE = (
    "The app may not call get_task_status, so this wait reads get_task_detail alone. It costs: SOPS answers it from a "
    "cache of 60 seconds, and it has no state, so that a failed or paused task looks like a running one, and an end "
    "without outputs may be a finish or a revoke. Apply for the API permission 'get_task_status' of bk-sops."
)
NO_STATUS_NOTICE = (
    "The app may not call get_task_status, so it is decided by get_tasks_status alone: whether SOPS will retry a "
    "failed node by itself is not known. Apply for the API permission 'get_task_status' of bk-sops."
)
NO_TREE_NOTICE = (
    "Whether SOPS will retry the failed node by itself is not known: SOPS has not said it (it does since "
    f"{SINCE['get_task_status.failed_node_info']}), and the settings of the task's nodes cannot be read by "
    f"get_task_detail. So the failure is believed only when it has lasted for {LONGEST_WINDOW:.0f} s."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where tasks are: the business or project that calls name."""

    bk_biz_id: int
    scope: Scope = "cmdb_biz"

    def call(self, name: str, /, **params: Any) -> Call:
        """Describe a call of an API in this place."""
        return make_call(name, params, bk_biz_id=self.bk_biz_id, scope=self.scope)


@dataclass(slots=True)
class Grants:
    """Which of the APIs that tell a task's state may be called; learnt from refusals."""

    status: bool = True
    #: get_task_status has answered: where it does not any more, the whole site is away
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line for the task's log."""

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a task gave: what follows, the status read (if it could be read), and lines for the log."""

    next: Next
    status: TaskStatus | None = None
    reason: str = ""
    lines: tuple[Line, ...] = ()
    #: the error that ends the wait when it is not a bad end of the task
    error: errors.SopsError | None = None
    #: the wait ends because of ``max_outage``, not because of one error
    outage: bool = False


@dataclass(slots=True)
class Watch:
    """The wait for one task: policy, and what was seen up to now. Used by one wait, looked through once a poll.

    :param had_answer: SOPS has answered before (in an earlier poke, or before deferring). Wrong credentials then may be
        a rotation under way, and an address behind which nobody answers a restart; they are tolerated like an outage.
        Without it they end the wait at once.
    """

    task_id: int
    place: Place
    policy: WaitPolicy
    had_answer: bool = False
    grants: Grants = field(default_factory=Grants)
    since: Since = field(default_factory=Since)
    #: the last state and progress written into the log
    shown_state: TaskState | None = None
    shown: str = ""
    changed_at: float | None = None
    outage_since: float | None = None
    intervention_asked: bool = False
    #: who asks whether it waits for a person gets no answer here
    never_intervention: bool = False
    told: frozenset[str] = frozenset()
    #: seconds since the epoch up to which an earlier process has written the changes into the log
    told_until: float | None = None
    task_url: str = ""
    #: the task's name, which not every answer has
    name: str = ""
    detail: TaskDetail | None = None
    final: TaskStatus | None = None

    @property
    def must_be_kept(self) -> bool:
        """Whether this watch remembers what a new one could not learn: an outage, an end without end time, or since
        when it has waited for a retry that SOPS does not tell of."""
        retry_timed = self.since.retry_until is not None and self.since.failed_at is None
        return self.outage_since is not None or self.since.finished is not None or retry_timed

    @property
    def intervention_due(self) -> float | None:
        """When to ask whether the task waits for a person; ``None``: not before something changes."""
        if self.shown_state is not TaskState.RUNNING or self.changed_at is None:
            return None
        if self.intervention_asked or self.never_intervention:
            return None
        return self.changed_at + INTERVENTION_AFTER

    def look(self, now: float) -> Steps[Look]:
        """Read the task's status and say what follows.

        :param now: seconds since the epoch.
        """
        lines: list[Line] = []
        try:
            notices: list[str] = []
            status = yield from read_status(self.place, self.task_id, self.grants, notices, keep=self._keep)
            if self.told_until is None:  # an earlier process has said it
                lines += [Line(notice, warning=True) for notice in notices]
            if self.detail is None and not status.is_deleted:
                yield from self._read_detail_once()
            look = yield from self.consider(status, now, progress=True)
        except errors.SopsError as error:
            look = self.failed_read(error, now)
        return replace(look, lines=(*lines, *look.lines))

    def consider(
        self,
        status: TaskStatus,
        now: float,
        *,
        progress: bool = False,
        courtesy: Callable[[], bool] = lambda: True,
    ) -> Steps[Look]:
        """Say what follows from a status that was read already; asks further where that is needed to decide.

        :param progress: the status has the task's nodes, so that the log may name them.
        :param courtesy: asked before a question that only makes the log richer; ``False`` puts it off.
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
        verdict = judge(status, self.policy, self.since, now)
        lines: list[Line] = []
        if verdict.next is Next.ASK_STATUS:
            status, verdict = yield from self._ask_again(status, now, lines)
        if verdict.next is Next.ASK_DETAIL:
            status, verdict = yield from self._ask_detail(status)
        if verdict.next is Next.SUCCESS and status.is_deleted is None and self.grants.status:
            single = yield from read_status(self.place, self.task_id, self.grants, [], keep=self._keep)
            if single.is_deleted:
                status, verdict = single, judge(single, self.policy, self.since, now)
        # not before: a status whose further questions fail is of no use, and the outage goes on
        lines = [*self._recovered(now), *lines, *self._changes(status, now, progress)]
        if verdict.next is Next.WAIT:
            lines += yield from self._intervention(status, now, courtesy)
            return Look(Next.WAIT, status, lines=tuple(lines))
        if verdict.next is Next.SUCCESS:
            status = yield from self._complete(status)
        status = replace(self._named(status), task_url=self.task_url)
        return Look(verdict.next, status, verdict.reason, tuple(lines))

    def progress(self, now: float) -> Steps[list[Line]]:
        """Read how far the task's nodes are, for the log alone; nothing is judged.

        A task that is found deleted stands in :attr:`final` then: the batches of an old SOPS never tell.
        """
        try:
            answer = yield self.place.call("get_task_status", task_id=self.task_id)
            return self._changes(self._named(models.task_status(answer)), now, progress=True)
        except errors.SopsNotFoundError:
            yield from self._find_deleted()
            return []
        except errors.SopsError as error:
            if is_denied(error):
                self.grants.status = False
            return []

    def _find_deleted(self) -> Steps[None]:
        try:
            status = yield from read_status(self.place, self.task_id, self.grants, [], fresh=True, keep=self._keep)
        except errors.SopsError:
            return
        if status.is_deleted:
            self.final = status

    def failed_read(self, error: errors.SopsError, now: float, *, what: str = "status") -> Look:
        """Say what follows from a status that could not be read.

        :param what: what could not be, if it is not the status.
        """
        if self._ends_at_once(error):
            return Look(Next.FAILURE, error=error, reason=str(error))
        lines: tuple[Line, ...] = ()
        if self.outage_since is None:
            self.outage_since = now
            lines = (
                Line(
                    f"Cannot read the {what} of SOPS task {self.task_id}; going on for up to "
                    f"{self.policy.max_outage:.0f} s (max_outage). {error}",
                    warning=True,
                ),
            )
        if now - self.outage_since >= self.policy.max_outage:
            reason = (
                f"the {what} of SOPS task {self.task_id} could not be read for {now - self.outage_since:.0f} s "
                f"(max_outage is {self.policy.max_outage:.0f} s). The task itself was not touched and may still run. "
                f"Last error: {error}"
            )
            return Look(Next.FAILURE, error=error, reason=reason, outage=True, lines=lines)
        return Look(Next.WAIT, error=error, lines=lines)

    def _ends_at_once(self, error: errors.SopsError) -> bool:
        if isinstance(error, errors.SopsAuthenticationError) or nobody_answers(error):
            return not self.had_answer
        return isinstance(error, DEFINITE)

    def _recovered(self, now: float) -> list[Line]:
        if self.outage_since is None:
            return []
        lasted, self.outage_since = now - self.outage_since, None
        return [Line(f"SOPS answers again after {lasted:.0f} s.")]

    def _read_detail_once(self) -> Steps[None]:
        """Read the detail for the task's address and the names of its nodes; a wait can do without."""
        try:
            answer = yield self.place.call("get_task_detail", task_id=self.task_id)
            self._keep(models.task_detail(answer))
        except errors.SopsError:
            return

    def _keep(self, detail: TaskDetail) -> None:
        self.detail = detail
        self.task_url = detail.task_url or self.task_url
        self.name = detail.name or self.name

    def _named(self, status: TaskStatus) -> TaskStatus:
        """Give a status the task's name where it has none, as from ``get_task_status`` before SOPS 3.6.46."""
        self.name = status.name or self.name
        return status if status.name or not self.name else replace(status, name=self.name)

    def _ask_again(self, status: TaskStatus, now: float, lines: list[Line]) -> Steps[tuple[TaskStatus, Verdict]]:
        """Read the status past the caches, with the reasons of failures and whether SOPS will retry by itself."""
        if not self.grants.status:  # the detail knows neither FAILED nor SUSPENDED; a batch did
            return (yield from self._decide_without(status, now, lines))
        flags = dict.fromkeys(_FLAGS, "1") if status.state is TaskState.FAILED else {}
        try:
            answer = yield self.place.call("get_task_status", task_id=self.task_id, **flags, **nocache())
            fresh = models.task_status(answer)
        except errors.SopsNotFoundError:  # deleted just now, or a batch does not tell
            fresh = yield from read_status(self.place, self.task_id, self.grants, [], fresh=True, keep=self._keep)
        except errors.SopsError as error:
            if not is_denied(error):
                raise
            self.grants.status = False
            return (yield from self._decide_without(status, now, lines))
        fresh = self._named(replace(fresh, task_url=fresh.task_url or status.task_url))
        if fresh.state is TaskState.UNKNOWN:
            raise _unknown_state(fresh)
        return fresh, (yield from self._decide(fresh, now, lines))

    def _decide_without(self, status: TaskStatus, now: float, lines: list[Line]) -> Steps[tuple[TaskStatus, Verdict]]:
        """Decide by what a batch has said, as no more may be asked."""
        self._tell_once(NO_STATUS_NOTICE, lines)
        return status, (yield from self._decide(status, now, lines))

    def _decide(self, status: TaskStatus, now: float, lines: list[Line]) -> Steps[Verdict]:
        """Judge a status to be decided on; if nothing else, the tree tells whether SOPS may yet retry by itself."""
        verdict = judge(status, self.policy, self.since, now, fresh=True)
        if verdict.next is not Next.ASK_TREE:
            return verdict
        if self.detail is None:
            yield from self._read_detail_once()
        tree = self.detail.pipeline_tree if self.detail else {}
        if not tree.get("activities"):
            self._tell_once(NO_TREE_NOTICE, lines)
        window = retry_window(status, tree)
        return judge(status, self.policy, self.since, now, fresh=True, retry_window=window)

    def _tell_once(self, notice: str, lines: list[Line]) -> None:
        """Say something of a failure, unless it was said before, perhaps by an earlier process."""
        said = self.told_until is not None and (self.since.failed or 0.0) < self.told_until
        if notice not in self.told and not said:
            self.told |= {notice}
            lines.append(Line(notice, warning=True))

    def _ask_detail(self, status: TaskStatus) -> Steps[tuple[TaskStatus, Verdict]]:
        """FINISHED for long without an end time: a fresh detail decides."""
        answer = yield self.place.call("get_task_detail", task_id=self.task_id, **nocache())
        detail = models.task_detail(answer)
        self._keep(detail)
        if detail.finish_time is None:
            return status, Verdict(
                Next.FAILURE,
                "is FINISHED, but SOPS has given no end time for two minutes, nor does its detail: "
                "look at the task's page, and tell those who run SOPS",
            )
        ended = replace(status, finish_time=detail.finish_time)
        return ended, judge(ended, self.policy, self.since, 0.0)

    def _complete(self, status: TaskStatus) -> Steps[TaskStatus]:
        """Add what a wait returns but the status lacks: REVOKED never gets an end time, EXPIRED has nothing."""
        if status.finish_time is not None and status.start_time is not None and self.task_url and status.name:
            return replace(status, task_url=self.task_url)
        try:
            answer = yield self.place.call("get_task_detail", task_id=self.task_id, **nocache())
            detail = models.task_detail(answer)
        except errors.SopsError:
            return replace(status, task_url=self.task_url)
        self._keep(detail)
        return replace(
            status,
            name=status.name or detail.name,
            start_time=status.start_time or detail.start_time,
            finish_time=status.finish_time or detail.finish_time,
            elapsed_time=status.elapsed_time or detail.elapsed_time,
            task_url=self.task_url,
        )

    def _changes(self, status: TaskStatus, now: float, progress: bool) -> list[Line]:
        """Give one line when the state, the nodes done or the nodes running have changed."""
        if not progress and not status.nodes and status.state is self.shown_state:
            return []  # a batch, which says nothing of the nodes
        shown = describe_progress(status, self.detail) if progress or status.nodes else str(status.state)
        if shown == self.shown:
            return []
        self.shown_state = status.state
        first, self.shown, self.changed_at, self.intervention_asked = not self.shown, shown, now, False
        if first and self.told_until is not None:
            since = status.since(status.last_change, now) if status.last_change else 0.0
            self.changed_at = since or now
            self.intervention_asked = self.changed_at + INTERVENTION_AFTER < self.told_until
            # a pause leaves no time behind: whether it was told of is not known, so it is told of now and then
            remind = status.is_paused and now // REMIND_AFTER != self.told_until // REMIND_AFTER
            if since < self.told_until and not remind:
                return []
        where = f" {self.task_url}" if status.is_paused and self.task_url else ""
        named = f" {status.name!r}" if status.name else ""
        lines = [Line(f"SOPS task {self.task_id}{named}: {shown}.{where}")]
        if status.state is TaskState.FAILED and self.since.auto_retry_pending:
            will = "will" if self.since.retry_until is None else "may"
            lines.append(Line(f"A node failed; SOPS {will} retry it by itself."))
        return lines

    def _intervention(self, status: TaskStatus, now: float, courtesy: Callable[[], bool]) -> Steps[list[Line]]:
        """Say so when the task waits for a person: a pause node looks like plain RUNNING."""
        due = self.intervention_due
        if due is None or now < due or status.state is not TaskState.RUNNING or not courtesy():
            return []
        self.intervention_asked = True
        try:
            answer = yield self.place.call("get_tasks_manual_intervention_state", task_id_list=[self.task_id])
            waits = models.interventions(answer).get(self.task_id, False)
        except errors.SopsError as error:
            self.never_intervention = is_lacking(error)
            if not self.never_intervention or isinstance(error, errors.SopsApiPermissionError):
                return []
            since = SINCE["get_tasks_manual_intervention_state"]
            return [Line(f"Whether it waits for a person to confirm cannot be told (SOPS can since {since}). {error}")]
        if not waits:
            return []
        return [Line(f"SOPS task {self.task_id} waits for a person to confirm. {self.task_url}".rstrip())]


def read_status(
    place: Place,
    task_id: int,
    grants: Grants,
    notices: list[str],
    *,
    fresh: bool = False,
    keep: Callable[[TaskDetail], None] = lambda detail: None,
) -> Steps[TaskStatus]:
    """Read one task's status, from its detail where ``get_task_status`` may not be called.

    :param grants: what may be called; a refusal is remembered here once the detail has answered.
    :param notices: gets the words to say once when it falls back.
    :param fresh: pass SOPS' caches.
    :param keep: is given the detail, where one was read.
    :return: of a task that was started this very moment, where SOPS cannot tell yet, one that is READY.
    :raises errors.SopsError: when there is no good answer.
    """
    denied: errors.SopsError | None = None
    if grants.status:
        try:
            return (yield from _ask_status(place, task_id, grants, fresh, keep))
        except errors.SopsError as error:
            if not is_denied(error) and (grants.answered or not perhaps_missing(error)):
                raise
            denied = error
    answer = yield place.call("get_task_detail", task_id=task_id, **nocache(fresh))
    detail = models.task_detail(answer)
    keep(detail)
    if denied is not None and perhaps_missing(denied):
        # not the whole site is away; but it may have been, a moment ago
        try:
            return (yield from _ask_status(place, task_id, grants, fresh, keep))
        except errors.SopsError as error:
            if not is_denied(error) and not perhaps_missing(error):
                raise
            denied = error
    if denied is not None:
        grants.status = False
        notices.append(f"{DETAIL_ONLY_NOTICE} (What it said: {denied})")
    return models.status_from_detail(detail)


def is_lacking(error: errors.SopsError) -> bool:
    """Tell whether an API may not be called or is not there, where SOPS has just answered another one."""
    return isinstance(error, DENIED) or perhaps_missing(error)


def is_denied(error: errors.SopsError) -> bool:
    """Tell whether it is certain that an API may not be called, or is not there."""
    return isinstance(error, DENIED) and not perhaps_missing(error)


def _ask_status(
    place: Place, task_id: int, grants: Grants, fresh: bool, keep: Callable[[TaskDetail], None]
) -> Steps[TaskStatus]:
    """Ask ``get_task_status``, and of a task that it does not know the detail whether it was deleted."""
    try:
        answer = yield place.call("get_task_status", task_id=task_id, **nocache(fresh))
        grants.answered = True
        return models.task_status(answer)
    except errors.SopsApiError as error:
        grants.answered = True
        if just_started(error):
            return TaskStatus(task_id, TaskState.READY, raw_state=TaskState.READY.value)
        if not isinstance(error, errors.SopsNotFoundError):
            raise
        # only the detail of a deleted task still answers; one that never was here has none
        try:
            answer = yield place.call("get_task_detail", task_id=task_id, **nocache())
            detail = models.task_detail(answer)
        except errors.SopsError:
            raise error from error.__cause__
        keep(detail)
        return replace(models.status_from_detail(detail), is_deleted=True)


def nocache(yes: bool = True) -> dict[str, str]:
    """Give a parameter that passes SOPS' caches: their key is the query, and SOPS ignores what it does not know."""
    return {"nocache": str(time.time_ns())} if yes else {}


def describe_progress(status: TaskStatus, detail: TaskDetail | None) -> str:
    """Say a task's state, how many nodes are done and which run, e.g. ``RUNNING, 2 of 5 nodes done, now: sleep``."""
    leaves = status.steps
    done = sum(node.state is TaskState.FINISHED for node in leaves)
    failed = [node.name for node in leaves if node.state is TaskState.FAILED]
    over = (TaskState.FINISHED, TaskState.CREATED, TaskState.FAILED)
    now = [node.name for node in leaves if node.state not in over]
    total = count_activities(detail.pipeline_tree) if detail else 0
    parts = [f"{status.state} and paused" if status.is_paused and not status.state.is_suspended else str(status.state)]
    if leaves or (total and status.state is TaskState.CREATED):  # a detail says nothing of the nodes
        parts.append(f"{done} of {total} nodes done" if total >= done and total else f"{done} nodes done")
    if failed:
        parts.append(f"failed: {', '.join(failed)}")
    if now:
        parts.append(f"now: {', '.join(now)}")
    return ", ".join(parts)


def count_activities(tree: Mapping[str, Any], depth: int = 0) -> int:
    """Count the nodes of a pipeline tree that do something, those of subprocesses included."""
    activities = tree.get("activities")
    if not isinstance(activities, dict) or depth >= DEEPEST:
        return 0
    count = 0
    for activity in activities.values():
        inner = activity.get("pipeline") if isinstance(activity, dict) else None
        count += count_activities(inner, depth + 1) if isinstance(inner, dict) else 1
    return count


def _unknown_state(status: TaskStatus) -> errors.SopsInvalidAnswerError:
    error = errors.SopsInvalidAnswerError(
        f"SOPS task {status.task_id} is in a state that this provider does not know: {status.raw_state!r}. "
        "It is taken neither for success nor for failure; look for a newer version of the provider."
    )
    error.task_id = status.task_id
    return error
