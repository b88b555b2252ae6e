# SPDX-License-Identifier: Apache-2.0
"""The API of SOPS itself: one function for each call, with the refusals of the real one (measured on SOPS 3.34).

Older releases differ in what :mod:`~airflow_provider_sops.testing.releases` says.
"""

from __future__ import annotations

import json
import pprint
import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_provider_sops.testing import answers, callbacks, webhooks
from airflow_provider_sops.testing.answers import shapes
from airflow_provider_sops.testing.calling import APIS, Api, Call, as_api, is_common, require
from airflow_provider_sops.testing.counting import count_tasks
from airflow_provider_sops.testing.engine import engine_v1
from airflow_provider_sops.testing.engine.node import Node
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.flags import boolean, list_flag
from airflow_provider_sops.testing.refusals import (
    INVALID_OPERATION,
    NOT_FOUND,
    OPERATION_FAILED,
    PARAMETER,
    UNKNOWN,
    VALIDATION,
    Answer,
    Crash,
    Stop,
    missing,
    no_node,
    refusal,
)
from airflow_provider_sops.testing.releases import Release
from airflow_provider_sops.testing.templates import Graph, Template, node_id

__all__ = ["APIS", "Api"]

_TASK = ("task_id", "bk_biz_id")
_TEMPLATE = ("template_id", "bk_biz_id")
_BIZ = ("bk_biz_id",)


# ---- what several views need ----


def _zone(call: Call) -> tzinfo | None:
    name = call.query.get("expected_timezone")
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"expected_timezone {name} is unknown."
        answer = {"result": False, "data": "", "message": message, "code": VALIDATION}
        raise Stop(answer, traced=False) from None


def _page(call: Call) -> tuple[int, int]:
    """Offset and limit of a list. SOPS gives no more than 200 rows, at first as many as were asked for."""
    counted = call.release.has("get_task_list.count")
    try:
        limit = int(call.query.get("limit", 100 if counted else 15))
        offset = int(call.query.get("offset", 0))
        if min(limit, offset) < 0:
            raise ValueError("offset and limit must be greater or equal to 0.")
    except ValueError as error:
        message = f"[API] pagination error: {error}"
        raise Stop({"result": False, "data": "", "message": message, "code": INVALID_OPERATION}) from None
    return offset, min(200, limit) if counted else limit


def _task(call: Call, words: str = "TaskFlowInstance matching query does not exist.") -> Task:
    """The task of the call, if it belongs to its project and is not deleted."""
    task = call.site.task(call.ids["task_id"])
    if task is None or task.project_id != call.project.id or task.deleted:
        task_id = call.ids["task_id"]
        raise missing(call.release, words.format(id=task_id), f"task[id={task_id}] of {_business(call)} does not exist")
    return task


def _business(call: Call) -> str:
    return f"business[bk_biz_id={call.project.bk_biz_id}]"


def _time(name: str, value: str) -> float:
    try:
        moment = datetime.fromisoformat(re.sub(r"\s+([+-]\d{2}:?\d{2})$", r"\1", value.strip()))
    except ValueError:
        raise Stop(refusal({name: ["Enter a valid date/time."]}, VALIDATION, data="")) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=answers.SERVER_ZONE)
    return moment.timestamp()


# ---- what only apps on a list of SOPS' own may call ----


@as_api("POST", ())
def dispatch_plugin_query(call: Call) -> Answer:
    """Ask a plugin of a SOPS site. No app may, unless the fake is told so; then no plugin is there."""
    return refusal("plugin not found", NOT_FOUND)


# ---- projects and templates ----


@as_api("GET", ())
def get_user_project_list(call: Call) -> Answer:
    """The projects that a user may see."""
    rows = [
        {"project_id": project.id, "bk_biz_id": project.bk_biz_id, "name": project.name}
        for project in call.site.projects.values()
        if call.site.may(call.user, "project_view")
    ]
    return {"result": True, "data": rows, "code": 0}


