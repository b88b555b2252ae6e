# SPDX-License-Identifier: Apache-2.0
"""From the engine's state to what SOPS says on the wire (shapes measured on SOPS 3.34)."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any

from airflow_provider_sops.testing.engine.node import Node, Pipeline, auto_retry_of, walk
from airflow_provider_sops.testing.engine.task import Record, Task
from airflow_provider_sops.testing.templates import PLUGINS, Graph, Template

SERVER_ZONE = timezone(timedelta(hours=8))  # where BlueKing servers usually stand
FLOW_ACTIONS = [
    "flow_create",
    "flow_view",
    "flow_edit",
    "flow_delete",
    "flow_create_task",
    "flow_create_mini_app",
    "flow_create_periodic_task",
    "flow_create_clocked_task",
]
TASK_ACTIONS = ["task_view", "task_edit", "task_operate", "task_claim", "task_delete", "task_clone"]
_PRESET_OUTPUTS = [("_result", "执行结果"), ("_loop", "循环次数"), ("_inner_loop", "当前流程循环次数")]


@dataclass(frozen=True, slots=True)
class Project:
    """A SOPS project, bound to a CMDB business."""

    id: int
    bk_biz_id: int
    name: str


@lru_cache(maxsize=8192)
def _text(second: int) -> str:
    return datetime.fromtimestamp(second, SERVER_ZONE).strftime("%Y-%m-%d %H:%M:%S %z")


def local_time(at: float | None, missing: str | None = "") -> str | None:
    """``2026-11-22 21:03:25 +0800``.

    :param missing: what stands for no time: ``""``, or None in get_task_status.
    """
    return missing if at is None else _text(int(at))


def iso_time(at: float | None, zone: tzinfo | None = None) -> str | None:
    """Times of get_task_list: ISO in UTC with ``Z``, or like the others where a time zone is asked for."""
    if at is None:
        return None
    if zone is not None:
        return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S %z")
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def elapsed(start: float | None, finish: float | None, now: float) -> int:
    """Seconds from start to end, or until now."""
    return 0 if start is None else round((now if finish is None else finish) - start)


# ---- status ----


def created_status() -> dict[str, Any]:
    """Status of a task that has not started. It has no id."""
    return {
        "start_time": None,
        "state": "CREATED",
        "retry": 0,
        "skip": 0,
        "finish_time": None,
        "elapsed_time": 0,
        "children": {},
    }


def task_status(task: Task, now: float, *, children: bool = True, racing: bool = False) -> dict[str, Any]:
    """Status of a started task: its own row, and under it those of its nodes.

    :param racing: the end has not been written yet: FINISHED without an end time.
    """
    status = _status(
        id=task.root_id,
        state=task.state,
        root_id=task.root_id,
        parent_id=task.root_id,
        version=task.flow.version,
        children=_children(task, task.pipeline, now) if children else {},
        seconds=elapsed(task.flow.start, task.flow.finish, now),
        start=task.flow.start,
        finish=None if racing else task.flow.finish,
    )
    status["name"] = task.name
    return status


def past_status(task: Task, now: float, *, children: bool = True) -> tuple[str, dict[str, Any]] | None:
    """State and status of a task before its state last changed, as a replica that lags behind shows them.

    :return: None if the state has never changed.
    """
    earlier = [(until, state) for until, state in task.flow.past if state != task.state]
    if not earlier:
        return None
    until, state = earlier[-1]
    if state == "CREATED":
        return state, created_status() | {"name": task.name}
    status = task_status(task, now, children=children)
    status |= {"state": state, "finish_time": None, "elapsed_time": elapsed(task.flow.start, until, now)}
    for node in walk(task.pipeline):
        row = status["children"].get(node.id)
        if row is None or node.start is None:
            continue
        if node.start >= until:
            del status["children"][node.id]
        elif node.finish is None or node.finish >= until:
            row |= {"state": "FAILED" if state == "FAILED" else "RUNNING", "finish_time": None}
    return state, status


def subprocess_status(task: Task, node: Node, now: float) -> dict[str, Any]:
    """get_task_status with ``subprocess_id``: its children have no names."""
    status = _node_status(task, node, now, parent_id=node.pipeline.id)
    for child in status["children"].values():
        child["name"] = ""
    status["name"] = task.name
    return status


def _children(task: Task, pipeline: Pipeline, now: float, names: bool = True) -> dict[str, Any]:
    rows = {}
    for node in pipeline.nodes.values():
        row = _node_status(task, node, now, parent_id=pipeline.id, names=names)
        if names:
            row["name"] = node.name
        rows[node.id] = row
    return rows


def _node_status(task: Task, node: Node, now: float, *, parent_id: str, names: bool = True) -> dict[str, Any]:
    children = _children(task, node.child, now, names) if node.child else {}
    return _status(
        id=node.id,
        state=node.shown_state,
        root_id=task.root_id,
        parent_id=parent_id,
        version=node.version,
        children=children,
        seconds=elapsed(node.start, node.finish, now),
        start=node.start,
        finish=node.finish,
        retry=node.retry,
        skip=node.skip,
        error_ignorable=bool(node.spec.data.get("error_ignorable")),
        error_ignored=node.error_ignored,
    )


def _status(
    *,
    id: str,
    state: str,
    root_id: str,
    parent_id: str,
    version: str,
    children: dict[str, Any],
    seconds: int,
    start: float | None,
    finish: float | None,
    retry: int = 0,
    skip: bool = False,
    error_ignorable: bool = False,
    error_ignored: bool = False,
) -> dict[str, Any]:
    return {
        "id": id,
        "state": state,
        "root_id:": root_id,  # SOPS really spells it with the colon
        "parent_id": parent_id,
        "version": version,
        "loop": 1,
        "retry": retry,
        "skip": skip,
        "error_ignorable": error_ignorable,
        "error_ignored": error_ignored,
        "children": children,
        "elapsed_time": seconds,
        "start_time": local_time(start, None),
        "finish_time": local_time(finish, None),
    }


def failed_nodes(status: dict[str, Any]) -> list[str]:
    """Ids of the FAILED rows under a status, those of subprocesses before what is in them."""
    found = []
    for own_id, child in status["children"].items():
        if child["state"] == "FAILED":
            found.append(own_id)
            found += failed_nodes(child)
    return found


def status_row(task: Task, status: dict[str, Any], url: str, *, ended: bool) -> dict[str, Any]:
    """One row of get_tasks_status.

    :param ended: whether the end of the task has been written.
    """
    return {
        "id": task.id,
        "name": task.name,
        "status": status,
        "flow_type": task.flow_type,
        "current_flow": task.current_flow if ended or task.current_flow != "finished" else "execute_task",
        "is_deleted": task.deleted,
        "create_time": local_time(task.create_time),
        "start_time": local_time(task.start_time),
        "finish_time": local_time(task.finish_time if ended else None),
        "url": url,
    }


# ---- detail ----


def pipeline_tree(task: Task) -> dict[str, Any]:
    """The task's tree, with the task's ids and values."""
    tree = _own_tree(task, task.graph, task.root_id)
    for key, value in task.constants.items():
        if key in tree["constants"]:
            tree["constants"][key]["value"] = value
    return tree


def _own_tree(task: Task, graph: Graph, own_id: str) -> dict[str, Any]:
    source = graph.tree
    tree: dict[str, Any] = {
        "start_event": _own(task, source["start_event"]),
        "end_event": _own(task, source["end_event"]),
        "activities": {},
        "gateways": {},
        "flows": {},
        "constants": copy.deepcopy(source["constants"]),
        "outputs": list(source["outputs"]),
        "line": [],
        "location": [],
        "id": own_id,
    }
    for template_id, activity in source["activities"].items():
        node = _own(task, activity) | {"template_node_id": template_id}
        inner = graph.nodes[template_id].graph
        if inner is not None:
            node["pipeline"] = _own_tree(task, inner, node["id"])
        node["labels"] = node.pop("labels", [])
        tree["activities"][node["id"]] = node
    for gateway in source["gateways"].values():
        node = _own(task, gateway)
        if "converge_gateway_id" in node:
            node["converge_gateway_id"] = task.node_id(node["converge_gateway_id"])
        if "conditions" in node:
            node["conditions"] = {task.node_id(flow): what for flow, what in node["conditions"].items()}
        tree["gateways"][node["id"]] = node
    for flow in source["flows"].values():
        own = dict(flow) | {key: task.node_id(flow[key]) for key in ("id", "source", "target")}
        tree["flows"][own["id"]] = own
    for line in source.get("line", []):
        ends = {side: line[side] | {"id": task.node_id(line[side]["id"])} for side in ("source", "target")}
        tree["line"].append({"id": task.node_id(line["id"])} | ends)
    tree["location"] = [place | {"id": task.node_id(place["id"])} for place in source.get("location", [])]
    for constant in tree["constants"].values():
        constant["source_info"] = {task.node_id(key): value for key, value in constant["source_info"].items()}
    return tree


def _own(task: Task, node: dict[str, Any]) -> dict[str, Any]:
    own = copy.deepcopy({key: value for key, value in node.items() if key != "pipeline"})
    own["id"] = task.node_id(node["id"])
    for side in ("incoming", "outgoing"):
        value = node.get(side, "")
        if isinstance(value, list):
            own[side] = [task.node_id(flow) for flow in value]
        else:
            own[side] = task.node_id(value) if value else value
    own.setdefault("labels", [])
    return own


def task_detail(task: Task, project: Project, url: str, now: float, *, racing: bool = False) -> dict[str, Any]:
    """``data`` of get_task_detail.

    :param racing: the end has not been written yet: outputs are there, the end time is not.
    """
    tree = pipeline_tree(task)
    return {
        "id": task.id,
        "project_id": project.id,
        "project_name": project.name,
        "name": task.name,
        "create_time": local_time(task.create_time),
        "creator": task.creator,
        "create_method": task.create_method,
        "template_id": "" if task.template_id is None else task.template_id,
        "start_time": local_time(task.start_time),
        "finish_time": local_time(None if racing else task.finish_time),
        "executor": task.executor,
        "elapsed_time": elapsed(task.start_time, task.finish_time, now),
        "pipeline_tree": tree,
        "task_url": url,
        "constants": copy.deepcopy(tree["constants"]),
        "outputs": [] if task.expired else task.outputs,
        "ex_data": "",
    }


def list_row(task: Task, project: Project, zone: tzinfo | None) -> dict[str, Any]:
    """One row of get_task_list."""
    return {
        "id": task.id,
        "name": task.name,
        "category": "默认分类",
        "create_method": task.create_method,
        "creator": task.creator,
        "executor": task.executor,
        "start_time": iso_time(task.start_time, zone),
        "finish_time": iso_time(task.finish_time, zone),
        "is_started": task.is_started,
        "is_finished": task.root_state == "FINISHED" and task.finish_time is not None,
        "template_source": task.template_source,
        "template_id": "" if task.template_id is None else str(task.template_id),
        "is_child_taskflow": task.is_child,
        "project_id": project.id,
        "project_name": project.name,
        "bk_biz_id": project.bk_biz_id,
        "bk_biz_name": project.name,
        "auth_actions": TASK_ACTIONS,
    }


# ---- nodes ----


def node_outputs(task: Task, node: Node, component_code: str | None) -> list[dict[str, Any]]:
    """Outputs of a node: with the plugin's code also those that it has not put out, and their names."""
    produced = {**node.outputs, "_loop": 1, "_inner_loop": 1}
    if isinstance(produced.get("timing_time"), float):
        moment = datetime.fromtimestamp(produced["timing_time"], SERVER_ZONE)
        produced["timing_time"] = moment.isoformat(timespec="milliseconds")
    rows: list[dict[str, Any]] = []
    if component_code:
        preset = [*PLUGINS.get(component_code, ("", []))[1], *_PRESET_OUTPUTS]
        rows += [{"name": name, "key": key, "value": produced.pop(key, ""), "preset": True} for key, name in preset]
        rows += [{"name": key, "key": key, "value": value, "preset": False} for key, value in produced.items()]
    else:
        rows += [{"key": key, "value": value, "preset": False} for key, value in produced.items()]
    renamed = {
        fields[0]: constant["key"][2:-1]
        for constant in task.graph.constants.values()
        if constant["source_type"] == "component_outputs"
        for own_id, fields in constant["source_info"].items()
        if own_id == node.spec.id
    }
    for row in rows:
        row["key"] = renamed.get(row["key"], row["key"])
    return rows


