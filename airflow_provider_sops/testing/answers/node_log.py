# SPDX-License-Identifier: Apache-2.0
"""The log of a node: nearly all is the engine's, and most records stand there twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from airflow_provider_sops.testing.answers.times import SERVER_ZONE, local_time
from airflow_provider_sops.testing.engine.node import Node
from airflow_provider_sops.testing.engine.task import Task

_RESULT = "{'should_sleep': True, 'schedule_ready': True, 'schedule_type': <ScheduleType.POLL: 3>, 'schedule_after': 0}"


def node_log(task: Task, node: Node, url: str) -> str:
    """Log of a node, as SOPS writes it.

    :param url: the task's page.
    """
    lines = [*_twice(node.start, _before(task, node, url))]
    at = node.finish or node.start
    if node.ex_data:
        lines += _twice(at, [node.ex_data], "ERROR")
        lines += _twice(at, [f"{_place(task, node)} skip dispatch(node_schedule_fail)"])
        lines += _broadcast(task, node, at)
    elif node.finish is not None:
        lines += _twice(at, [f"{_place(task, node)} skip dispatch(node_finish)"])
    if node.finish is not None:
        result = {"has_next_schedule": False, "schedule_after": -1}
        lines += _twice(at, [f"root pipeline[{task.root_id}] node({node.id}) schedule result: {result}"])
    return "\n".join(lines)


def _place(task: Task, node: Node) -> str:
    return f"root_pipeline[{task.root_id}] node({node.id})"


def _before(task: Task, node: Node, url: str) -> Iterator[str]:
    """The records until the plugin's end."""
    root, place, own = f"root pipeline[{task.root_id}]", _place(task, node), node.id
    data = {key: f"<DataInput: {{'need_render': True, 'value': {value!r}}}>" for key, value in node.inputs.items()}
    inputs = ", ".join(f"{key!r}: {value}" for key, value in data.items())
    about = {"operator": task.executor, "executor": task.executor, "task_id": task.id, "task_name": task.name}
    about |= {"task_start_time": local_time(task.start_time)[:19], "task_url": url}
    what = {"id": own, "root_pipeline_id": task.root_id, "name": node.name, "code": node.plugin}
    yield f"{root} before execute ServiceActivity({own}) state: None"
    yield f"{place} activity execute data: <Data: {{'inputs': {{{inputs}}}, 'outputs': {{}}}}>, root inputs: {about}"
    yield f"{place} activity original refs: set()"
    yield f"{place} activity final refs: set()"
    yield f"{place} activity context values: []"
    yield f"{place} actvity hydrated context: {{}}"
    for step in ("node_enter", "pre_execute", "post_execute"):
        yield f"{place} skip dispatch({step})"
    yield f"{root} node({own}) execute result: {_RESULT}"
    yield f"[pipeline-trace] node({own}) schedule task {node.version[1:]} sended"
    yield f"[pipeline-trace](root_pipeline: {task.root_id}) schedule node {own} with version {node.version}"
    yield f"{root} before schedule node <ServiceActivity: {what}> with data None"
    yield f"{place} activity schedule data: <ExecutionData: {{'inputs': {node.inputs}}}>, root inputs: {about}"
    yield f"{place} skip dispatch(pre_schedule)"
    if node.plugin == "bk_http_request":
        yield f"send {node.inputs.get('bk_http_request_method')} request to {node.inputs.get('bk_http_request_url')}"


def _broadcast(task: Task, node: Node, at: float | None) -> Iterator[str]:
    """How SOPS tells others of a failure."""
    failed = {"failed_node": node.id, "failed_node_name": node.name, "failed_message": node.ex_data}
    extra: dict[str, Any] = {"task_id": task.id, "task_name": task.name, "extra_data": failed}
    scopes = [("template", str(task.template_id))]
    event = f"event: task_failed, scopes: {scopes}, args: (), kwargs: {{'extra_info': {extra}}}"
    yield _record(at, f"[event broadcasting...] {event}")
    yield _record(at, "event task_failed not found", "ERROR")
    yield _record(at, "[send_task_message] task() send message(atom_failed) success")


def _twice(at: float | None, texts: Iterator[str] | list[str], level: str = "INFO") -> Iterator[str]:
    """Records as two of SOPS' handlers write them."""
    for text in texts:
        yield from [_record(at, text, level)] * 2


def _record(at: float | None, text: str, level: str = "INFO") -> str:
    moment = datetime.fromtimestamp(at or 0, SERVER_ZONE)
    return f"[{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03d}][{level}] {text}"
