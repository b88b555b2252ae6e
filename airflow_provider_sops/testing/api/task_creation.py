# SPDX-License-Identifier: Apache-2.0
"""Making tasks. What SOPS' JSON schema refuses is refused in the words of the same library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema

from airflow_provider_sops.testing.answers import shapes
from airflow_provider_sops.testing.answers.tree import pipeline_tree
from airflow_provider_sops.testing.api.call import BIZ, TASK, TEMPLATE, Call, as_api
from airflow_provider_sops.testing.api.lookups import find_task, find_template, posted_graph
from airflow_provider_sops.testing.api.permissions import require
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.posts import callbacks
from airflow_provider_sops.testing.refusals import NOT_FOUND, PARAMETER, UNKNOWN, Answer, Stop, refusal
from airflow_provider_sops.testing.releases import Release
from airflow_provider_sops.testing.templates.template import Graph, Template

_ID = {"oneOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}]}
#: Parameters of one of the two APIs, in the order of the recorded refusals: what SOPS fills in for those not given.
_DEFAULTS: dict[bool, dict[str, Any]] = {
    False: {
        "constants": {},
        "flow_type": "common",
        "exclude_task_nodes_id": [],
        "simplify_vars": [],
        "execute_task_nodes_id": [],
        "template_schemes_id": [],
    },
    True: {
        "flow_type": "common",
        "template_source": "business",
        "constants": {},
        "exclude_task_nodes_id": [],
        "template_schemes_id": [],
    },
}


def _check_schema(params: dict[str, Any], and_start: bool, release: Release) -> None:
    """Check what create_task, or create_and_start_task, is asked with.

    :raises Stop: the schema refuses it.
    """
    defaults = {name: value for name, value in _DEFAULTS[and_start].items() if name not in params}
    instance = {name: value for name, value in params.items() if name != "scope"} | defaults
    try:
        jsonschema.validate(instance, _schema(and_start, release))
    except jsonschema.ValidationError as error:
        word = "parmas" if and_start else "params"  # SOPS' own spelling
        raise Stop(refusal(f"task {word} is invalid: {error}", PARAMETER)) from None


def _schema(and_start: bool, release: Release) -> dict[str, Any]:
    longest_name = 100 if release.has("create_task.name of 100 characters") else 50
    properties: dict[str, Any] = {
        "name": {"type": "string", "minLength": 1, "maxLength": longest_name},
        "flow_type": {"type": "string", "enum": ["common", "common_func"]},
        "constants": {"type": "object"},
        "exclude_task_nodes_id": {"type": "array"},
    }
    if not and_start and release.has("create_task.execute_task_nodes_id"):
        properties["execute_task_nodes_id"] = {"type": "array"}
    if release.has("create_task.template_schemes_id"):
        properties["template_schemes_id"] = {"oneOf": [_ID, {"type": "array", "items": _ID}]}
    if and_start:
        properties["template_source"] = {"type": "string"}
    return {"type": "object", "required": ["name"], "properties": properties}


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
    template = find_template(call)
    _check_schema(params, and_start, call.release)
    callback_url = callbacks.checked_url(params.get("callback_url"))
    if params.get("pipeline_tree") and not and_start:
        graph = posted_graph(call, params["pipeline_tree"], draw=False)
    else:
        graph = call.site.graph(template, _excluded(call, template, params))
    version = "" if and_start else params.get("callback_version", "")
    return _new_task(call, graph, template=template, callback_url=callback_url, callback_version=version)


def _new_task(call: Call, graph: Graph, **more: Any) -> Task:
    params = call.body
    task = call.site.create_task(
        name=params["name"],
        project_id=call.project.id,
        graph=graph,
        constants=params.get("constants", {}),
        user=call.user,
        flow_type=params.get("flow_type", "common"),
        **more,
    )
    task.note(call.now, call.user, "create")
    return task


def _answer_with(call: Call, task: Task) -> Answer:
    tree = shapes.tree_of(call.release, pipeline_tree(task))
    data = {"task_id": task.id, "task_url": call.site.task_url(task), "pipeline_tree": tree}
    return {"result": True, "data": data, "code": 0}


@as_api("POST", TEMPLATE, "flow_create_task")
def create_task(call: Call) -> Answer:
    """Make a task of a template."""
    task = _create(call, and_start=False)
    answer = _answer_with(call, task)
    if task.flow_type == "common_func":
        answer["data"]["function_task_claim_url"] = answer["data"]["task_url"].replace("/taskflow/", "/function/")
    return answer


@as_api("POST", TEMPLATE, "flow_create_task")
def create_and_start_task(call: Call) -> Answer:
    """Make a task of a template and queue its start."""
    task = _create(call, and_start=True)
    call.site.start_task(task, call.user)
    task.note(call.now, call.user, "start")
    return _answer_with(call, task)


@as_api("POST", BIZ)
def fast_create_task(call: Call) -> Answer:
    """Make a task of a posted tree, without a template."""
    if "pipeline_tree" not in call.body:
        message = "[API] fast_create_task get invalid pipeline_tree: 'pipeline_tree'"
        raise Stop(refusal(message, PARAMETER, data=None), traced=False)
    graph = posted_graph(call, call.body["pipeline_tree"])
    require(call, "project_fast_create_task")
    if "name" not in call.body:
        raise Stop(refusal("invalid params: 'name'", PARAMETER))
    return _answer_with(call, _new_task(call, graph))


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