def node_data(task: Task, node: Node, component_code: str | None) -> dict[str, Any]:
    """``data`` of get_task_node_data."""
    inputs = dict(node.inputs) if node.child else {**node.inputs, "_loop": 1, "_inner_loop": 1}
    if node.spec.type not in ("ServiceActivity", "SubProcess"):
        inputs = {}
    return {"inputs": inputs, "outputs": node_outputs(task, node, component_code), "ex_data": node.ex_data}


def node_detail(task: Task, node: Node, component_code: str | None, now: float) -> dict[str, Any]:
    """``data`` of get_task_node_detail for a node that was reached."""
    detail = _node_status(task, node, now, parent_id=task.root_id, names=False)
    detail["histories"] = [
        {
            "id": history_id,
            "node_id": node.id,
            "loop": 1,
            "skip": past.skip,
            "version": past.version,
            "inputs": {**past.inputs, "_loop": 1, "_inner_loop": 1},
            "outputs": {**past.outputs, "_loop": 1, "_inner_loop": 1},
            "ex_data": past.ex_data,
            "state": past.state,
            "history_id": history_id,
            "children": {},
            "elapsed_time": elapsed(past.start, past.finish, now),
            "start_time": local_time(past.start, None),
            "finish_time": local_time(past.finish, None),
        }
        for history_id, past in node.histories
    ]
    detail["history_id"] = -1
    detail |= node_data(task, node, component_code)
    detail["auto_retry_info"] = auto_retry_info(node, with_id=True)
    return detail


