# SPDX-License-Identifier: Apache-2.0
"""Operating a task: start, pause, resume, revoke. What is so already is no error, where the state can be read."""

from __future__ import annotations

from typing import Literal, get_args

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow, LogLine
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.models.readers import failed_leaves
from airflow_provider_sops.core.operate.lost_answers import may_have_happened
from airflow_provider_sops.core.operate.revoke import NOT_STARTED
from airflow_provider_sops.core.operate.wording import named, refused, resume_advice
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import REFUSED, ApiPermissions, read_status

TaskAction = Literal["start", "pause", "resume", "revoke"]
TASK_ACTIONS: tuple[str, ...] = get_args(TaskAction)
#: Of a "no" of SOPS, those that do not mean that the task is already so.
_NEVER_DONE = (errors.SopsIamDeniedError, errors.SopsNotFoundError, errors.SopsInvalidParameterError)


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
    except errors.SopsError as error:
        if isinstance(error, _NEVER_DONE) or not (isinstance(error, errors.SopsApiError) or may_have_happened(error)):
            raise
        status = yield from read_status(project, task_id, ApiPermissions(), [], fresh=True)
        if not _is_so(action, status):
            raise
        return [LogLine(f"{_nothing_to(action, status)} ({error})")]
    lines = [LogLine(f"SOPS task {task_id}: {action} is done.")]
    if action == "start":
        lines.append(LogLine("SOPS has queued its start; that it runs, a wait for it will show."))
    if action == "resume" and status is not None and (paused := status.paused_nodes):
        lines.append(
            LogLine(f"SOPS task {task_id} {status.name!r} goes on but for {resume_advice(paused)}", warning=True)
        )
    return lines


def _read_if_allowed(project: Project, task_id: int) -> Flow[TaskStatus | None]:
    """Read a task's status; ``None`` where the app or the user may operate tasks but see none."""
    try:
        return (yield from read_status(project, task_id, ApiPermissions(), [], fresh=True))
    except REFUSED:
        return None


def _is_so(action: str, status: TaskStatus) -> bool:
    """Return whether a task is already as the action would make it."""
    if status.is_deleted:
        return False
    if action == "revoke":
        return status.has_ended
    if action == "pause":  # of a task that has failed and was paused then, too
        return TaskState.SUSPENDED.value in (status.state.value, status.raw_state)
    if action == "resume":
        return status.state is TaskState.RUNNING
    return not status.has_ended and status.state not in (TaskState.CREATED, TaskState.UNKNOWN)


def _nothing_to(action: str, status: TaskStatus) -> str:
    return f"SOPS task {status.task_id} {status.name!r} is {status.raw_state or status.state}: nothing to {action}."


def _check_task(call: Call, action: str, status: TaskStatus) -> None:
    """Refuse what SOPS does not refuse, or not in a way that helps.

    :raises errors.SopsInvalidOperationError: says what would help.
    """
    subject = f"{status.name!r} is {status.raw_state or status.state}"
    if status.is_deleted:
        raise refused(call, f"{status.name!r} was deleted in SOPS")
    if action == "revoke" and status.state is TaskState.CREATED:
        raise refused(call, subject, f"{NOT_STARTED}; before 3.7.12 the attempt spoils its start.")
    if action == "start" and status.has_ended:
        raise refused(call, f"{subject}: it has ended, and a SOPS task runs once", "Create a new one.")
    if action != "resume" or status.raw_state == TaskState.SUSPENDED.value:
        return
    if status.state is TaskState.FAILED:
        failed = ", ".join(named(node) for node, _ in failed_leaves(status.nodes)) or "a node"
        raise refused(call, f"{subject}, not paused", f"Retry or skip what has failed: {failed}.")
    if status.state is TaskState.NODE_SUSPENDED and (paused := status.paused_nodes):
        raise refused(call, f"{subject}: not the task itself is paused", f"What is: {resume_advice(paused)}")
