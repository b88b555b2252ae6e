# SPDX-License-Identifier: Apache-2.0
"""Operating tasks and their nodes, without I/O; what is so already is no error, where it can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_sops.sops import errors, models
from airflow_provider_sops.sops.errors import SopsConfigError
from airflow_provider_sops.sops.explain import Activity, activities, failed_nodes
from airflow_provider_sops.sops.gateway import nobody_answers
from airflow_provider_sops.sops.models import NodeStatus, TaskDetail, TaskStatus
from airflow_provider_sops.sops.states import TaskState
from airflow_provider_sops.sops.transport import Pause, Steps
from airflow_provider_sops.sops.watch import Grants, Line, Place, read_status

TaskAction = Literal["start", "pause", "resume", "revoke"]
NodeAction = Literal["retry", "skip", "callback"]
TASK_ACTIONS: tuple[str, ...] = ("start", "pause", "resume", "revoke")
NODE_ACTIONS: tuple[str, ...] = ("retry", "skip", "callback")

#: How often a call is sent whose answer was lost, where SOPS does not do the same twice; and seconds in between.
SENDS = 3
SEND_PAUSE = 2.0
#: The plugin of a subprocess that runs as a task of its own.
_INDEPENDENT_SUBPROCESS = "subprocess_plugin"


class CannotGoOn(Exception):
    """The task cannot be gone on with, or not be helped.

    :param message: what happened and what to do.
    :param status: the task's status, so that a failed one can be explained.
    """

    #: we have revoked the task, which is why it cannot be gone on with
    revoked = False

    def __init__(self, message: str, status: TaskStatus) -> None:
        super().__init__(message)
        self.status = status


def may_have_happened(error: errors.SopsError) -> bool:
    """Tell whether what was asked may have been done although no good answer has come."""
    if isinstance(error, errors.SopsConnectionError | errors.SopsTimeoutError):
        return error.may_have_been_sent
    return isinstance(error, errors.SopsGatewayUnavailableError | errors.SopsInvalidAnswerError) or nobody_answers(
        error
    )


@dataclass(frozen=True, slots=True)
class Revocation:
    """What came of revoking a task."""

    #: SOPS has revoked it
    done: bool
    #: in words that follow on "SOPS task 10 …:"
    text: str
    #: it has not started, so that a queued start may still take effect
    may_start: bool = False

    def line(self, task_id: int) -> Line:
        """Say what came of it for a task that Airflow has killed."""
        if self.done:
            return Line(f"This Airflow task was killed: revoked SOPS task {task_id}.")
        later = "; its start may be queued and still take effect" if self.may_start else ""
        text = f"This Airflow task was killed; SOPS task {task_id} was not revoked: {self.text}{later}."
        return Line(text, warning=self.may_start)


def revoke(place: Place, task_id: int) -> Steps[Revocation]:
    """Revoke a task, with one call.

    :raises errors.SopsError: when SOPS gives no good answer; that the task has ended or not started is one.
    """
    try:
        yield place.call("operate_task", task_id=task_id, action="revoke")
    except errors.SopsInvalidOperationError as error:
        said = error.remote_message or ""
        if "current_flow:finished" in said:
            return Revocation(False, "it had ended already")
        return Revocation(False, f"SOPS does not revoke what has not started ({said})", may_start=True)
    return Revocation(True, "it was revoked")


def operate_task(place: Place, task_id: int, action: str) -> Steps[list[Line]]:
    """Start, pause, resume or revoke a task.

    :return: for the log: what was done, or that it was so already.
    :raises errors.SopsError: SOPS refuses, or gives no good answer.
    """
    try:
        yield place.call("operate_task", task_id=task_id, action=action)
    except (errors.SopsApiError, *_LOST) as error:
        if isinstance(error, errors.SopsIamDeniedError | errors.SopsNotFoundError | errors.SopsInvalidParameterError):
            raise
        if isinstance(error, _LOST) and not may_have_happened(error):
            raise
        status = yield from read_status(place, task_id, Grants(), [], fresh=True)
        if status.is_deleted or not _is_so(action, status.state):
            raise
        done = f"SOPS task {task_id} {status.name!r} is {status.state}: nothing to {action}."
        return [Line(f"{done} ({error})")]
    return [Line(f"SOPS task {task_id}: {action} is done.")]


_LOST = (
    errors.SopsConnectionError,
    errors.SopsTimeoutError,
    errors.SopsGatewayUnavailableError,
    errors.SopsInvalidAnswerError,
    errors.SopsApiNotFoundError,
)


def _is_so(action: str, state: TaskState) -> bool:
    """Tell whether a task is already as the action would make it."""
    if action == "revoke":
        return state.is_final
    if action == "pause":
        return state is TaskState.SUSPENDED
    if action == "resume":
        return state is TaskState.RUNNING
    return state not in (TaskState.CREATED, TaskState.UNKNOWN)


def find_node(detail: TaskDetail, name: str) -> Activity:
    """Find the one node of a task with this name.

    :raises SopsConfigError: there is none, or several; says which there are.
    """
    nodes = list(activities(detail.pipeline_tree))
    found = [node for node in nodes if node.name == name]
    if len(found) == 1:
        return found[0]
    subject = f"SOPS task {detail.task_id} {detail.name!r}"
    if found:
        places = "; ".join(f"{node.id} in {' / '.join(node.path) or 'the task itself'}" for node in found)
        raise SopsConfigError(
            "sops_node_name", f"{subject} has {len(found)} nodes named {name!r}: give sops_node_id ({places})"
        )
    names = ", ".join(sorted({repr(node.name) for node in nodes})) or "none"
    raise SopsConfigError("sops_node_name", f"{subject} has no node named {name!r}; there are: {names}")


def operate_node(
    place: Place,
    task_id: int,
    node_id: str,
    action: str,
    *,
    params: Mapping[str, Any],
    patience: float,
    interval: float = SEND_PAUSE,
) -> Steps[list[Line]]:
    """Retry, skip or call back a node, once it has been reached.

    :param params: further parameters as SOPS names them: ``data``, ``inputs``.
    :param patience: seconds to wait for the node to be reached.
    :return: for the log: what was done, or that it was so already.
    :raises CannotGoOn: the node was not reached in time.
    :raises errors.SopsError: SOPS refuses, or gives no good answer.
    """
    grants = Grants()
    waited = 0.0
    status = yield from read_status(place, task_id, grants, [], fresh=True)
    while grants.status and (node := _node(status, node_id)) is None:
        ended = status.state.is_final or status.is_deleted
        if ended or waited >= patience:
            state = "deleted" if status.is_deleted else str(status.state)
            raise CannotGoOn(
                f"SOPS task {task_id} {status.name!r} has not reached node {node_id}"
                + (f" and never will: it is {state}." if ended else f" within {patience:.0f} s: it is {state}."),
                status,
            )
        yield Pause(interval)
        waited += interval
        status = yield from read_status(place, task_id, grants, [], fresh=True)
    if grants.status:
        assert node is not None
        if _is_behind(action, node):
            return [Line(f"Node {node.name!r} of SOPS task {task_id} is {node.state}: nothing to {action}.")]
    try:
        yield place.call("operate_node", task_id=task_id, node_id=node_id, action=action, **params)
    except _LOST as error:
        if not may_have_happened(error) or not grants.status:
            raise
        status = yield from read_status(place, task_id, grants, [], fresh=True)
        after = _node(status, node_id)
        if after is None or not _is_behind(action, after):
            raise
        return [Line(f"Node {after.name!r} of SOPS task {task_id} is {after.state} now: {action} is done. ({error})")]
    return [Line(f"Node {node_id} of SOPS task {task_id}: {action} is done.")]


def _node(status: TaskStatus, node_id: str) -> NodeStatus | None:
    return next((node for top in status.nodes for node, _ in top.walk() if node.id == node_id), None)


def _is_behind(action: str, node: NodeStatus) -> bool:
    """Tell whether a node has got over what the action is for."""
    if action == "retry":
        return node.state in (TaskState.FINISHED, TaskState.RUNNING, TaskState.READY)
    return node.state is TaskState.FINISHED


def retry_failed_nodes(place: Place, task_id: int, grants: Grants) -> Steps[list[Line]]:
    """Retry the failed nodes of a task; all of them can be retried, or none is.

    :return: for the log.
    :raises CannotGoOn: names a node that cannot be retried.
    """
    status = yield from read_status(place, task_id, grants, [], fresh=True)
    if status.state is not TaskState.FAILED:
        return [Line(f"SOPS task {task_id} goes on by itself: {status.state}.")]
    answer = yield place.call("get_task_detail", task_id=task_id)
    by_id = {activity.id: activity for activity in activities(models.task_detail(answer).pipeline_tree)}
    failed = [node for node, _ in failed_nodes(status)]
    _check_retryable(status, failed, by_id)
    lines = []
    for node in failed:
        yield from _retry_node(place, status, node, grants)
        lines.append(Line(f"Retried node {node.name!r} of SOPS task {task_id}; what has finished is not run again."))
    return lines


def _check_retryable(status: TaskStatus, failed: list[NodeStatus], by_id: Mapping[str, Activity]) -> None:
    subject = _no_retry(status)
    if not failed:
        raise CannotGoOn(f"{subject}: SOPS names no failed node.", status)
    for node in failed:
        activity = by_id.get(node.id)
        if activity is not None and activity.plugin == _INDEPENDENT_SUBPROCESS:
            raise CannotGoOn(
                f"{subject}: node {_named(node)} is a subprocess that runs as a task of its own, and the "
                "failed node in it cannot be reached from here. Retry it on that task's page.",
                status,
            )
        if activity is not None and not activity.retryable:
            raise CannotGoOn(f"{subject}: node {_named(node)} may not be retried.", status)


def _no_retry(status: TaskStatus) -> str:
    return f"SOPS task {status.task_id} {status.name!r} has FAILED, and retry_failed_nodes cannot help"


def _named(node: NodeStatus) -> str:
    return f"{node.name!r} (id {node.id})"


def _retry_node(place: Place, task: TaskStatus, node: NodeStatus, grants: Grants) -> Steps[None]:
    for _ in range(SENDS):
        try:
            yield place.call("operate_node", task_id=task.task_id, node_id=node.id, action="retry")
            return
        except errors.SopsError as error:
            status = yield from read_status(place, task.task_id, grants, [], fresh=True)
            if node.id not in {failed.id for failed, _ in failed_nodes(status)}:
                return  # it was retried, whoever did it
            if isinstance(error, errors.SopsApiError) and not may_have_happened(error):
                raise CannotGoOn(
                    f"{_no_retry(task)}: SOPS refuses to retry node {_named(node)}: {error}", status
                ) from error
            if not may_have_happened(error):
                raise
            lost = error
        yield Pause(SEND_PAUSE)
    raise lost