def auto_retry_info(node: Node, *, with_id: bool = False) -> dict[str, Any]:
    """How often SOPS has retried a node by itself; empty where it does not."""
    config = auto_retry_of(node.spec)
    if config is None:
        return {}
    times = {"auto_retry_times": node.auto_retry_times, "max_auto_retry_times": config.times}
    return {"node_id": node.id, **times} if with_id else times


def node_log(task: Task, node: Node, url: str) -> str:
    """Log of a node, as SOPS writes it: nearly all is the engine's, and most records stand there twice.

    :param url: the task's page.
    """
    root, own, plugin = task.root_id, node.id, node.plugin
    head, head2 = f"root pipeline[{root}]", f"root_pipeline[{root}] node({own})"
    data = {key: f"<DataInput: {{'need_render': True, 'value': {value!r}}}>" for key, value in node.inputs.items()}
    inputs = ", ".join(f"{key!r}: {value}" for key, value in data.items())
    about = {"operator": task.executor, "executor": task.executor, "task_id": task.id, "task_name": task.name}
    about |= {"task_start_time": (local_time(task.start_time) or "")[:19], "task_url": url}
    result = (
        "{'should_sleep': True, 'schedule_ready': True, 'schedule_type': <ScheduleType.POLL: 3>, 'schedule_after': 0}"
    )
    lines = _LogLines(node.start)
    lines.twice(f"{head} before execute ServiceActivity({own}) state: None")
    lines.twice(
        f"{head2} activity execute data: <Data: {{'inputs': {{{inputs}}}, 'outputs': {{}}}}>, root inputs: {about}"
    )
    lines.twice(f"{head2} activity original refs: set()")
    lines.twice(f"{head2} activity final refs: set()")
    lines.twice(f"{head2} activity context values: []")
    lines.twice(f"{head2} actvity hydrated context: {{}}")
    for step in ("node_enter", "pre_execute", "post_execute"):
        lines.twice(f"{head2} skip dispatch({step})")
    lines.twice(f"{head} node({own}) execute result: {result}")
    lines.twice(f"[pipeline-trace] node({own}) schedule task {node.version[1:]} sended")
    lines.twice(f"[pipeline-trace](root_pipeline: {root}) schedule node {own} with version {node.version}")
    what = {"id": own, "root_pipeline_id": root, "name": node.name, "code": plugin}
    lines.twice(f"{head} before schedule node <ServiceActivity: {what}> with data None")
    lines.twice(f"{head2} activity schedule data: <ExecutionData: {{'inputs': {node.inputs}}}>, root inputs: {about}")
    lines.twice(f"{head2} skip dispatch(pre_schedule)")
    if plugin == "bk_http_request":
        method, address = node.inputs.get("bk_http_request_method"), node.inputs.get("bk_http_request_url")
        lines.twice(f"send {method} request to {address}")
    lines.at = node.finish or node.start
    if node.ex_data:
        lines.twice(node.ex_data, "ERROR")
        lines.twice(f"{head2} skip dispatch(node_schedule_fail)")
        failed = {"failed_node": own, "failed_node_name": node.name, "failed_message": node.ex_data}
        extra = {"task_id": task.id, "task_name": task.name, "extra_data": failed}
        scopes = [("template", str(task.template_id))]
        lines.once(
            f"[event broadcasting...] event: task_failed, scopes: {scopes}, args: (), kwargs: {{'extra_info': {extra}}}"
        )
        lines.once("event task_failed not found", "ERROR")
        lines.once("[send_task_message] task() send message(atom_failed) success")
    elif node.finish is not None:
        lines.twice(f"{head2} skip dispatch(node_finish)")
    if node.finish is not None:
        lines.twice(f"{head} node({own}) schedule result: {{'has_next_schedule': False, 'schedule_after': -1}}")
    return "\n".join(lines)


