# SPDX-License-Identifier: Apache-2.0
"""What a page shows of a task: read with as few calls as a wait makes, and without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import nocache
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.failure_report import log_tail, read_node
from airflow_provider_sops.core.models import NodeDetail, TaskDetail, TaskListItem, TaskStatus, readers
from airflow_provider_sops.core.pipeline_tree import Activity
from airflow_provider_sops.core.remote_message import one_line
from airflow_provider_sops.core.run.search import list_own, list_started
from airflow_provider_sops.core.run.tag import Tag
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions, read_status


@dataclass(frozen=True, slots=True)
class TaskView:
    """One reading of a task."""

    status: TaskStatus
    #: ``None`` where it cannot be read
    detail: TaskDetail | None
    #: why it cannot
    detail_error: errors.SopsError | None = None
    #: the status has no nodes: only the detail may be read
    without_nodes: bool = False


@dataclass(frozen=True, slots=True)
class NodeView:
    """One reading of a node. Passwords are masked in ``reason`` and ``log``, not in ``detail``."""

    detail: NodeDetail
    #: why it failed, in one line
    reason: str
    #: the end of its log
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaggedTask:
    """A task that the same Airflow task has made."""

    item: TaskListItem
    #: which of the tags it was found by, the newest being 0
    run: int
    generation: int


def read_task_view(
    task_id: int, project: Project, permissions: ApiPermissions, known: TaskDetail | None = None
) -> Flow[TaskView]:
    """Read a task: its status, and its detail unless that is known and still holds.

    :param permissions: what may be called; a refusal is noted here.
    :param known: the detail, if it was read lately.
    :raises errors.SopsError: the status cannot be read.
    """
    details: list[TaskDetail] = []
    status = yield from read_status(project, task_id, permissions, [], keep=details.append)
    detail = details[-1] if details else known
    error: errors.SopsError | None = None
    if detail is None or _is_outdated(status, detail):
        try:
            # past the cache where that is known, or likely, to hold what was before a change
            fresh = detail is not None or status.has_ended
            answer = yield project.call("get_task_detail", task_id=task_id, **nocache(fresh))
            detail = readers.task_detail(answer)
        except errors.SopsError as failure:
            error = failure
    return TaskView(status, detail, error, without_nodes=not permissions.status)


def _is_outdated(status: TaskStatus, detail: TaskDetail) -> bool:
    """Return whether a detail is from before the start or the end that the status tells."""
    if status.has_ended:
        return detail.finish_time is None and status.state is not TaskState.EXPIRED and not status.is_deleted
    return detail.start_time is None and status.start_time is not None


def read_node_view(
    task_id: int,
    project: Project,
    node_id: str,
    stack: tuple[str, ...],
    activity: Activity | None,
    secrets: Iterable[str],
    lacking: set[str],
) -> Flow[NodeView]:
    """Read a node: what it was given, what it gave, why it failed and the end of its log.

    :param stack: ids of the subprocesses that it stands in.
    :param secrets: values of password variables.
    :param lacking: the APIs that are not to be had here; they are not asked again.
    :raises errors.SopsError: its description cannot be read.
    """
    secrets = list(secrets)
    detail = yield from read_node(task_id, project, node_id, stack, activity)
    log: list[str] = []
    if detail.version:
        log = yield from log_tail(task_id, project, node_id, detail.version, secrets, lacking)
    return NodeView(detail, one_line(detail.ex_data, secrets), tuple(log))


def find_tagged(project: Project, tags: Iterable[Tag]) -> Flow[tuple[TaggedTask, ...]]:
    """Find the tasks that all tries of an Airflow task have made, also those from before it was cleared.

    :param tags: of each of its runs, the newest first.
    :return: the newest first.
    :raises errors.SopsError: SOPS does not list tasks.
    """
    found: dict[int, TaggedTask] = {}
    for run, tag in enumerate(tags):
        items = yield from list_own(project, tag.base)
        if not any(item.is_started for item in items):
            items += yield from list_started(project, tag.base)
        for item in items:
            if (read := tag.read(item.name)) is not None:
                found.setdefault(item.task_id, TaggedTask(item, run, read[1]))
    return tuple(sorted(found.values(), key=lambda one: one.item.task_id, reverse=True))