@as_api("GET", _BIZ, "project_view")
def get_template_list(call: Call) -> Answer:
    """Templates of a project, or the common ones."""
    zone = _zone(call)
    common = is_common(call)
    wanted: set[int] | None = None
    if call.query.get("id_in"):
        try:
            wanted = {int(item) for item in call.query["id_in"].split(",")}
        except ValueError:
            raise Crash from None
    keyword = call.query.get("name_keyword", "")
    rows = [
        answers.template_row(template, call.project, call.site.created, zone)
        for template in sorted(call.site.templates.values(), key=lambda template: -template.id)
        if template.common == common
        and not template.deleted
        and (common or template.project_id == call.project.id)
        and (wanted is None or template.id in wanted)
        and keyword.lower() in template.name.lower()
    ]
    return {"result": True, "data": rows, "code": 0}


def _own_template(call: Call, project_part: str) -> Template:
    template = call.site.templates.get(call.ids["template_id"])
    common = is_common(call)
    if (
        template is None
        or template.deleted
        or template.common != common
        or (not common and template.project_id != call.project.id)
    ):
        if common:
            message = f"common template[id={call.ids['template_id']}] does not exist"
        else:
            place = f"project[{project_part}]" if call.release.has("scope") else _business(call)
            message = f"template[id={call.ids['template_id']}] of {place} does not exist"
        raise Stop(refusal(message, NOT_FOUND))
    return template


@as_api("GET", _TEMPLATE, "flow_view")
def get_template_info(call: Call) -> Answer:
    """A template with its tree."""
    template = _own_template(call, f"project_id={call.project.id}, biz_id={call.project.bk_biz_id}")
    data = answers.template_row(template, call.project, call.site.created, _zone(call))
    del data["auth_actions"]
    keys = list(data)
    place = keys.index("category") + 1
    info = {key: data[key] for key in keys[:place]}
    info["pipeline_tree"] = shapes.tree_of(call.release, answers.template_tree(template))
    info |= {key: data[key] for key in keys[place:]}
    if call.get_bool("include_constants"):
        info["template_constants"] = answers.template_constants(template)
    return {"result": True, "data": info, "code": 0}


@as_api("GET", ("bk_biz_id", "template_id"), "flow_view")
def get_template_schemes(call: Call) -> Answer:
    """Execution schemes of a template."""
    template = _own_template(call, f"project_id={call.project.id},biz_id={call.project.bk_biz_id}")
    rows = [{"id": scheme.id, "name": scheme.name, "data": json.dumps(scheme.node_ids)} for scheme in template.schemes]
    return {"result": True, "data": rows, "code": 0}


@as_api("POST", _BIZ, "flow_create")
def create_template(call: Call) -> Answer:
    """Make a template of a posted tree."""
    graph = _posted_graph(call, call.body.get("pipeline_tree", {}))
    name = call.body["name"]
    template = call.site.add_template(name, call.project.id, graph, call.body.get("description", ""))
    data = {
        "template_id": template.id,
        "template_name": name,
        "pipeline_template_id": node_id("template", template.id),
    }
    return {"result": True, "data": data, "code": 0, "message": "success"}


@as_api("POST", _BIZ, "flow_edit")
def apply_webhook_configs(call: Call) -> Answer:
    """Give templates a webhook: SOPS 3.34.17 refuses."""
    return webhooks.apply_configs(call.body, call.site.templates, call.project)


# ---- making tasks ----

_ID = {"oneOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}]}
_FLOW_TYPE = {"type": "string", "enum": ["common", "common_func"]}
_SCHEMES = {"oneOf": [_ID, {"type": "array", "items": _ID}]}


def _schema(and_start: bool, release: Release) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "name": {"type": "string", "minLength": 1, "maxLength": release.longest_name},
        "flow_type": _FLOW_TYPE,
        "constants": {"type": "object"},
        "exclude_task_nodes_id": {"type": "array"},
    }
    if not and_start and release.has("create_task.execute_task_nodes_id"):
        properties["execute_task_nodes_id"] = {"type": "array"}
    if release.has("create_task.template_schemes_id"):
        properties["template_schemes_id"] = _SCHEMES
    if and_start:
        properties["template_source"] = {"type": "string"}
    return {"type": "object", "required": ["name"], "properties": properties}


_PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {"object": dict, "array": list, "string": str, "integer": int}


