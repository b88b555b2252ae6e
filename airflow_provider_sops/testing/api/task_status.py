# SPDX-License-Identifier: Apache-2.0
"""The states of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_sops.testing.answers import shapes
from airflow_provider_sops.testing.answers.nodes import auto_retry_info
from airflow_provider_sops.testing.answers.status import failed_nodes, past_status, subprocess_status, task_status
from airflow_provider_sops.testing.answers.tasks import status_row
from airflow_provider_sops.testing.api.call import BIZ, TASK, Call, as_api
from airflow_provider_sops.testing.api.parameters import boolean, ids_of
from airflow_provider_sops.testing.engine import engine_v1
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.refusals import PARAMETER, UNKNOWN, Answer, Crash, refusal


def _status_error(task_id: int, text: str) -> Answer:
    return refusal(f"task[id={task_id}] get status error: {text}", UNKNOWN)


@as_api("GET", TASK, "task_view")
def get_task_status(call: Call) -> Answer:
    """State of a task and its nodes."""
    task_id = call.ids["task_id"]
    task = call.task(task_id)
    if task is None or task.deleted:
        # 3.3 looks for the number in its engine
        own = call.release.has("scope")
        text = "TaskFlowInstance matching query does not exist." if own else engine_v1.unknown_node(task_id)
        return _status_error(task_id, text)
    if engine_v1.is_unknown(task):
        return _status_error(task_id, engine_v1.unknown_node(task.root_id))
    if task.broken:
        return _status_error(task_id, "node states of the task cannot be read")
    status = dict(_status(call, task))
    subprocess_id = call.query.get("subprocess_id")
    if subprocess_id and not task.expired:
        node = task.nodes.get(subprocess_id)
        if node is None and not call.release.has("subprocess_id may be unknown"):
            return _status_error(task_id, engine_v1.unknown_node(subprocess_id))
        if node is None:
            call.replica.created["name"] = task.name
            call.replica.created.setdefault("children", {})
            status = dict(call.replica.created)
        else:
            status = subprocess_status(task, node, call.now)
    if call.flag("with_ex_data") and status["state"] == "FAILED":
        nodes = task.nodes
        status["ex_data"] = {
            own_id: nodes[own_id].ex_data for own_id in failed_nodes(status) if nodes[own_id].child is None
        }
    if call.flag("with_failed_node_info") or call.flag("with_auto_retry_status"):
        if "id" not in status:
            return refusal(f"task[id={task_id}] extract failed node info error: 'id'", UNKNOWN)
        info = {own_id: auto_retry_info(task.nodes[own_id]) for own_id in failed_nodes(status)}
        if call.flag("with_failed_node_info"):
            status["failed_node_info"] = info
        if call.flag("with_auto_retry_status"):
            waiting = [
                own_id for own_id, row in info.items() if row and row["auto_retry_times"] < row["max_auto_retry_times"]
            ]
            status["auto_retry_status"] = {"exist_auto_retry_nodes": bool(waiting), "auto_retry_nodes": waiting}
    status = shapes.status_of(call.release, status, _types(task))
    return {"result": True, "data": status, "code": 0, "message": ""}


def _types(task: Task) -> dict[str, str]:
    return {own_id: node.spec.type for own_id, node in task.nodes.items()}


def _status(call: Call, task: Task, children: bool = True) -> dict[str, Any]:
    if task.expired:
        return {"state": "EXPIRED", "name": task.name}
    if call.stale:
        past = past_status(task, call.now, children=children)
        if past is not None:
            return past
    if task.root_state is None:
        # SOPS has one dict for all tasks that have not started: a name given to it shows in the others.
        call.replica.created["name"] = task.name
        return call.replica.created
    return task_status(task, call.now, children=children, racing=call.racing(task))


def _known(call: Call, wanted: list[Any]) -> Iterator[Task]:
    """The tasks of the project among those that are asked for, the newest first."""
    for task_id in sorted(set(ids_of(wanted)), reverse=True):
        task = call.task(task_id)
        if task is not None:
            yield task


@as_api("POST", BIZ, "project_view")
def get_tasks_status(call: Call) -> Answer:
    """States of up to 50 tasks."""
    wanted = call.body.get("task_id_list", [])
    if not isinstance(wanted, list):
        return refusal("task_id_list must be a list", PARAMETER)
    if len(wanted) > 50 and call.release.has("tasks at once"):
        return refusal("task_id_list is too long, maximum length is 50", PARAMETER)
    with_children = boolean("include_children_status", call.body.get("include_children_status", False))
    rows = []
    for task in _known(call, wanted):
        unreadable = task.broken or task.id in call.poisoned
        if engine_v1.is_unknown(task) or (unreadable and not call.release.has("engine v2")):
            raise Crash
        if unreadable:
            return _status_error(task.id, "node states of the task cannot be read")
        status = shapes.status_of(call.release, _status(call, task, with_children), _types(task))
        if not with_children:
            status.pop("children", None)
        ended = not call.racing(task) and not (call.stale and status["state"] not in ("FINISHED", "REVOKED"))
        row = status_row(task, status, call.site.task_url(task), ended=ended)
        rows.append(shapes.row_of(call.release, call.api.name, row))
    for row in rows:
        row["status"] = dict(row["status"])
    return {"result": True, "data": rows, "code": 0}


@as_api("POST", BIZ, "project_view")
def get_tasks_manual_intervention_state(call: Call) -> Answer:
    """Which of up to nine tasks wait for a person."""
    wanted = call.body.get("task_id_list", [])
    if not isinstance(wanted, list):
        return refusal("task_id_list must be a list", PARAMETER)
    if len(wanted) >= 10:
        return refusal("task_ids_list length can not exceeds 10", PARAMETER)
    rows = [{"id": task.id, "manual_intervention_required": _needs_person(task)} for task in _known(call, wanted)]
    return {"result": True, "data": rows, "code": 0}


def _needs_person(task: Task) -> bool:
    if task.state in ("FAILED", "SUSPENDED", "NODE_SUSPENDED"):
        return True
    return task.state == "RUNNING" and any(
        node.state == "RUNNING" and node.plugin == "pause_node" for node in task.nodes.values()
    )
