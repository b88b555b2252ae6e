# SPDX-License-Identifier: Apache-2.0
"""Revoking a task, for good."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow, LogLine
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions, read_status

#: Why a task that is CREATED is not revoked, in words.
NOT_STARTED = "SOPS does not revoke what has not started"
#: What SOPS says of a task that has ended.
_FINISHED = "current_flow:finished"
#: What SOPS before 3.7.12 says of a task that has not started: its engine has no pipeline of it yet.
_NO_PIPELINE = "PipelineModel matching query"


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
        """Return what came of it for a task that Airflow has killed."""
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
            status = yield from read_status(project, task_id, ApiPermissions(), [], fresh=True)
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
        if not isinstance(error, errors.SopsInvalidOperationError) and _NO_PIPELINE not in said:
            raise
        return Revocation(False, f"{NOT_STARTED} ({said})", may_start=True)
    return Revocation(True, "it was revoked")