def _check_create(params: dict[str, Any], and_start: bool, release: Release) -> None:
    """What SOPS' JSON schema refuses, in its words."""
    schema = _schema(and_start, release)
    word = "parmas" if and_start else "params"  # SOPS' own spelling
    if "name" not in params:
        instance = params | {key: value for key, value in _defaults(and_start).items() if key not in params}
        instance = {key: value for key, value in instance.items() if key not in ("scope",)}
        _refuse_schema(word, "'name' is a required property", "required", "schema", schema, "instance", instance)
    for name, rule in schema["properties"].items():
        if name not in params or "type" not in rule:
            continue
        value, where, on = params[name], f"schema['properties']['{name}']", f"instance['{name}']"
        if not isinstance(value, _PYTHON_TYPES[rule["type"]]):
            _refuse_schema(word, f"{value!r} is not of type {rule['type']!r}", "type", where, rule, on, value)
        if "minLength" in rule and len(value) < rule["minLength"]:
            _refuse_schema(word, f"{value!r} should be non-empty", "minLength", where, rule, on, value)
        if "maxLength" in rule and len(value) > rule["maxLength"]:
            _refuse_schema(word, f"{value!r} is too long", "maxLength", where, rule, on, value)
        if "enum" in rule and value not in rule["enum"]:
            _refuse_schema(word, f"{value!r} is not one of {rule['enum']!r}", "enum", where, rule, on, value)


def _defaults(and_start: bool) -> dict[str, Any]:
    if and_start:
        return {
            "flow_type": "common",
            "template_source": "business",
            "constants": {},
            "exclude_task_nodes_id": [],
            "template_schemes_id": [],
        }
    return {
        "constants": {},
        "flow_type": "common",
        "exclude_task_nodes_id": [],
        "simplify_vars": [],
        "execute_task_nodes_id": [],
        "template_schemes_id": [],
    }


def _refuse_schema(word: str, what: str, rule: str, where: str, schema: Any, on: str, instance: Any) -> None:
    def shown(value: Any) -> str:
        return "\n".join(f"    {line}" for line in pprint.pformat(value, width=72, sort_dicts=False).splitlines())

    place = where if where != "schema" else "schema"
    message = (
        f"task {word} is invalid: {what}\n\nFailed validating '{rule}' in {place}:\n{shown(schema)}\n\n"
        f"On {on}:\n{shown(instance)}"
    )
    raise Stop(refusal(message, PARAMETER))


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


def _tree(call: Call, task: Task) -> dict[str, Any]:
    return shapes.tree_of(call.release, answers.pipeline_tree(task))


def _create(call: Call, and_start: bool) -> Task:
    params = call.body
    template = _own_template(call, f"project_id={call.project.id},biz_id={call.project.bk_biz_id}")
    _check_create(params, and_start, call.release)
    callback_url = callbacks.checked_url(params.get("callback_url"))
    if params.get("pipeline_tree") and not and_start:
        graph = _posted_graph(call, params["pipeline_tree"], draw=False)
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


def _posted_graph(call: Call, tree: Any, *, draw: bool = True) -> Graph:
    try:
        return call.site.posted_graph(tree, draw=draw)
    except (KeyError, TypeError, AttributeError) as error:
        message = f"[API] {call.api.name} get invalid pipeline_tree: {error}"
        raise Stop(refusal(message, PARAMETER, data=None), traced=False) from None


@as_api("POST", _TEMPLATE, "flow_create_task")
def create_task(call: Call) -> Answer:
    """Make a task of a template."""
    task = _create(call, and_start=False)
    url = call.site.task_url(task)
    data = {
        "task_id": task.id,
        "task_url": url,
        "pipeline_tree": _tree(call, task),
    }
    if task.flow_type == "common_func":
        data["function_task_claim_url"] = url.replace("/taskflow/", "/function/")
    return {"result": True, "data": data, "code": 0}


@as_api("POST", _TEMPLATE, "flow_create_task")
def create_and_start_task(call: Call) -> Answer:
    """Make a task of a template and queue its start."""
    task = _create(call, and_start=True)
    call.site.start_task(task, call.user)
    task.note(call.now, call.user, "start")
    data = {
        "pipeline_tree": _tree(call, task),
        "task_id": task.id,
        "task_url": call.site.task_url(task),
    }
    return {"result": True, "code": 0, "data": data}


