# SPDX-License-Identifier: Apache-2.0
"""The pipeline tree of a task."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.templates.template import Graph
from airflow_provider_sops.testing.templates.trees import ids_of, nodes_of, relabelled

_PARTS = ("start_event", "end_event", "activities", "gateways", "flows", "constants", "outputs", "line", "location")


def pipeline_tree(task: Task) -> dict[str, Any]:
    """The task's tree, with the task's ids and values."""
    ids = {template_id: task.node_id(template_id) for template_id in ids_of(task.graph)}
    tree: dict[str, Any] = relabelled({part: task.graph.tree.get(part, []) for part in _PARTS}, ids)
    _complete(tree, task.graph, task.root_id)
    for key, value in task.constants.items():
        if key in tree["constants"]:
            tree["constants"][key]["value"] = value
    return tree


def _complete(tree: dict[str, Any], graph: Graph, own_id: str) -> None:
    """Put into a tree, and into the subprocesses in it, what that of a template does not have."""
    tree["id"] = own_id
    for node in nodes_of(tree):
        node.setdefault("labels", [])
    for source, activity in zip(graph.tree["activities"].values(), tree["activities"].values(), strict=True):
        activity["template_node_id"] = source["id"]
        inner = graph.nodes[source["id"]].graph
        if inner is not None:
            _complete(activity["pipeline"], inner, activity["id"])