class _LogLines(list[str]):
    """The lines of a log. ``at`` is when the next one is written."""

    def __init__(self, at: float | None) -> None:
        super().__init__()
        self.at = at

    def once(self, text: str, level: str = "INFO") -> None:
        """Write a record."""
        moment = datetime.fromtimestamp(self.at or 0, SERVER_ZONE)
        self.append(f"[{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03d}][{level}] {text}")

    def twice(self, text: str, level: str = "INFO") -> None:
        """Write a record as two of SOPS' handlers do."""
        self.once(text, level)
        self.once(text, level)


# ---- templates ----


def template_row(template: Template, project: Project, created: float, zone: tzinfo | None) -> dict[str, Any]:
    """One row of get_template_list."""
    moment = local_time(created) if zone is None else iso_time(created, zone)
    row: dict[str, Any] = {
        "id": template.id,
        "name": template.name,
        "creator": "tmpl_owner",
        "create_time": moment,
        "editor": None,
        "edit_time": moment,
        "category": "Default",
        "description": template.description,
    }
    if not template.common:
        row |= {
            "project_id": project.id,
            "project_name": project.name,
            "bk_biz_id": project.bk_biz_id,
            "bk_biz_name": project.name,
        }
    return row | {"auth_actions": FLOW_ACTIONS}


