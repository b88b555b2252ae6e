# SPDX-License-Identifier: Apache-2.0
"""What SOPS says of a node that was reached."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_provider_sops.testing.answers.status import node_status, times_of
from airflow_provider_sops.testing.answers.times import SERVER_ZONE
from airflow_provider_sops.testing.engine.node import Node, auto_retry_of
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.templates.template import PLUGINS

_PRESET_OUTPUTS = [("_result", "执行结果"), ("_loop", "循环次数"), ("_inner_loop", "当前流程循环次数")]
_LOOPS = {"_loop": 1, "_inner_loop": 1}


def node_data(task: Task, node: Node, component_code: str | None) -> dict[str, Any]:
    """``data`` of get_task_node_data.

    :param component_code: the plugin's: then the outputs have their names, and those that it has not put out are there.
    """
    inputs = {}
    if node.spec.type in ("ServiceActivity", "SubProcess"):
        inputs = node.inputs | ({} if node.child else _LOOPS)
    return {"inputs": inputs, "outputs": _outputs(task, node, component_code), "ex_data": node.ex_data}


def node_detail(task: Task, node: Node, component_code: str | None, now: float) -> dict[str, Any]:
    """``data`` of get_task_node_detail."""
    return {
        **node_status(task, node, task.root_id, now, names=False),
        "histories": [_history_row(history_id, past, now) for history_id, past in node.histories],
        "history_id": -1,
        **node_data(task, node, component_code),
        "auto_retry_info": auto_retry_info(node, with_id=True),
    }


def auto_retry_info(node: Node, *, with_id: bool = False) -> dict[str, Any]:
    """How often SOPS has retried a node by itself; empty where it does not."""
    config = auto_retry_of(node.spec)
    if config is None:
        return {}
    times = {"auto_retry_times": node.auto_retry_times, "max_auto_retry_times": config.times}
    return {"node_id": node.id, **times} if with_id else times


def _history_row(history_id: int, past: Node, now: float) -> dict[str, Any]:
    return {
        "id": history_id,
        "node_id": past.id,
        "loop": 1,
        "skip": past.skip,
        "version": past.version,
        "inputs": past.inputs | _LOOPS,
        "outputs": past.outputs | _LOOPS,
        "ex_data": past.ex_data,
        "state": past.state,
        "history_id": history_id,
        "children": {},
        **times_of(past, now),
    }


def _outputs(task: Task, node: Node, component_code: str | None) -> list[dict[str, Any]]:
    produced = node.outputs | _LOOPS
    if isinstance(produced.get("timing_time"), float):
        moment = datetime.fromtimestamp(produced["timing_time"], SERVER_ZONE)
        produced["timing_time"] = moment.isoformat(timespec="milliseconds")
    keys = _constant_names(task, node)
    if not component_code:
        return [{"key": keys.get(key, key), "value": value, "preset": False} for key, value in produced.items()]
    names = dict([*PLUGINS.get(component_code, ("", []))[1], *_PRESET_OUTPUTS])
    values = {key: produced.get(key, "") for key in names} | produced
    return [
        {"name": names.get(key, key), "key": keys.get(key, key), "value": value, "preset": key in names}
        for key, value in values.items()
    ]


def _constant_names(task: Task, node: Node) -> dict[str, str]:
    """Names of the constants that a node's outputs go to, by output."""
    return {
        fields[0]: constant["key"][2:-1]
        for constant in task.graph.constants.values()
        if constant["source_type"] == "component_outputs"
        for template_id, fields in constant["source_info"].items()
        if template_id == node.spec.id
    }
