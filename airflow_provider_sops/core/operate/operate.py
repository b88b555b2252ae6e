# SPDX-License-Identifier: Apache-2.0
"""Operating tasks and their nodes, without I/O; what is so already is no error, where it can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from airflow_provider_sops.core import errors, models
from airflow_provider_sops.core.api.calls import Call, nocache
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.api.releases import SINCE
from airflow_provider_sops.core.errors import SopsConfigError, nobody_answers, perhaps_missing
from airflow_provider_sops.core.failure_report import failed_nodes
from airflow_provider_sops.core.flow import Flow, LogLine, Sleep
from airflow_provider_sops.core.models import NodeStatus, TaskDetail, TaskStatus, failed_leaves
from airflow_provider_sops.core.pipeline_tree import Activity, activities, gateways
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import DENIED, ApiGrants, read_status
from airflow_provider_sops.core.text import storable

TaskAction = Literal["start", "pause", "resume", "revoke"]
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
TASK_ACTIONS: tuple[str, ...] = get_args(TaskAction)
NODE_ACTIONS: tuple[str, ...] = get_args(NodeAction)

#: The app or its user may not ask this, or there is no such API.
REFUSED = (*DENIED, errors.SopsIamDeniedError)
#: How often a call is sent whose answer was lost, where SOPS does not do the same twice; and seconds in between.
SENDS = 3
SEND_PAUSE = 2.0
#: Seconds in which something must come of what SOPS said yes to: its engine takes up to a second.
EFFECT_PATIENCE = 30.0
#: Why a task that is CREATED is not revoked, in words.
NOT_STARTED = "SOPS does not revoke what has not started"
#: What SOPS says of a task that has ended.
_FINISHED = "current_flow:finished"
#: The plugin of a pause node, which waits for a callback.
PAUSE_PLUGIN = "pause_node"
#: What helps where nodes cannot be operated.
_NO_OPERATE_NODE = (
    f"SOPS has operate_node since {SINCE['operate_node']}; before, its page alone retries and skips nodes."
)
#: The plugin of a subprocess that runs as a task of its own.
_INDEPENDENT_SUBPROCESS = "subprocess_plugin"


class RunAborted(Exception):
    """The task cannot be gone on with, or not be helped.

    :param message: what happened and what to do.
    :param status: the task's status, so that a failed one can be explained.
    """

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

    def line(self, task_id: int) -> LogLine:
        """Say what came of it for a task that Airflow has killed."""
        if self.done:
            return LogLine(f"This Airflow task was killed: revoked SOPS task {task_id}.")
        later = "; its start may be queued and still take effect" if self.may_start else ""
        text = f"This Airflow task was killed; SOPS task {task_id} was not revoked: {self.text}{later}."
        return LogLine(text, warning=self.may_start)


def revoke(project: Project, task_id: int, *, started: bool = False) -> Flow[Revocation]:
    """Revoke a task, with one call, unless it has not started.

    Before SOPS 3.7.12 revoking what is CREATED spoils its start, later ones refuse it. So its state is looked at
    first; where that cannot be read it is revoked all the same, since revoking is for what runs.

    :param started: it was seen to have started, so its state need not be looked at.
    :raises errors.SopsError: when SOPS gives no good answer; that the task has ended or not started is one.
    """
    if not started:
        try:
            status = yield from read_status(project, task_id, ApiGrants(), [], fresh=True)
        except errors.SopsError:
            pass
        else:
            if status.state is TaskState.CREATED and not status.is_deleted:
                return Revocation(False, NOT_STARTED, may_start=True)
    try:
        yield project.call("operate_task", task_id=task_id, action="revoke")
    except errors.SopsApiError as error:
        said = error.remote_message or ""
        if _FINISHED in said:
            return Revocation(False, "it had ended already")
        # before 3.7.12 its engine looks for what it does not have yet
        if not isinstance(error, errors.SopsInvalidOperationError) and "PipelineModel matching query" not in said:
            raise
        return Revocation(False, f"{NOT_STARTED} ({said})", may_start=True)
    return Revocation(True, "it was revoked")


def operate_task(project: Project, task_id: int, action: str) -> Flow[list[LogLine]]:
    """Start, pause, resume or revoke a task, once its state has been looked at.

    :return: for the log: what was done, or that it was so already.
    :raises errors.SopsInvalidOperationError: the task's state does not allow it; says what would help.
    :raises errors.SopsError: SOPS refuses, or gives no good answer.
    """
    call = project.call("operate_task", task_id=task_id, action=action)
    status = yield from _read_if_allowed(project, task_id)
    if status is not None:
        if _is_so(action, status):
            return [LogLine(_nothing_to(action, status))]
        _check_task(call, action, status)
    try:
        yield call
    except (errors.SopsApiError, *_LOST) as error:
        if isinstance(error, errors.SopsIamDeniedError | errors.SopsNotFoundError | errors.SopsInvalidParameterError):
            raise
        if isinstance(error, _LOST) and not may_have_happened(error):
            raise
        status = yield from read_status(project, task_id, ApiGrants(), [], fresh=True)
        if not _is_so(action, status):
            raise
        return [LogLine(f"{_nothing_to(action, status)} ({error})")]
    lines = [LogLine(f"SOPS task {task_id}: {action} is done.")]
    if action == "start":
        lines.append(LogLine("SOPS has queued its start; that it runs, a wait for it will show."))
    if action == "resume" and status is not None and (paused := _paused_nodes(status)):
        lines.append(LogLine(f"SOPS task {task_id} {status.name!r} goes on but for {_advice(paused)}", warning=True))
    return lines


def _read_if_allowed(project: Project, task_id: int) -> Flow[TaskStatus | None]:
    """Read a task's status; ``None`` where the app or the user may operate tasks but see none."""
    try:
        return (yield from read_status(project, task_id, ApiGrants(), [], fresh=True))
    except (errors.SopsIamDeniedError, *DENIED):
        return None


