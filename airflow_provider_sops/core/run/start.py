# SPDX-License-Identifier: Apache-2.0
"""Starting the selected SOPS task, and saying why one has not started."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import nocache
from airflow_provider_sops.core.call_flow import Flow, LogLine, Sleep
from airflow_provider_sops.core.models import readers
from airflow_provider_sops.core.operate.errors import RunAborted
from airflow_provider_sops.core.operate.lost_answers import SEND_PAUSE, SENDS, may_have_happened
from airflow_provider_sops.core.operate.revoke import NOT_STARTED, revoke
from airflow_provider_sops.core.run.select_task import Selection
from airflow_provider_sops.core.run.task_page import page_sentence, read_detail
from airflow_provider_sops.core.run.task_run import TaskRun, is_gone, read_fresh_status
from airflow_provider_sops.core.states import TaskState

#: Where SOPS says a function task stands that no person has claimed.
_CLAIM = "func_claim"


def start(selection: Selection) -> Flow[bool]:
    """Revoke what is given up, then start the selected task.

    :return: whether the start is queued; ``False`` when a task that was to be given up goes on after all, so that
        another selection is needed.
    :raises errors.SopsError: when SOPS gives no good answer.
    """
    for task_id in selection.give_up:
        if not (yield from _give_up(selection.run, task_id)):
            return False
    yield from _start(selection.run, selection.task_id)
    return True


def _give_up(run: TaskRun, task_id: int) -> Flow[bool]:
    """Revoke a failed task, so that it is not left half alive; read again just before."""
    for _ in range(SENDS):
        status = yield from read_fresh_status(run, task_id)
        if is_gone(status):
            return True
        if status.state is not TaskState.FAILED:
            yield from run.state.once(LogLine(f"SOPS task {task_id} goes on after all: {status.state}."))
            return False
        try:
            revocation = yield from revoke(run.project, task_id, started=True)
        except errors.SopsError as error:
            if not may_have_happened(error):
                raise
            yield Sleep(SEND_PAUSE)
            continue
        yield LogLine(f"SOPS task {task_id} has failed; {revocation.text}, and a new one is run.")
    return is_gone((yield from read_fresh_status(run, task_id)))


def _start(run: TaskRun, task_id: int) -> Flow[None]:
    """Queue the start. SOPS starts a task once, however often it is asked to."""
    for left in range(SENDS - 1, -1, -1):
        try:
            yield run.project.call("start_task", task_id=task_id)
        except errors.SopsApiError as error:
            said = error.remote_message or ""
            if _CLAIM in said:  # so do those before 3.6.46; later ones say yes, and do not start it
                yield LogLine(f"SOPS does not start task {task_id} before a person has claimed it.")
            elif "already started" in said or "current_flow:finished" in said:
                yield LogLine(f"SOPS task {task_id} had been started already.")
            else:
                raise
        except errors.SopsError as error:
            if not may_have_happened(error):
                raise
            yield LogLine(f"Whether SOPS task {task_id} was started is not known. {error}", warning=True)
            if left:
                yield Sleep(SEND_PAUSE)
            continue
        else:
            yield LogLine(f"SOPS has queued the start of task {task_id}.")
        return


def not_started(run: TaskRun, task_id: int, start_timeout: float) -> Flow[RunAborted | None]:
    """Return why a task that was not seen to start in time has not. It cannot be revoked, and may still start.

    :param start_timeout: the seconds that it had.
    :return: what to fail with; ``None`` when it has started after all.
    :raises errors.SopsError: its status cannot be read.
    """
    status = yield from read_fresh_status(run, task_id)
    if status.state is not TaskState.CREATED:
        return None
    subject = f"SOPS task {task_id} {status.name!r} has not started within {start_timeout:.0f} s (start_timeout)"
    page = yield from page_sentence(run.project, task_id)
    if (yield from _has_no_nodes(run, task_id)):
        why = (
            ": it has no nodes, and SOPS' engine starts no such task. Look at exclude_task_nodes_id and "
            "execute_task_nodes_id: the template has to have what these name."
        )
    elif (yield from _waits_for_claim(run, task_id)):
        why = (
            ": it is a function task (flow_type common_func) and waits to be claimed by a person. It can "
            "be neither started nor revoked before that, and starts when it is claimed. Give start_timeout the "
            "time that this takes; a retry of the Airflow task waits for the same SOPS task."
        )
    else:
        why = (
            f", though SOPS has queued its start: {NOT_STARTED}. It may still start later. See whether "
            "SOPS' workers run; a retry of the Airflow task goes on with the same SOPS task."
        )
    return RunAborted(f"{subject}{why}{page}", status)


def _waits_for_claim(run: TaskRun, task_id: int) -> Flow[bool]:
    """Return whether a person has to claim the task; where SOPS does not say, a function task is taken for one."""
    flow = ""
    try:
        answer = yield run.project.call("get_tasks_status", task_id_list=[task_id], **nocache())
        status = readers.tasks_status(answer).get(task_id)
        flow = status.current_flow if status else ""
    except errors.SopsError:
        pass
    return flow == _CLAIM if flow else run.task_spec.params.get("flow_type") == "common_func"


def _has_no_nodes(run: TaskRun, task_id: int) -> Flow[bool]:
    detail = yield from read_detail(run.project, task_id)
    return detail is not None and detail.pipeline_tree.get("activities") == {}