@as_api("POST", _BIZ)
def fast_create_task(call: Call) -> Answer:
    """Make a task of a posted tree, without a template."""
    params = call.body
    if "pipeline_tree" not in params:
        message = "[API] fast_create_task get invalid pipeline_tree: 'pipeline_tree'"
        raise Stop(refusal(message, PARAMETER, data=None), traced=False)
    graph = _posted_graph(call, params["pipeline_tree"])
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
        "pipeline_tree": _tree(call, task),
    }
    return {"result": True, "data": data, "code": 0}


@as_api("POST", _TASK, "task_edit")
def modify_constants_for_task(call: Call) -> Answer:
    """Change constants before the start."""
    task = _task(call)
    if task.is_started:
        return refusal("task is started", PARAMETER)
    constants = call.body.get("constants", {})
    for name, value in constants.items() if isinstance(constants, dict) else ():
        if name in task.constants:
            task.constants[name] = value
    task.note(call.now, call.user, "modify_constants")
    return {"result": True, "data": "success", "code": 0}


# ---- starting and operating ----


def _already_started() -> Answer:
    return {"result": False, "code": INVALID_OPERATION, "message": "task already started"}


def _start_at_once(call: Call, task: Task) -> Answer:
    """What the first engine answers to a good start: with a code, as if it had failed."""
    call.site.start_task(task, call.user)
    return {"result": True, "message": "success", "code": OPERATION_FAILED}


@as_api("POST", _TASK, "task_operate")
def start_task(call: Call) -> Answer:
    """Queue the start of a task. ``result: true`` does not mean that it starts."""
    task = _task(call, "TaskFlowInstance(id={id}) does not exist.")
    task.note(call.now, call.user, "start")
    url = call.site.task_url(task)
    if not call.release.has("engine v2"):
        more = {"task_url": url} if call.release.has("IAM") else {}
        return more | _start_at_once(call, task)
    if task.is_started:
        return _already_started()
    call.site.start_task(task, call.user)
    return {"task_url": url, "data": {"task_url": url}, "result": True, "code": 0}


@as_api("POST", _TASK, "task_operate")
def operate_task(call: Call) -> Answer:
    """Start, pause, resume or revoke a task."""
    task = _task(call)
    action = str(call.body.get("action"))
    if action != "start":
        call.site.operate_task(task, call.user, action)
        if not call.release.has("engine v2"):
            return {"result": True, "data": {}, "code": 0}
        return {"result": True, "message": "success", "code": 0}
    task.note(call.now, call.user, action)
    if not call.release.has("engine v2"):
        return _start_at_once(call, task)
    if task.is_started:
        return _already_started()
    call.site.start_task(task, call.user)
    return {"message": "success", "result": True, "code": 0}


@as_api("POST", ("bk_biz_id", "task_id"), "task_operate")
def operate_node(call: Call) -> Answer:
    """Retry, skip, call back, … one node."""
    task = _task(call)
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


@as_api("POST", _TASK, "task_operate")
def node_callback(call: Call) -> Answer:
    """Answer a node that waits for a callback."""
    task = _task(call, "TaskFlowInstance(id={id}) does not exist.")
    node_id = call.body.get("node_id")
    if task.spec(str(node_id)) is None:
        return refusal(f"task[{task.id}] does not have node[{node_id}]", PARAMETER)
    if str(node_id) not in task.nodes:
        raise missing(call.release, "State matching query does not exist.", engine_v1.unknown_node(node_id))
    task.operate_node(call.now, call.user, str(node_id), "callback", data=call.body.get("callback_data"))
    return {"result": True, "message": "success", "code": 0}


# ---- looking at tasks ----


@as_api("GET", _TASK, "task_view")
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
        return refusal(f"task[id={task_id}] of {_business(call)} does not exist", NOT_FOUND)
    if not call.release.has("IAM"):
        raise Crash  # over its own words
    place = f"project[project_id={project.id}, biz_id{project.bk_biz_id}]"
    return refusal(f"[API] get_task_detail task[id={task_id}] of {place} does not exist", NOT_FOUND)


def _status_error(task_id: int, text: str) -> Answer:
    return refusal(f"task[id={task_id}] get status error: {text}", UNKNOWN)