def _has_ended(status: TaskStatus) -> bool:
    return status.is_deleted or status.state.is_final or status.state is TaskState.ENDED


def _is_so(action: str, status: TaskStatus) -> bool:
    """Tell whether a task is already as the action would make it."""
    if status.is_deleted:
        return False
    if action == "revoke":
        return _has_ended(status)
    if action == "pause":  # of a task that has failed and was paused then, too
        return TaskState.SUSPENDED.value in (status.state.value, status.raw_state)
    if action == "resume":
        return status.state is TaskState.RUNNING
    return not _has_ended(status) and status.state not in (TaskState.CREATED, TaskState.UNKNOWN)


def _nothing_to(action: str, status: TaskStatus) -> str:
    return f"SOPS task {status.task_id} {status.name!r} is {status.raw_state or status.state}: nothing to {action}."


def _check_task(call: Call, action: str, status: TaskStatus) -> None:
    """Refuse what SOPS does not refuse, or not in a way that helps.

    :raises errors.SopsInvalidOperationError: says what would help.
    """
    subject = f"{status.name!r} is {status.raw_state or status.state}"
    if status.is_deleted:
        raise _refused(call, f"{status.name!r} was deleted in SOPS")
    if action == "revoke" and status.state is TaskState.CREATED:
        raise _refused(call, subject, f"{NOT_STARTED}; before 3.7.12 the attempt spoils its start.")
    if action == "start" and _has_ended(status):
        raise _refused(call, f"{subject}: it has ended, and a SOPS task runs once", "Create a new one.")
    if action != "resume" or status.raw_state == TaskState.SUSPENDED.value:
        return
    if status.state is TaskState.FAILED:
        failed = ", ".join(_named(node) for node, _ in failed_leaves(status.nodes)) or "a node"
        raise _refused(call, f"{subject}, not paused", f"Retry or skip what has failed: {failed}.")
    if status.state is TaskState.NODE_SUSPENDED and (paused := _paused_nodes(status)):
        raise _refused(call, f"{subject}: not the task itself is paused", f"What is: {_advice(paused)}")


def _refused(call: Call, what: str, hint: str | None = None) -> errors.SopsInvalidOperationError:
    """Make the error of what is not even asked of SOPS."""
    return errors.make_error(errors.SopsInvalidOperationError, call, what, hint=hint)


def _paused_nodes(status: TaskStatus) -> list[NodeStatus]:
    return [node for top in status.nodes for node, _ in top.walk() if node.state is TaskState.SUSPENDED]


