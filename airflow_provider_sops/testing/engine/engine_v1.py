# SPDX-License-Identifier: Apache-2.0
"""Starting and operating tasks as SOPS did with its first engine, before 3.6.46.

After its public source, not measured. A start takes effect within its request: the task counts as started at once, and
the engine knows of it some moments later.
"""

from __future__ import annotations

from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.refusals import INVALID_OPERATION, OPERATION_FAILED, UNKNOWN, VALIDATION, Refused


def start(task: Task, now: float, user: str, delay: float | None) -> None:
    """Start a task within the request.

    :param delay: seconds until the engine knows of it; None: no worker lives, it never does.
    :raises Refused: SOPS refuses it.
    """
    if task.current_flow != "execute_task":
        raise Refused(f"task with current_flow:{task.current_flow} cannot be started", INVALID_OPERATION)
    if task.is_started:
        raise Refused("pipeline instance already started.", OPERATION_FAILED)
    if not task.graph.tree["activities"]:
        message = f"task[id={task.id}] stream is invalid, message: no activities, node_id: {task.root_id}"
        raise Refused(message, VALIDATION)
    task.is_started, task.start_time, task.executor = True, now, user
    if task.reserved:  # it counts as started all the same, and the engine never knows of it
        message = f"""task[id={task.id}] action failed:(1062, "Duplicate entry '{task.root_id}' for key 'PRIMARY'")"""
        raise Refused(message, UNKNOWN)
    task.queue_start(now, user, delay)


def operate_unstarted(task: Task, now: float, user: str, action: str, *, looks_first: bool) -> None:
    """Pause, resume or revoke a task that has not started: the engine tries.

    Where it makes a row of its own for the task before it looks for it, no later start succeeds.

    :param looks_first: whether a revoke looks for the task before anything else, as from 3.5.1 on.
    :raises Refused: SOPS refuses it.
    """
    if task.current_flow != "execute_task":
        task.operate(now, user, action)  # refuses it
    task.note(now, user, action)
    if action == "revoke" and looks_first:
        raise Refused("pipeline to be revoked does not exist.", OPERATION_FAILED)
    task.reserved = True
    if action == "revoke":
        raise Refused(f"task[id={task.id}] action failed:PipelineModel matching query does not exist.", UNKNOWN)


def is_unknown(task: Task) -> bool:
    """Return whether a task counts as started although the engine does not know of it."""
    return task.is_started and task.root_state is None


def unknown_node(own_id: object) -> str:
    """What the engine says of an id that it does not know."""
    return f"node({own_id}) does not exist, may have not by executed"
