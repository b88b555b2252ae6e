# SPDX-License-Identifier: Apache-2.0
"""Stopping the SOPS tasks that still run from before a user cleared the Airflow task."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.call_flow import Flow, LogLine
from airflow_provider_sops.core.operate.revoke import revoke
from airflow_provider_sops.core.run.search import list_own
from airflow_provider_sops.core.run.task_run import TaskRun, read_fresh_status
from airflow_provider_sops.core.states import TaskState

#: It runs, or goes on when somebody resumes it.
_ALIVE = (TaskState.RUNNING, TaskState.SUSPENDED, TaskState.NODE_SUSPENDED, TaskState.READY, TaskState.BLOCKED)


def stop_earlier(run: TaskRun, *, searchable: bool) -> Flow[None]:
    """Revoke what runs still from before a user cleared the Airflow task: a kill revokes only what it is sure of.

    :param searchable: SOPS lists tasks.
    :raises errors.SopsError: it cannot be read or revoked; two would run at once.
    """
    if not run.earlier_tags:
        return
    for task_id in (yield from _earlier_tasks(run, searchable)):
        try:
            status = yield from read_fresh_status(run, task_id)
            if status.is_deleted or status.state not in _ALIVE:
                continue
            revocation = yield from revoke(run.project, task_id, started=True)
        except errors.SopsNotFoundError:
            continue
        text = f"SOPS task {task_id} {status.name!r} was still {status.state} from before this Airflow task was"
        yield LogLine(f"{text} cleared; {revocation.text}.", warning=not revocation.done)


def _earlier_tasks(run: TaskRun, searchable: bool) -> Flow[list[int]]:
    """Return the tasks from before the clear: the one on record, else those with the newest tag found."""
    record = run.record
    if record is not None and record.base != run.tag.base:
        return [] if record.done else [record.task_id]
    if not searchable:
        return []
    for tag in run.earlier_tags:
        items = yield from list_own(run.project, tag.base, is_started=True)
        items = [item for item in items if tag.read(item.name)]
        if items:
            return [item.task_id for item in items if item.is_started and not item.is_finished]
    return []
