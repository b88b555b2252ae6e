# SPDX-License-Identifier: Apache-2.0
"""The pipeline tree of a task."""

from __future__ import annotations

import copy
from typing import Any

from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.templates.template import Graph


def pipeline_tree(task: Task) -> dict[str, Any]:
    """The task's tree, with the task's ids and values."""
    tree = _own_tree(task, task.graph, task.root_id)
    for key, value in task.constants.items():
        if key in tree["constants"]:
            tree["constants"][key]["value"] = value
    return tree


def _own_tree(task: Task, graph: Graph, own_id: str) -> dict[str, Any]:
    source = graph.tree
    activities = [_own_activity(task, graph, activity) for activity in source["activities"].values()]
    gateways = [_own_gateway(task, gateway) for gateway in source["gateways"].values()]
    flows = [
        flow | {key: task.node_id(flow[key]) for key in ("id", "source", "target")} for flow in source["flows"].values()
    ]
    constants = copy.deepcopy(source["constants"])
    for constant in constants.values():
        constant["source_info"] = {task.node_id(key): value for key, value in constant["source_info"].items()}
    return {
        "start_event": _own_node(task, source["start_event"]),
        "end_event": _own_node(task, source["end_event"]),
        "activities": {activity["id"]: activity for activity in activities},
        "gateways": {gateway["id"]: gateway for gateway in gateways},
        "flows": {flow["id"]: flow for flow in flows},
        "constants": constants,
        "outputs": list(source["outputs"]),
        "line": [_own_line(task, line) for line in source.get("line", [])],
        "location": [place | {"id": task.node_id(place["id"])} for place in source.get("location", [])],
        "id": own_id,
    }


def _own_activity(task: Task, graph: Graph, activity: dict[str, Any]) -> dict[str, Any]:
    own = _own_node(task, activity) | {"template_node_id": activity["id"]}
    inner = graph.nodes[activity["id"]].graph
    if inner is not None:
        own["pipeline"] = _own_tree(task, inner, own["id"])
    return own


def _own_gateway(task: Task, gateway: dict[str, Any]) -> dict[str, Any]:
    own = _own_node(task, gateway)
    if "converge_gateway_id" in own:
        own["converge_gateway_id"] = task.node_id(own["converge_gateway_id"])
    if "conditions" in own:
        own["conditions"] = {task.node_id(flow): what for flow, what in own["conditions"].items()}
    return own


def _own_line(task: Task, line: dict[str, Any]) -> dict[str, Any]:
    ends = {side: line[side] | {"id": task.node_id(line[side]["id"])} for side in ("source", "target")}
    return {"id": task.node_id(line["id"])} | ends


def _own_node(task: Task, node: dict[str, Any]) -> dict[str, Any]:
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
