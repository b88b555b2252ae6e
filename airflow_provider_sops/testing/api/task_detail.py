# SPDX-License-Identifier: Apache-2.0
"""A task with its outputs, its nodes, and what was done to it."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.testing.answers import shapes
from airflow_provider_sops.testing.answers.node_log import node_log
from airflow_provider_sops.testing.answers.nodes import node_data, node_detail
from airflow_provider_sops.testing.answers.tasks import operate_record, task_detail
from airflow_provider_sops.testing.api.call import TASK, Call, as_api
from airflow_provider_sops.testing.api.lookups import business, find_task
from airflow_provider_sops.testing.api.parameters import query_flag
from airflow_provider_sops.testing.engine.node import Node
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.refusals import NOT_FOUND, PARAMETER, Answer, Crash, Stop, no_node, refusal
from airflow_provider_sops.testing.templates.template import Spec


@as_api("GET", TASK, "task_view")
def get_task_detail(call: Call) -> Answer:
    """A task with its tree, times and outputs. Has no state."""
    with_history = query_flag(call, "include_webhook_history")
    task = call.task(call.ids["task_id"])
    if task is None:
        return _no_detail(call)
    data = task_detail(task, call.project, call.site.task_url(task), call.now, racing=call.racing(task))
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


def _detail_node(call: Call) -> tuple[Task, Spec, Node | None]:
    """The node that is asked for, in the task's template, and as far as it was reached."""
    task = find_task(call)
    node_id = call.query.get("node_id", "")
    spec = task.spec(node_id)
    if spec is None:
        message = no_node(call.release, task.id, node_id, "get_node_detail")
        raise Stop(refusal(message, PARAMETER, data={}))
    return task, spec, task.nodes.get(node_id)


def _unreached(spec: Spec) -> dict[str, Any]:
    data = spec.data.get("component", {}).get("data", {})
    return {"inputs": {key: item["value"] for key, item in data.items()}, "outputs": [], "ex_data": ""}


@as_api("GET", TASK, "task_view")
def get_task_node_detail(call: Call) -> Answer:
    """A node with inputs, outputs, error and earlier runs."""
    task, spec, node = _detail_node(call)
    if node is not None:
        data = node_detail(task, node, call.query.get("component_code"), call.now)
    else:
        ignorable = bool(spec.data.get("error_ignorable", False))
        data = {"name": spec.name, "error_ignorable": ignorable, "state": "READY", **_unreached(spec)}
        data["auto_retry_info"] = {}
    return {"result": True, "data": shapes.row_of(call.release, call.api.name, data), "message": "", "code": 0}


@as_api("GET", ("bk_biz_id", "task_id"), "task_view")
def get_task_node_data(call: Call) -> Answer:
    """Inputs and outputs of a node."""
    task, spec, node = _detail_node(call)
    data = _unreached(spec) if node is None else node_data(task, node, call.query.get("component_code"))
    return {"result": True, "data": data, "message": "", "code": 0}


@as_api("GET", TASK, "task_view", rest=True)
def get_task_node_log(call: Call) -> Answer:
    """Log of one run of a node."""
    task, _, node = _detail_node(call)
    text = node_log(task, node, call.site.task_url(task)) if node is not None else ""
    return {"result": True, "message": "success", "data": text, "page": {}}


@as_api("GET", TASK, "task_view")
def get_task_operate_record(call: Call) -> Answer:
    """What was done to a task, or to one of its nodes, on SOPS' page. It has nothing there for calls through the API.

    Without records as measured; a record's fields after SOPS' public source (``contrib/operate_record``).
    """
    task = find_task(call)
    node_id = call.query.get("node_id")
    rows = [operate_record(task, record) for record in task.records if node_id in (None, "", record.node_id)]
    return {"result": True, "data": rows, "code": 0}
