# SPDX-License-Identifier: Apache-2.0
"""Reading the outputs of a finished task, past SOPS' caches and the race at a task's end, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import nocache
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow, Sleep
from airflow_provider_sops.core.models import TaskDetail, TaskStatus, readers
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions, read_status
from airflow_provider_sops.core.variables import bare_name, sops_key
from airflow_provider_sops.core.wait.verdict import END_TIME_PATIENCE

#: Seconds between two readings while status and detail do not yet agree.
_REREAD = 2.0


@dataclass(frozen=True, slots=True)
class TaskOutputs:
    """The outputs of a finished task by bare name, with the detail that they were read from."""

    values: Mapping[str, Any] = field(repr=False)
    detail: TaskDetail
    #: for the task's log: what the way of reading them costs
    notices: tuple[str, ...] = ()


class OutputsUnavailable(Exception):
    """The task has no outputs to read.

    :param message: says the state, and what to do.
    """

    def __init__(self, message: str, status: TaskStatus | None = None) -> None:
        super().__init__(message)
        self.status = status


def read_outputs(task_id: int, project: Project, *, assume_finished: bool = False) -> Flow[TaskOutputs]:
    """Read status and detail, both fresh, again until they agree that the task has finished.

    Without the permission for ``get_task_status`` the detail alone decides: outputs prove that the task finished.

    :param assume_finished: take an end without outputs whose state cannot be read for a finish.
    :raises OutputsUnavailable: when the task is unfinished, failed, revoked, expired or deleted.
    :raises SopsError: when SOPS gives no good answer.
    """
    notices: list[str] = []
    permissions = ApiPermissions()
    details: list[TaskDetail] = []
    waited = 0.0
    while True:
        status = yield from read_status(project, task_id, permissions, notices, fresh=True, keep=details.append)
        _check_finished(task_id, status, assume_finished)
        if permissions.status:
            details.append((yield from read_detail(task_id, project)))
        detail = details[-1]
        if detail.finish_time is not None:
            values = {output.name: output.value for output in detail.outputs}
            return TaskOutputs(values, detail, tuple(notices))
        # the state comes a moment before the end time
        if waited >= END_TIME_PATIENCE:
            raise OutputsUnavailable(
                f"SOPS task {task_id} is FINISHED, but SOPS has given no end time for {waited:.0f} s, so its outputs "
                f"may not be complete. Look at the task's page: {detail.task_url}",
                status,
            )
        yield Sleep(_REREAD)
        waited += _REREAD


def read_detail(task_id: int, project: Project) -> Flow[TaskDetail]:
    """Read a task's detail past SOPS' caches.

    :raises SopsError: when SOPS gives no good answer.
    """
    answer = yield project.call("get_task_detail", task_id=task_id, **nocache())
    return readers.task_detail(answer)


def task_page(task_id: int, project: Project) -> Flow[str]:
    """Find the address of a task's page, for an error; empty where it cannot be read."""
    try:
        answer = yield project.call("get_task_detail", task_id=task_id)
        return readers.task_detail(answer).task_url
    except errors.SopsError:
        return ""


def _check_finished(task_id: int, status: TaskStatus, assume_finished: bool) -> None:
    if status.is_deleted:
        raise OutputsUnavailable(f"SOPS task {task_id} {status.name!r} was deleted in SOPS.", status)
    if status.state is TaskState.FINISHED or (status.state is TaskState.ENDED and assume_finished):
        return
    subject = f"SOPS task {task_id} {status.name!r}"
    if status.state is TaskState.ENDED:
        raise OutputsUnavailable(
            f"{subject} has ended without outputs, and its state is unknown: it may have finished or been revoked. "
            "Grant the app the API get_task_status, or set assume_finished=True if such tasks are never revoked.",
            status,
        )
    if status.state is TaskState.FAILED:
        raise OutputsUnavailable(f"{subject} has FAILED, so it has no outputs.", status)
    if status.state.is_final:
        raise OutputsUnavailable(f"{subject} was ended as {status.state}, so it has no outputs.", status)
    raise OutputsUnavailable(
        f"{subject} has not finished: it is {status.raw_state or status.state}, and outputs come at the end. "
        "Put a SopsTaskSensor before this task.",
        status,
    )


def select(outputs: Mapping[str, Any], keys: Iterable[str] | None) -> Mapping[str, Any]:
    """Take the outputs of these keys.

    :param keys: names in either spelling; ``None`` takes all.
    :raises KeyError: lists the keys that there are.
    """
    if keys is None:
        return outputs
    names = [bare_name(key) for key in keys]
    absent = [sops_key(name) for name in names if name not in outputs]
    if absent:
        known = ", ".join(sops_key(name) for name in sorted(outputs)) or "none"
        raise KeyError(f"no output {', '.join(absent)}; there are: {known}")
    return {name: outputs[name] for name in names}