def template_tree(template: Template) -> dict[str, Any]:
    """``pipeline_tree`` of get_template_info."""
    tree = copy.deepcopy({key: value for key, value in template.graph.tree.items() if key not in ("line", "location")})
    for constant in tree["constants"].values():
        constant["schema"] = {"type": "string", "description": "输入框变量", "enum": []}
    return tree


def template_constants(template: Template) -> list[dict[str, Any]]:
    """``template_constants`` of get_template_info with ``include_constants``."""
    tree = template.graph.tree
    names = {"input": "输入框", "textarea": "文本框", "int": "整数", "password": "密码"}
    return [
        {
            "name": constant["name"],
            "key": constant["key"],
            "show_type": constant["show_type"],
            "constant_type": names.get(constant["custom_type"], constant["custom_type"]),
            "activity_count": _uses(tree["activities"].values(), constant["key"]),
        }
        for constant in tree["constants"].values()
    ]


def _uses(activities: Iterable[dict[str, Any]], key: str) -> int:
    return sum(key in str(activity.get("component", activity.get("pipeline"))) for activity in activities)


#: What SOPS calls operations in the records of them.
_OPERATION_NAMES = {
    "pause": "暂停",
    "resume": "继续",
    "revoke": "撤消",
    "callback": "回调",
    "retry": "重试",
    "skip": "跳过",
    "skip_exg": "跳过失败网关",
    "forced_fail": "强制失败",
    "pause_subproc": "暂停节点",
    "resume_subproc": "继续节点",
}


def operate_record(task: Task, record: Record) -> dict[str, Any]:
    """One row of get_task_operate_record."""
    return {
        "project_id": task.project_id,
        "instance_id": task.id,
        "operator": record.operator,
        "operate_type": record.action,
        "operate_date": local_time(record.at),
        "operate_source": "app",
        "node_id": record.node_id,
        "extra_info": {},
        "operate_type_name": _OPERATION_NAMES.get(record.action, record.action),
        "operate_source_name": "app 页面",
    }
