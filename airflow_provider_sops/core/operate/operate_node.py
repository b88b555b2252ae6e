# SPDX-License-Identifier: Apache-2.0
"""Operating a node: checked before, and watched until something has come of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow, LogLine, Sleep
from airflow_provider_sops.core.errors import looks_missing
from airflow_provider_sops.core.models import NodeStatus, TaskStatus
from airflow_provider_sops.core.operate.errors import RunAborted
from airflow_provider_sops.core.operate.lost_answers import SEND_PAUSE, may_have_happened
from airflow_provider_sops.core.operate.node_checks import check_node, is_waiting_pause_node
from airflow_provider_sops.core.operate.wording import CALL_BACK, NO_OPERATE_NODE, named, refused
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions, read_status

NodeAction = Literal[
    "retry",
    "skip",
    "callback",
    "forced_fail",
    "pause",
    "resume",
    "pause_subproc",
    "resume_subproc",
    "skip_exg",
]
NODE_ACTIONS: tuple[str, ...] = get_args(NodeAction)
#: Seconds in which something must come of what SOPS said yes to: its engine takes up to a second.
EFFECT_PATIENCE = 30.0
#: The states of a node by which an action is done, or is needed no more.
_DONE_STATES: Mapping[str, tuple[TaskState, ...]] = {
    "retry": (TaskState.FINISHED, TaskState.RUNNING, TaskState.READY),
    "skip": (TaskState.FINISHED,),
    "skip_exg": (TaskState.FINISHED,),
    "callback": (TaskState.FINISHED,),
    "forced_fail": (TaskState.FAILED,),
    "pause": (TaskState.SUSPENDED,),
    "resume": (TaskState.READY, TaskState.RUNNING, TaskState.FINISHED),
    "pause_subproc": (TaskState.SUSPENDED,),
    "resume_subproc": (TaskState.READY, TaskState.RUNNING, TaskState.FINISHED),
}


def operate_node(
    project: Project,
    task_id: int,
    node_id: str,
    action: str,
    *,
    params: Mapping[str, Any],
    patience: float,
    interval: float = SEND_PAUSE,
) -> Flow[list[LogLine]]:
    """Operate a node once it has been reached and its state allows it, and see that something comes of it.

    SOPS says yes to much that changes nothing: a callback of a node that waits for none, a retry in a revoked task.

    :param params: further parameters as SOPS names them: ``data``, ``inputs``, ``flow_id``.
    :param patience: seconds to wait for the node to be reached; ``pause`` does not wait, it comes before that.
    :return: for the log: what was done, or that it was so already.
    :raises RunAborted: the node was not reached in time, or nothing has come of what SOPS said yes to.
    :raises errors.SopsInvalidOperationError: the state of the task or of the node does not allow it.
    :raises errors.SopsError: SOPS refuses, or gives no good answer.
    """
    call = project.call("operate_node", task_id=task_id, node_id=node_id, action=action, **params)
    permissions = ApiPermissions()
    status = yield from _reach(project, task_id, node_id, action, permissions, patience, interval)
    node = status.node(node_id)
    if node is not None and not _is_over(status) and _is_done(action, node):
        if action == "resume" and (yield from is_waiting_pause_node(project, status, node)):
            raise refused(call, f"node {named(node)} of {status.name!r} is not paused", CALL_BACK)
        return [LogLine(f"Node {node.name!r} of SOPS task {task_id} is {node.state}: nothing to {action}.")]
    if status.has_ended:
        state = "was deleted" if status.is_deleted else f"is {status.state}"
        raise refused(call, f"{status.name!r} {state}: nothing in it runs any more, whatever is done to its nodes")
    if node is not None:
        yield from check_node(project, call, action, status, node)
    try:
        done = yield from _send(project, call, action, node, permissions)
    except errors.SopsError as error:
        if not looks_missing(error):
            raise
        if action != "callback":
            raise errors.advised(error, NO_OPERATE_NODE) from error.__cause__
        data = params.get("data") or {}
        call = project.call("node_callback", task_id=task_id, node_id=node_id, callback_data=data)
        done = yield from _send(project, call, action, node, permissions)
    if done:
        return done
    if node is None:
        later = "it pauses when the task comes to it" if permissions.status else "what has come of it cannot be read"
        return [LogLine(f"Node {node_id} of SOPS task {task_id}: {action} is done; {later}.")]
    return (yield from _see_effect(project, task_id, action, node, permissions))


def _send(
    project: Project, call: Call, action: str, node: NodeStatus | None, permissions: ApiPermissions
) -> Flow[list[LogLine]]:
    """Send what operates a node.

    :return: for the log, when the answer was lost, and yet it shows that it is done; empty when SOPS said yes.
    """
    try:
        yield call
    except errors.SopsError as error:
        if not may_have_happened(error) or not permissions.status or node is None:
            raise
        status = yield from read_status(project, call.task_id or 0, permissions, [], fresh=True)
        after = status.node(node.id)
        if after is None or not (_is_done(action, after) or _has_changed(node, after)):
            raise
        return [
            LogLine(
                f"Node {after.name!r} of SOPS task {call.task_id} is {after.state} now: {action} is done. ({error})"
            )
        ]
    return []


def _reach(
    project: Project,
    task_id: int,
    node_id: str,
    action: str,
    permissions: ApiPermissions,
    patience: float,
    interval: float,
) -> Flow[TaskStatus]:
    """Wait until the task has come to a node, where that can be read."""
    waited = 0.0
    while True:
        status = yield from read_status(project, task_id, permissions, [], fresh=True)
        if not permissions.status or status.node(node_id) is not None:
            return status
        ended = status.has_ended
        if action == "pause" and not ended:
            return status
        if ended or waited >= patience:
            state = "deleted" if status.is_deleted else str(status.state)
            raise RunAborted(
                f"SOPS task {task_id} {status.name!r} has not reached node {node_id}"
                + (f" and never will: it is {state}." if ended else f" within {patience:.0f} s: it is {state}."),
                status,
            )
        yield Sleep(interval)
        waited += interval


def _see_effect(
    project: Project, task_id: int, action: str, before: NodeStatus, permissions: ApiPermissions
) -> Flow[list[LogLine]]:
    """Read until a node is no longer as it was: SOPS' engine does in its own time what it said yes to.

    :raises RunAborted: nothing has come of it.
    """
    subject = f"node {named(before)} of SOPS task {task_id}"
    waited = 0.0
    while True:
        try:
            status = yield from read_status(project, task_id, permissions, [], fresh=True)
        except errors.SopsError as error:  # it is done, and must not be done again
            return [LogLine(f"SOPS says yes to {action} of {subject}; what came of it cannot be read. {error}", True)]
        after = status.node(before.id)
        if after is not None and _has_changed(before, after):
            return [LogLine(f"{subject[:1].upper()}{subject[1:]}: {action} is done; it is {after.state}.")]
        if waited >= EFFECT_PATIENCE:
            raise RunAborted(
                f"SOPS says yes to {action} of {subject}, but within {EFFECT_PATIENCE:.0f} s nothing has come of it: "
                f"it is {before.state} as before, and the task {status.name!r} is {status.state}.",
                status,
            )
        yield Sleep(SEND_PAUSE)
        waited += SEND_PAUSE


def _is_done(action: str, node: NodeStatus) -> bool:
    """Return whether a node is already as the action would make it, or beyond that."""
    return node.state in _DONE_STATES[action]


def _has_changed(before: NodeStatus, after: NodeStatus) -> bool:
    """Return whether something has come of an action; a retry may have failed again by now."""
    return after.state is not before.state or after.retry > before.retry


def _is_over(status: TaskStatus) -> bool:
    """Return whether a task was stopped before its end, so that what its nodes have come to is of no use."""
    return status.has_ended and (status.is_deleted or status.state is not TaskState.FINISHED)