@as_api("GET", _TASK, "task_view")
def get_task_status(call: Call) -> Answer:
    """State of a task and its nodes."""
    task_id = call.ids["task_id"]
    task = call.site.task(task_id)
    if task is None or task.project_id != call.project.id or task.deleted:
        # 3.3 looks for the number in its engine
        own = call.release.has("scope")
        text = "TaskFlowInstance matching query does not exist." if own else engine_v1.unknown_node(task_id)
        return _status_error(task_id, text)
    if engine_v1.is_unknown(task):
        return _status_error(task_id, engine_v1.unknown_node(task.root_id))
    if task.broken or task.id in call.poisoned:
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
            status = answers.subprocess_status(task, node, call.now)
    if call.flag("with_ex_data") and status["state"] == "FAILED":
        nodes = task.nodes
        status["ex_data"] = {
            own_id: nodes[own_id].ex_data for own_id in answers.failed_nodes(status) if nodes[own_id].child is None
        }
    if call.flag("with_failed_node_info") or call.flag("with_auto_retry_status"):
        if "id" not in status:
            return refusal(f"task[id={task_id}] extract failed node info error: 'id'", UNKNOWN)
        info = {own_id: answers.auto_retry_info(task.nodes[own_id]) for own_id in answers.failed_nodes(status)}
        if call.flag("with_failed_node_info"):
            status["failed_node_info"] = info
        if call.flag("with_auto_retry_status"):
            waiting = [
                own_id for own_id, row in info.items() if row and row["auto_retry_times"] < row["max_auto_retry_times"]
            ]
            status["auto_retry_status"] = {"exist_auto_retry_nodes": bool(waiting), "auto_retry_nodes": waiting}
    status = shapes.status_of(call.release, status, _types(task))
    if "id" in status:
        return {"result": True, "data": status, "code": 0, "message": ""}
    return {"result": True, "data": status, "message": "", "code": 0}


def _types(task: Task) -> dict[str, str]:
    return {own_id: node.spec.type for own_id, node in task.nodes.items()}


def _status(call: Call, task: Task, children: bool = True) -> dict[str, Any]:
    if task.expired:
        return {"state": "EXPIRED", "name": task.name}
    if call.stale:
        past = answers.past_status(task, call.now, children=children)
        if past is not None:
            return past[1]
    if task.root_state is None:
        # SOPS has one dict for all tasks that have not started: a name given to it shows in the others.
        call.replica.created["name"] = task.name
        return call.replica.created
    return answers.task_status(task, call.now, children=children, racing=call.racing(task))


@as_api("POST", _BIZ, "project_view")
def get_tasks_status(call: Call) -> Answer:
    """States of up to 50 tasks."""
    wanted = call.body.get("task_id_list", [])
    if not isinstance(wanted, list):
        return refusal("task_id_list must be a list", PARAMETER)
    if len(wanted) > 50 and call.release.has("tasks at once"):
        return refusal("task_id_list is too long, maximum length is 50", PARAMETER)
    with_children = boolean("include_children_status", call.body.get("include_children_status", False))
    rows = []
    for task_id in sorted(set(_ids(wanted)), reverse=True):
        task = call.site.task(task_id)
        if task is None or task.project_id != call.project.id:
            continue
        unreadable = task.broken or task.id in call.poisoned
        if engine_v1.is_unknown(task) or (unreadable and not call.release.has("engine v2")):
            raise Crash
        if unreadable:
            return _status_error(task_id, "node states of the task cannot be read")
        status = shapes.status_of(call.release, _status(call, task, with_children), _types(task))
        if not with_children:
            status.pop("children", None)
        ended = not call.racing(task) and not (call.stale and status["state"] not in ("FINISHED", "REVOKED"))
        row = answers.status_row(task, status, call.site.task_url(task), ended=ended)
        rows.append(shapes.status_row_of(call.release, row))
    for row in rows:
        row["status"] = dict(row["status"])
    return {"result": True, "data": rows, "code": 0}


def _ids(values: list[Any]) -> list[int]:
    """Ids as the database takes them: strings and fractions too, null is nobody's.

    :raises Crash: one is no number.
    """
    try:
        return [int(value) for value in values if value is not None]
    except (TypeError, ValueError):
        raise Crash from None


