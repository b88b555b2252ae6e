# SPDX-License-Identifier: Apache-2.0
"""A task with its outputs, its nodes, and what was done to it."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.testing import answers
from airflow_provider_sops.testing.answers import shapes
from airflow_provider_sops.testing.api.call import TASK, Call, as_api
from airflow_provider_sops.testing.api.lookups import business, find_task
from airflow_provider_sops.testing.engine.node import Node
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.refusals import NOT_FOUND, PARAMETER, Answer, Crash, Stop, no_node, refusal


@as_api("GET", TASK, "task_view")
def get_task_detail(call: Call) -> Answer:
    """A task with its tree, times and outputs. Has no state."""
    with_history = call.get_bool("include_webhook_history")
    task = call.site.task(call.ids["task_id"])
    if task is None or task.project_id != call.project.id:
        return _no_detail(call)
    data = answers.task_detail(task, call.project, call.site.task_url(task), call.now, racing=call.racing(task))
    if with_history:
        data["task_webhook_history"] = list(call.site.webhook_history.get(task.id, []))
    return {"result": True, "data": shapes.detail_of(call.release, data, call.project.bk_biz_id), "code": 0}


def _no_detail(call: Call) -> Answer:
    task_id, project = call.ids["task_id"], call.project
    if not call.release.has("scope"):
        return refusal(f"task[id={task_id}] of {business(call)} does not exist", NOT_FOUND)
    if not call.release.has("IAM"):
        raise Crash  # over its own words
    place = f"project[project_id={project.id}, biz_id{project.bk_biz_id}]"
    return refusal(f"[API] get_task_detail task[id={task_id}] of {place} does not exist", NOT_FOUND)


def _detail_node(call: Call) -> tuple[Task, str, Node | None]:
    task = find_task(call)
    node_id = call.query.get("node_id", "")
    if task.spec(node_id) is None:
        message = no_node(call.release, task.id, node_id, "get_node_detail")
        raise Stop(refusal(message, PARAMETER, data={}))
    return task, node_id, task.nodes.get(node_id)


def _unreached(task: Task, node_id: str) -> dict[str, Any]:
    spec = task.spec(node_id)
    assert spec is not None
    data = spec.data.get("component", {}).get("data", {})
    inputs = {key: item["value"] for key, item in data.items()}
    return {"inputs": inputs, "outputs": [], "ex_data": ""}


@as_api("GET", TASK, "task_view")
def get_task_node_detail(call: Call) -> Answer:
    """A node with inputs, outputs, error and earlier runs."""
    task, node_id, node = _detail_node(call)
    if node is not None:
        data = answers.node_detail(task, node, call.query.get("component_code"), call.now)
    else:
        spec = task.spec(node_id)
        assert spec is not None
        ignorable = bool(spec.data.get("error_ignorable", False))
        data = {"name": spec.name, "error_ignorable": ignorable, "state": "READY"}
        data |= _unreached(task, node_id) | {"auto_retry_info": {}}
    return {"result": True, "data": shapes.node_detail_of(call.release, data), "message": "", "code": 0}


@as_api("GET", ("bk_biz_id", "task_id"), "task_view")
def get_task_node_data(call: Call) -> Answer:
    """Inputs and outputs of a node."""
    task, node_id, node = _detail_node(call)
    if node is None:
        data = _unreached(task, node_id)
    else:
        data = answers.node_data(task, node, call.query.get("component_code"))
    return {"result": True, "data": data, "message": "", "code": 0}


@as_api("GET", TASK, "task_view", rest=True)
def get_task_node_log(call: Call) -> Answer:
    """Log of one run of a node."""
    task, _, node = _detail_node(call)
    text = answers.node_log(task, node, call.site.task_url(task)) if node is not None else ""
    return {"result": True, "message": "success", "data": text, "page": {}}


@as_api("GET", TASK, "task_view")
def get_task_operate_record(call: Call) -> Answer:
    """What was done to a task, or to one of its nodes, on SOPS' page. It has nothing there for calls through the API.

    Without records as measured; a record's fields after SOPS' public source (``contrib/operate_record``).
    """
    task = find_task(call)
    node_id = call.query.get("node_id")
    rows = [answers.operate_record(task, record) for record in task.records if node_id in (None, "", record.node_id)]
    return {"result": True, "data": rows, "code": 0}