def _advice(paused: list[NodeStatus]) -> str:
    """Name paused nodes, each with the action that resumes it."""
    each = [f"node {_named(node)}, to be resumed by the node action {_resumes(node)!r}" for node in paused]
    return f"{'; '.join(each)}."


def _resumes(node: NodeStatus) -> str:
    """Give the action that resumes a paused node."""
    return "resume_subproc" if node.children else "resume"


_LOST = (
    errors.SopsConnectionError,
    errors.SopsTimeoutError,
    errors.SopsGatewayUnavailableError,
    errors.SopsInvalidAnswerError,
    errors.SopsApiNotFoundError,
)


def find_node(detail: TaskDetail, name: str, action: str = "retry") -> Activity:
    """Find the one node of a task with this name; for ``skip_exg`` the one gateway.

    :raises SopsConfigError: there is none, or several; says which there are.
    """
    kind, nodes = "node", list(activities(detail.pipeline_tree))
    if action == "skip_exg":
        kind, nodes = "gateway", list(gateways(detail.pipeline_tree))
    found = [node for node in nodes if node.name == storable(name)]
    if len(found) == 1:
        return found[0]
    subject = f"SOPS task {detail.task_id} {detail.name!r}"
    if found:
        places = "; ".join(f"{node.id} in {' / '.join(node.path) or 'the task itself'}" for node in found)
        raise SopsConfigError(
            "sops_node_name", f"{subject} has {len(found)} {kind}s named {name!r}: give sops_node_id ({places})"
        )
    names = ", ".join(sorted({repr(node.name) for node in nodes})) or "none"
    raise SopsConfigError("sops_node_name", f"{subject} has no {kind} named {name!r}; there are: {names}")