@as_api("GET", _BIZ, "project_view")
def get_task_list(call: Call) -> Answer:
    """Tasks of a project, the newest first; tasks of subprocesses too."""
    query = call.query
    zone = _zone(call)
    offset, limit = _page(call)
    started = list_flag(call.release, query, "is_started")
    finished = list_flag(call.release, query, "is_finished")
    since = _time("create_time_start", query["create_time_start"]) if query.get("create_time_start") else None
    until = _time("create_time_end", query["create_time_end"]) if query.get("create_time_end") else None
    found = []
    for task in call.site.all_tasks():
        if task.deleted or task.project_id != call.project.id or query.get("keyword", "") not in task.name:
            continue
        if started is not None and task.is_started != started:
            continue
        if finished is not None and (task.root_state == "FINISHED" and not call.racing(task)) != finished:
            continue
        if query.get("create_method") and task.create_method != query["create_method"]:
            continue
        if query.get("template_id") and str(task.template_id) != query["template_id"]:
            continue
        if (since is not None and task.create_time < since) or (until is not None and task.create_time > until):
            continue
        found.append(task)
    rows = [
        shapes.list_row_of(call.release, answers.list_row(task, call.project, zone))
        for task in found[offset : offset + limit]
    ]
    if not call.release.has("get_task_list.count"):
        return {"result": True, "data": rows, "code": 0}
    count = -1 if call.get_bool("without_count") else len(found)
    return {"result": True, "data": rows, "count": count, "code": 0}


@as_api("POST", _BIZ, "project_view")
def query_task_count(call: Call) -> Answer:
    """How many tasks of a project there are, by status."""
    group_by, conditions = call.body.get("group_by"), call.body.get("conditions", {})
    if not isinstance(conditions, dict):
        return refusal(f"[API] query_task_list params conditions[{conditions}] are invalid dict data", PARAMETER)
    if group_by != "status":
        return refusal(f"[API] query_task_list params group_by[{group_by}] is invalid", PARAMETER)
    tasks = [task for task in call.site.all_tasks() if task.project_id == call.project.id]
    try:
        return {"result": True, "data": count_tasks(tasks, conditions), "code": 0}
    except ValueError as error:
        return refusal(str(error), UNKNOWN)


@as_api("POST", _BIZ, "project_view")
def get_tasks_manual_intervention_state(call: Call) -> Answer:
    """Which of up to nine tasks wait for a person."""
    wanted = call.body.get("task_id_list", [])
    if not isinstance(wanted, list):
        return refusal("task_id_list must be a list", PARAMETER)
    if len(wanted) >= 10:
        return refusal("task_ids_list length can not exceeds 10", PARAMETER)
    rows = []
    for task_id in sorted(set(_ids(wanted)), reverse=True):
        task = call.site.task(task_id)
        if task is not None and task.project_id == call.project.id:
            rows.append({"id": task.id, "manual_intervention_required": _needs_person(task)})
    return {"result": True, "data": rows, "code": 0}


def _needs_person(task: Task) -> bool:
    if task.state in ("FAILED", "SUSPENDED", "NODE_SUSPENDED"):
        return True
    return task.state == "RUNNING" and any(
        node.state == "RUNNING" and node.plugin == "pause_node" for node in task.nodes.values()
    )


# ---- nodes ----


def _detail_node(call: Call) -> tuple[Task, str, Node | None]:
    task = _task(call)
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


@as_api("GET", _TASK, "task_view")
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


@as_api("GET", _TASK, "task_view", rest=True)
def get_task_node_log(call: Call) -> Answer:
    """Log of one run of a node."""
    task, _, node = _detail_node(call)
    text = answers.node_log(task, node, call.site.task_url(task)) if node is not None else ""
    return {"result": True, "message": "success", "data": text, "page": {}}


@as_api("GET", _TASK, "task_view")
def get_task_operate_record(call: Call) -> Answer:
    """What was done to a task, or to one of its nodes, on SOPS' page. It has nothing there for calls through the API.

    Without records as measured; a record's fields after SOPS' public source (``contrib/operate_record``).
    """
    task = _task(call)
    node_id = call.query.get("node_id")
    rows = [answers.operate_record(task, record) for record in task.records if node_id in (None, "", record.node_id)]
    return {"result": True, "data": rows, "code": 0}
