# SPDX-License-Identifier: Apache-2.0
"""What the log says of a task's progress: the words, and each change once."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_sops.core.call_flow import LogLine
from airflow_provider_sops.core.models import TaskDetail, TaskStatus
from airflow_provider_sops.core.pipeline_tree import count_activities
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.verdict import WaitState

#: Seconds without any change after which SOPS is asked whether the task waits for a person.
INTERVENTION_AFTER = 300.0
#: Seconds after which new processes, which do not know what was logged, log again that a task is paused.
REMIND_AFTER = 600.0


def describe_progress(status: TaskStatus, detail: TaskDetail | None) -> str:
    """Return a task's state, how many nodes are done and which run, e.g. ``RUNNING, 2 of 5 nodes done, now: sleep``.

    :param detail: tells how many nodes there are; ``None`` where it was not read.
    """
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


def progress_lines(status: TaskStatus, progress: str, wait_state: WaitState, task_url: str) -> list[LogLine]:
    """Return the lines for a change: the progress, where to resume a paused task, and whether a failed node is retried.

    :param progress: see :func:`describe_progress`.
    """
    named = f" {status.name!r}" if status.name else ""
    page = f" {task_url}" if status.is_paused and task_url else ""
    lines = [LogLine(f"SOPS task {status.task_id}{named}: {progress}.{page}")]
    if status.state is TaskState.FAILED and wait_state.auto_retry_pending:
        will = "will" if wait_state.retry_until is None else "may"
        lines.append(LogLine(f"A node failed; SOPS {will} retry it by itself."))
    return lines


@dataclass(slots=True)
class ProgressLog:
    """What the log of a wait says already. All times are seconds since the epoch."""

    #: an earlier process has logged the changes up to then
    logged_until: float | None = None
    #: the last state and progress logged
    state: TaskState | None = None
    progress: str = ""
    changed_at: float | None = None
    #: it was asked since the last change whether the task waits for a person
    intervention_asked: bool = False
    #: nobody answers that question here
    never_intervention: bool = False
    notices: frozenset[str] = frozenset()

    @property
    def intervention_due(self) -> float | None:
        """When to ask whether the task waits for a person; ``None``: not before something changes."""
        if self.state is not TaskState.RUNNING or self.changed_at is None:
            return None
        if self.intervention_asked or self.never_intervention:
            return None
        return self.changed_at + INTERVENTION_AFTER

    def note_progress(self, status: TaskStatus, progress: str, now: float) -> bool:
        """Note a task's progress, and tell whether it is to be logged.

        :param progress: see :func:`describe_progress`.
        """
        if progress == self.progress:
            return False
        first = not self.progress
        self.state, self.progress = status.state, progress
        self.changed_at, self.intervention_asked = now, False
        if not first or self.logged_until is None:
            return True
        since = status.since(status.last_change, now) if status.last_change else 0.0
        self.changed_at = since or now
        self.intervention_asked = self.changed_at + INTERVENTION_AFTER < self.logged_until
        # a pause leaves no time behind, so whether it was logged is not known: it is logged now and then
        remind = status.is_paused and now // REMIND_AFTER != self.logged_until // REMIND_AFTER
        return since >= self.logged_until or remind

    def note_notice(self, notice: str, failed: float | None) -> bool:
        """Note a notice about a failure, and tell whether it is to be logged: once, by whichever process.

        :param failed: when the task failed.
        """
        logged_before = self.logged_until is not None and (failed or 0.0) < self.logged_until
        if notice in self.notices or logged_before:
            return False
        self.notices |= {notice}
        return True
