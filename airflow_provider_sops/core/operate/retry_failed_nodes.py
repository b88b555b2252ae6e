# SPDX-License-Identifier: Apache-2.0
"""Retrying the failed nodes of a task, so that what has finished need not run again."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow, LogLine, Sleep
from airflow_provider_sops.core.errors import looks_missing
from airflow_provider_sops.core.models import NodeStatus, TaskStatus, readers
from airflow_provider_sops.core.models.readers import failed_leaves
from airflow_provider_sops.core.operate.errors import RunAborted
from airflow_provider_sops.core.operate.lost_answers import SEND_PAUSE, SENDS, may_have_happened
from airflow_provider_sops.core.operate.wording import NO_OPERATE_NODE, named
from airflow_provider_sops.core.pipeline_tree import Activity, activities
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions, read_status

#: The plugin of a subprocess that runs as a task of its own.
_INDEPENDENT_SUBPROCESS = "subprocess_plugin"


def retry_failed_nodes(project: Project, task_id: int, permissions: ApiPermissions) -> Flow[list[LogLine]]:
    """Retry the failed nodes of a task; all of them can be retried, or none is.

    :return: for the log.
    :raises RunAborted: names a node that cannot be retried.
    """
    status = yield from read_status(project, task_id, permissions, [], fresh=True)
    if status.state is not TaskState.FAILED:
        return [LogLine(f"SOPS task {task_id} goes on by itself: {status.state}.")]
    answer = yield project.call("get_task_detail", task_id=task_id)
    by_id = {activity.id: activity for activity in activities(readers.task_detail(answer).pipeline_tree)}
    failed = [node for node, _ in failed_leaves(status.nodes)]
    _check_retryable(status, failed, by_id)
    lines = []
    for node in failed:
        yield from _retry_node(project, status, node, permissions)
        lines.append(LogLine(f"Retried node {node.name!r} of SOPS task {task_id}; what has finished is not run again."))
    return lines


def _check_retryable(status: TaskStatus, failed: list[NodeStatus], by_id: Mapping[str, Activity]) -> None:
    subject = _no_retry(status)
    if not failed:
        raise RunAborted(f"{subject}: SOPS names no failed node.", status)
    for node in failed:
        activity = by_id.get(node.id)
        if activity is not None and activity.plugin == _INDEPENDENT_SUBPROCESS:
            raise RunAborted(
                f"{subject}: node {named(node)} is a subprocess that runs as a task of its own, and the "
                "failed node in it cannot be reached from here. Retry it on that task's page.",
                status,
            )
        if activity is not None and not activity.retryable:
            raise RunAborted(f"{subject}: node {named(node)} may not be retried.", status)


def _no_retry(status: TaskStatus) -> str:
    return f"SOPS task {status.task_id} {status.name!r} has FAILED, and retry_failed_nodes cannot help"


def _retry_node(project: Project, task: TaskStatus, node: NodeStatus, permissions: ApiPermissions) -> Flow[None]:
    for _ in range(SENDS):
        try:
            yield project.call("operate_node", task_id=task.task_id, node_id=node.id, action="retry")
            return
        except errors.SopsError as error:
            if looks_missing(error):
                error = errors.advised(error, f"{NO_OPERATE_NODE} on_retry='rerun' needs none of it.")
            status = yield from read_status(project, task.task_id, permissions, [], fresh=True)
            if node.id not in {failed.id for failed, _ in failed_leaves(status.nodes)}:
                return  # it was retried, whoever did it
            if isinstance(error, errors.SopsApiError) and not may_have_happened(error):
                raise RunAborted(
                    f"{_no_retry(task)}: SOPS refuses to retry node {named(node)}: {error}", status
                ) from error
            if not may_have_happened(error):
                raise error from error.__cause__
            lost = error
        yield Sleep(SEND_PAUSE)
    raise lost