def check_flow(detail: TaskDetail, node_id: str, flow_id: str) -> None:
    """Refuse a way that does not lead out of a gateway.

    :raises SopsConfigError: says which ways there are.
    """
    ways = next((node.ways for node in gateways(detail.pipeline_tree) if node.id == node_id), {})
    if ways and flow_id not in ways:
        known = ", ".join(f"{flow} to {target!r}" if target else flow for flow, target in ways.items())
        raise SopsConfigError("flow_id", f"no flow {flow_id!r} leads out of gateway {node_id}; there are: {known}")


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
    :raises CannotGoOn: the node was not reached in time, or nothing has come of what SOPS said yes to.
    :raises errors.SopsInvalidOperationError: the state of the task or of the node does not allow it.
    :raises errors.SopsError: SOPS refuses, or gives no good answer.
    """
    call = project.call("operate_node", task_id=task_id, node_id=node_id, action=action, **params)
    grants = ApiGrants()
    status = yield from _reach(project, task_id, node_id, action, grants, patience, interval)
    node = _node(status, node_id)
    if node is not None and not _is_over(status) and _is_behind(action, node):
        if action == "resume" and (yield from _is_waiting_pause_node(project, status, node)):
            raise _refused(call, f"node {_named(node)} of {status.name!r} is not paused", _CALL_BACK)
        return [LogLine(f"Node {node.name!r} of SOPS task {task_id} is {node.state}: nothing to {action}.")]
    if _has_ended(status):
        state = "was deleted" if status.is_deleted else f"is {status.state}"
        raise _refused(call, f"{status.name!r} {state}: nothing in it runs any more, whatever is done to its nodes")
    if node is not None:
        yield from _check_node(project, call, action, status, node)
    try:
        done = yield from _send(project, call, action, node, grants)
    except _LOST as error:
        if not isinstance(error, errors.SopsApiNotFoundError) and not perhaps_missing(error):
            raise
        if action != "callback":
            raise errors.advised(error, _NO_OPERATE_NODE) from error.__cause__
        data = params.get("data") or {}
        call = project.call("node_callback", task_id=task_id, node_id=node_id, callback_data=data)
        done = yield from _send(project, call, action, node, grants)
    if done:
        return done
    if node is None:
        later = "it pauses when the task comes to it" if grants.status else "what has come of it cannot be read"
        return [LogLine(f"Node {node_id} of SOPS task {task_id}: {action} is done; {later}.")]
    return (yield from _see_effect(project, task_id, action, node, grants))


def _send(project: Project, call: Call, action: str, node: NodeStatus | None, grants: ApiGrants) -> Flow[list[LogLine]]:
    """Send what operates a node.

    :return: for the log, when the answer was lost, and yet it shows that it is done; empty when SOPS said yes.
    """
    try:
        yield call
    except _LOST as error:
        if not may_have_happened(error) or not grants.status or node is None:
            raise
        status = yield from read_status(project, call.task_id or 0, grants, [], fresh=True)
        after = _node(status, node.id)
        if after is None or not (_is_behind(action, after) or _has_changed(node, after)):
            raise
        return [
            LogLine(
                f"Node {after.name!r} of SOPS task {call.task_id} is {after.state} now: {action} is done. ({error})"
            )
        ]
    return []


def _reach(
    project: Project, task_id: int, node_id: str, action: str, grants: ApiGrants, patience: float, interval: float
) -> Flow[TaskStatus]:
    """Wait until the task has come to a node, where that can be read."""
    waited = 0.0
    while True:
        status = yield from read_status(project, task_id, grants, [], fresh=True)
        if not grants.status or _node(status, node_id) is not None:
            return status
        ended = _has_ended(status)
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


def _is_over(status: TaskStatus) -> bool:
    """Tell whether a task was stopped before its end, so that what its nodes have come to is of no use."""
    return _has_ended(status) and (status.is_deleted or status.state is not TaskState.FINISHED)


def _check_node(project: Project, call: Call, action: str, status: TaskStatus, node: NodeStatus) -> Flow[None]:
    """Refuse what SOPS says yes to although nothing comes of it, and what it refuses by a traceback.

    :raises errors.SopsInvalidOperationError: says what would help.
    """
    subject = f"node {_named(node)} of {status.name!r} is {node.state}"
    if node.state is TaskState.SUSPENDED and action in ("retry", "skip", "callback", "forced_fail", "skip_exg"):
        raise _refused(call, subject, f"It is paused: use the action {_resumes(node)!r} first.")
    if action in ("retry", "skip", "skip_exg") and node.state is not TaskState.FAILED:
        waits = yield from _is_waiting_pause_node(project, status, node)
        raise _refused(call, subject, _CALL_BACK if waits else "That is for a node that has FAILED.")
    if action == "callback":
        if node.state is TaskState.FAILED:
            raise _refused(call, subject, "It waits for no callback: retry or skip it.")
        if not (yield from _may_wait_for_callback(project, status, node)):
            raise _refused(call, f"{subject} and waits for no callback", "SOPS would say yes and change nothing.")
    if action == "forced_fail" and node.state is not TaskState.RUNNING:
        raise _refused(call, subject, "Only a node that is RUNNING can be made to fail.")
    if action == "pause":
        raise _refused(
            call, subject, "A node can be paused before the task comes to it; pause the task, or a subprocess, instead."
        )
    if action in ("resume", "resume_subproc") and node.state is TaskState.NODE_SUSPENDED:
        inner = [one for one, _ in node.walk() if one.state is TaskState.SUSPENDED]
        raise _refused(call, subject, f"It is not paused itself; what is: {_advice(inner)}" if inner else None)
    if action == "resume" and node.state is TaskState.SUSPENDED and node.children:
        raise _refused(call, subject, "It is a subprocess: use the action 'resume_subproc'.")
    if action == "resume_subproc" and node.state is TaskState.SUSPENDED and not node.children:
        raise _refused(call, subject, "It is no subprocess: use the action 'resume'.")
    if action == "pause_subproc" and not node.children:
        raise _refused(call, subject, "It is no subprocess, or has not begun.")


def _is_waiting_pause_node(project: Project, status: TaskStatus, node: NodeStatus) -> Flow[bool]:
    if node.state is not TaskState.RUNNING or node.children:
        return False
    try:
        # a tree never changes, so a cached answer will do
        answer = yield project.call("get_task_detail", task_id=status.task_id)
        nodes = activities(models.task_detail(answer).pipeline_tree)
    except errors.SopsError:
        return False
    return any(one.id == node.id and one.plugin == PAUSE_PLUGIN for one in nodes)


def _may_wait_for_callback(project: Project, status: TaskStatus, node: NodeStatus) -> Flow[bool]:
    """Tell whether a node may wait for somebody's callback: a pause node does, and others as SOPS says of the task.

    Other plugins wait for callbacks too, and SOPS says of the task alone whether it waits for a person; where it does
    not say, it is tried: that nothing comes of it is seen then.
    """
    if node.state is not TaskState.RUNNING or node.children:
        return False
    if (yield from _is_waiting_pause_node(project, status, node)):
        return True
    try:
        answer = yield project.call("get_tasks_manual_intervention_state", task_id_list=[status.task_id], **nocache())
        return models.interventions(answer).get(status.task_id, False)
    except errors.SopsError:
        return True


def _see_effect(
    project: Project, task_id: int, action: str, before: NodeStatus, grants: ApiGrants
) -> Flow[list[LogLine]]:
    """Read until a node is no longer as it was: SOPS' engine does in its own time what it said yes to.

    :raises CannotGoOn: nothing has come of it.
    """
    subject = f"node {_named(before)} of SOPS task {task_id}"
    waited = 0.0
    while True:
        try:
            status = yield from read_status(project, task_id, grants, [], fresh=True)
        except errors.SopsError as error:  # it is done, and must not be done again
            return [LogLine(f"SOPS says yes to {action} of {subject}; what came of it cannot be read. {error}", True)]
        after = _node(status, before.id)
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


def _node(status: TaskStatus, node_id: str) -> NodeStatus | None:
    return next((node for top in status.nodes for node, _ in top.walk() if node.id == node_id), None)


def _has_changed(before: NodeStatus, after: NodeStatus) -> bool:
    """Tell whether something has come of an action; a retry may have failed again by now."""
    return after.state is not before.state or after.retry > before.retry


_CALL_BACK = "It waits for a callback: use the action 'callback'."
#: The states in which a node has got over what an action is for.
_BEHIND: Mapping[str, tuple[TaskState, ...]] = {
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


def _is_behind(action: str, node: NodeStatus) -> bool:
    """Tell whether a node has got over what the action is for."""
    return node.state in _BEHIND[action]


def retry_failed_nodes(project: Project, task_id: int, grants: ApiGrants) -> Flow[list[LogLine]]:
    """Retry the failed nodes of a task; all of them can be retried, or none is.

    :return: for the log.
    :raises CannotGoOn: names a node that cannot be retried.
    """
    status = yield from read_status(project, task_id, grants, [], fresh=True)
    if status.state is not TaskState.FAILED:
        return [LogLine(f"SOPS task {task_id} goes on by itself: {status.state}.")]
    answer = yield project.call("get_task_detail", task_id=task_id)
    by_id = {activity.id: activity for activity in activities(models.task_detail(answer).pipeline_tree)}
    failed = [node for node, _ in failed_nodes(status)]
    _check_retryable(status, failed, by_id)
    lines = []
    for node in failed:
        yield from _retry_node(project, status, node, grants)
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
                f"{subject}: node {_named(node)} is a subprocess that runs as a task of its own, and the "
                "failed node in it cannot be reached from here. Retry it on that task's page.",
                status,
            )
        if activity is not None and not activity.retryable:
            raise RunAborted(f"{subject}: node {_named(node)} may not be retried.", status)


def _no_retry(status: TaskStatus) -> str:
    return f"SOPS task {status.task_id} {status.name!r} has FAILED, and retry_failed_nodes cannot help"


def _named(node: NodeStatus) -> str:
    return f"{node.name!r} (id {node.id})"


def _retry_node(project: Project, task: TaskStatus, node: NodeStatus, grants: ApiGrants) -> Flow[None]:
    for _ in range(SENDS):
        try:
            yield project.call("operate_node", task_id=task.task_id, node_id=node.id, action="retry")
            return
        except errors.SopsError as error:
            if isinstance(error, errors.SopsApiNotFoundError) or perhaps_missing(error):
                error = errors.advised(error, f"{_NO_OPERATE_NODE} on_retry='rerun' needs none of it.")
            status = yield from read_status(project, task.task_id, grants, [], fresh=True)
            if node.id not in {failed.id for failed, _ in failed_nodes(status)}:
                return  # it was retried, whoever did it
            if isinstance(error, errors.SopsApiError) and not may_have_happened(error):
                raise RunAborted(
                    f"{_no_retry(task)}: SOPS refuses to retry node {_named(node)}: {error}", status
                ) from error
            if not may_have_happened(error):
                raise error from error.__cause__
            lost = error
        yield Sleep(SEND_PAUSE)
    raise lost
