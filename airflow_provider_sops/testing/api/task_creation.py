# SPDX-License-Identifier: Apache-2.0
"""Making tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_sops.testing.api.call import BIZ, TASK, TEMPLATE, Call, as_api
from airflow_provider_sops.testing.api.create_schema import check_create
from airflow_provider_sops.testing.api.lookups import find_task, find_template, posted_graph, tree_of
from airflow_provider_sops.testing.api.permissions import require
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.posts import callbacks
from airflow_provider_sops.testing.refusals import NOT_FOUND, PARAMETER, UNKNOWN, Answer, Stop, refusal
from airflow_provider_sops.testing.templates.template import Template


def _excluded(call: Call, template: Template, params: Mapping[str, Any]) -> list[str]:
    """Template ids of the nodes that a task leaves out."""
    activities = template.graph.tree["activities"]

    excluded = list(params.get("exclude_task_nodes_id") or [])
    for own_id in excluded:
        if own_id not in activities:
            message = (
                f"[API] {call.api.name} create pipeline without tree error: "
                f"task node[id={own_id}] is not in template pipeline tree"
            )
            raise Stop(refusal(message, UNKNOWN))
    executed = list(params.get("execute_task_nodes_id") or [])  # SOPS takes what the template does not have
    schemes = params.get("template_schemes_id") or []
    for scheme_id in schemes if isinstance(schemes, list) else [schemes]:
        scheme = next((scheme for scheme in template.schemes if scheme.id == str(scheme_id)), None)
        if scheme is None:
            raise Stop(refusal(f"template scheme[id={scheme_id}] does not exist", NOT_FOUND))
        executed += scheme.node_ids
    if executed:
        excluded += [own_id for own_id, node in activities.items() if node["optional"] and own_id not in executed]
    return sorted(set(excluded))


def _create(call: Call, and_start: bool) -> Task:
    params = call.body
    template = find_template(call, f"project_id={call.project.id},biz_id={call.project.bk_biz_id}")
    check_create(params, and_start, call.release)
    callback_url = callbacks.checked_url(params.get("callback_url"))
    if params.get("pipeline_tree") and not and_start:
        graph = posted_graph(call, params["pipeline_tree"], draw=False)
    else:
        graph = call.site.graph(template, _excluded(call, template, params))
    task = call.site.create_task(
        name=params["name"],
        project_id=call.project.id,
        graph=graph,
        constants=params.get("constants", {}),
        user=call.user,
        template=template,
        flow_type=params.get("flow_type", "common"),
        callback_url=callback_url,
        callback_version="" if and_start else params.get("callback_version", ""),
    )
    task.note(call.now, call.user, "create")
    return task


@as_api("POST", TEMPLATE, "flow_create_task")
def create_task(call: Call) -> Answer:
    """Make a task of a template."""
    task = _create(call, and_start=False)
    url = call.site.task_url(task)
    data = {
        "task_id": task.id,
        "task_url": url,
        "pipeline_tree": tree_of(call, task),
    }
    if task.flow_type == "common_func":
        data["function_task_claim_url"] = url.replace("/taskflow/", "/function/")
    return {"result": True, "data": data, "code": 0}


@as_api("POST", TEMPLATE, "flow_create_task")
def create_and_start_task(call: Call) -> Answer:
    """Make a task of a template and queue its start."""
    task = _create(call, and_start=True)
    call.site.start_task(task, call.user)
    task.note(call.now, call.user, "start")
    data = {
        "pipeline_tree": tree_of(call, task),
        "task_id": task.id,
        "task_url": call.site.task_url(task),
    }
    return {"result": True, "code": 0, "data": data}


@as_api("POST", BIZ)
def fast_create_task(call: Call) -> Answer:
    """Make a task of a posted tree, without a template."""
    params = call.body
    if "pipeline_tree" not in params:
        message = "[API] fast_create_task get invalid pipeline_tree: 'pipeline_tree'"
        raise Stop(refusal(message, PARAMETER, data=None), traced=False)
    graph = posted_graph(call, params["pipeline_tree"])
    require(call, "project_fast_create_task")
    if "name" not in params:
        raise Stop(refusal("invalid params: 'name'", PARAMETER))
    task = call.site.create_task(
        name=params["name"],
        project_id=call.project.id,
        graph=graph,
        constants=params.get("constants", {}),
        user=call.user,
        flow_type=params.get("flow_type", "common"),
    )
    task.note(call.now, call.user, "create")
    data = {
        "task_id": task.id,
        "task_url": call.site.task_url(task),
        "pipeline_tree": tree_of(call, task),
    }
    return {"result": True, "data": data, "code": 0}


@as_api("POST", TASK, "task_edit")
def modify_constants_for_task(call: Call) -> Answer:
    """Change constants before the start."""
    task = find_task(call)
    if task.is_started:
        return refusal("task is started", PARAMETER)
    constants = call.body.get("constants", {})
    for name, value in constants.items() if isinstance(constants, dict) else ():
        if name in task.constants:
            task.constants[name] = value
    task.note(call.now, call.user, "modify_constants")
    return {"result": True, "data": "success", "code": 0}
