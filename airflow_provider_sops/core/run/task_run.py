# SPDX-License-Identifier: Apache-2.0
"""What one try of an Airflow task runs in SOPS, and what it learns while it does so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow, LogLine
from airflow_provider_sops.core.models import CreatedTask, TaskStatus
from airflow_provider_sops.core.run.tag import Tag
from airflow_provider_sops.core.run.task_spec import TaskSpec
from airflow_provider_sops.core.run.task_spec_check import CheckedSpec
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions, read_status
from airflow_provider_sops.core.wait.policy import WaitPolicy

OnRetry = Literal["rerun", "retry_failed_nodes"]

#: An end that leaves nothing to go on with; ENDED is one whose state the detail alone does not tell.
_OVER = (TaskState.REVOKED, TaskState.EXPIRED, TaskState.ENDED)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What an earlier try recorded outside SOPS: the SOPS task that it went on with."""

    base: str
    generation: int
    task_id: int
    #: it ended well and its outputs were taken: who looks for it again was cleared, whatever the numbers say
    done: bool = False
    #: the wait for it was left to a trigger, which may have ended the Airflow task well; no worker went on with it
    left_to_trigger: bool = False


@dataclass(slots=True)
class RunState:
    """What a try learns from SOPS, shared by all its flows."""

    permissions: ApiPermissions = field(default_factory=ApiPermissions)
    #: the task to create, once it was checked against its template
    checked: CheckedSpec | None = None
    #: the SOPS tasks that this try has created, by id
    created: dict[int, CreatedTask] = field(default_factory=dict)
    #: where SOPS lists no tasks: a count has shown none with the tag
    counted_none: bool = False
    logged: set[str] = field(default_factory=set)

    def once(self, *lines: LogLine) -> Iterator[LogLine]:
        """Return the lines that were not given before, to be yielded: their reasons may be met again and again."""
        for line in lines:
            if line.text not in self.logged:
                self.logged.add(line.text)
                yield line


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One try of an Airflow task that runs a SOPS task.

    :param created_after: SOPS tasks older than this cannot be this run's.
    :param first_try: no try has gone before.
    :param cleared: a user may have cleared the Airflow task: take up the task of an earlier run, if the tag allows it.
    :param first_after_clear: it has just done so: what was stopped for good is not what it wants.
    :param looks_cleared: its numbers are those of a first try after a clear; a retry has them only if ``retries`` was
        edited in between.
    :param record: what an earlier try recorded.
    :param keeps_records: what this try does is recorded before the SOPS task is started, and so did earlier tries.
    :param earlier_tags: under which to look for what runs still from before a clear; empty where that is left running.
    """

    project: Project
    tag: Tag
    task_spec: TaskSpec
    policy: WaitPolicy
    on_retry: OnRetry = "rerun"
    created_after: datetime | None = None
    first_try: bool = True
    cleared: bool = False
    first_after_clear: bool = False
    looks_cleared: bool = False
    record: RunRecord | None = None
    keeps_records: bool = False
    earlier_tags: tuple[Tag, ...] = ()
    state: RunState = field(default_factory=RunState)

    @property
    def takes_up(self) -> bool:
        """Whether the SOPS task of a run before a clear is to be taken up."""
        return bool(self.tag.thread) and self.cleared

    @property
    def keyword(self) -> str:
        """The part of the tag that all tasks searched for have in their names."""
        return self.tag.thread if self.takes_up else self.tag.base


def is_gone(status: TaskStatus) -> bool:
    """Return whether a task was deleted, or has ended in a way that leaves nothing to go on with."""
    return bool(status.is_deleted) or status.state in _OVER


def read_fresh_status(run: TaskRun, task_id: int) -> Flow[TaskStatus]:
    """Read a task's status past SOPS' caches.

    :raises errors.SopsError: when SOPS gives no good answer.
    """
    notices: list[str] = []
    status = yield from read_status(run.project, task_id, run.state.permissions, notices, fresh=True)
    for notice in notices:
        yield LogLine(notice, warning=True)
    return status
