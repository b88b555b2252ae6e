# SPDX-License-Identifier: Apache-2.0
"""Starting and operating tasks and their nodes."""

from __future__ import annotations

from airflow_provider_sops.testing.api.call import TASK, Call, as_api
from airflow_provider_sops.testing.api.lookups import find_task
from airflow_provider_sops.testing.engine import engine_v1
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.refusals import (
    INVALID_OPERATION,
    OPERATION_FAILED,
    PARAMETER,
    UNKNOWN,
    Answer,
    missing,
    no_node,
    refusal,
)


def _start(call: Call, task: Task, more: Answer, more_at_once: Answer) -> Answer:
    """Start a task, as two APIs do.

    :param more: what this one answers besides.
    :param more_at_once: the same of the first engine.
    """
    task.note(call.now, call.user, "start")
    at_once = not call.release.has("engine v2")
    if task.is_started and not at_once:
        return refusal("task already started", INVALID_OPERATION)
    call.site.start_task(task, call.user)
    if at_once:  # with the code of a failure, although it has succeeded
        return {"result": True, "message": "success", "code": OPERATION_FAILED, **more_at_once}
    return {"result": True, "code": 0, **more}


@as_api("POST", TASK, "task_operate")
def start_task(call: Call) -> Answer:
    """Queue the start of a task. ``result: true`` does not mean that it starts."""
    task = find_task(call, "TaskFlowInstance(id={id}) does not exist.")
    url = {"task_url": call.site.task_url(task)}
    return _start(call, task, {**url, "data": url}, url if call.release.has("IAM") else {})


@as_api("POST", TASK, "task_operate")
def operate_task(call: Call) -> Answer:
    """Start, pause, resume or revoke a task."""
    task = find_task(call)
    action = str(call.body.get("action"))
    if action == "start":
        return _start(call, task, {"message": "success"}, {})
    call.site.operate_task(task, call.user, action)
    if not call.release.has("engine v2"):
        return {"result": True, "data": {}, "code": 0}
    return {"result": True, "message": "success", "code": 0}


@as_api("POST", ("bk_biz_id", "task_id"), "task_operate")
def operate_node(call: Call) -> Answer:
    """Retry, skip, call back, … one node."""
    task = find_task(call)
    body = call.body
    data, inputs = body.get("data", {}), body.get("inputs", {})
    for name, value in (("data", data), ("inputs", inputs)):
        if not isinstance(value, dict):
            return refusal(f"{name} field is not a valid object", PARAMETER)
    node_id, flow_id = body.get("node_id"), body.get("flow_id")
    act = str(body.get("action"))
    try:
        task.operate_node(call.now, call.user, str(node_id), act, inputs=inputs, data=data, flow_id=flow_id)
    except KeyError:
        return refusal(no_node(call.release, task.id, node_id, "nodes_action"), UNKNOWN)
    return {"result": True, "message": "success", "code": 0}


@as_api("POST", TASK, "task_operate")
def node_callback(call: Call) -> Answer:
    """Answer a node that waits for a callback."""
    task = find_task(call, "TaskFlowInstance(id={id}) does not exist.")
    node_id = call.body.get("node_id")
    if task.spec(str(node_id)) is None:
        return refusal(f"task[{task.id}] does not have node[{node_id}]", PARAMETER)
    if str(node_id) not in task.nodes:
        raise missing(call.release, "State matching query does not exist.", engine_v1.unknown_node(node_id))
    task.operate_node(call.now, call.user, str(node_id), "callback", data=call.body.get("callback_data"))
    return {"result": True, "message": "success", "code": 0}
