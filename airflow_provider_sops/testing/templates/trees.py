# SPDX-License-Identifier: Apache-2.0
"""Pipeline trees: put together, drawn, walked, and with parts left out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from airflow_provider_sops.core.diagram.places import lay_out as place_nodes
from airflow_provider_sops.core.diagram.shapes import Shape, kind_of
from airflow_provider_sops.testing.templates.ids import digest, node_id
from airflow_provider_sops.testing.templates.template import Behaviour, Graph, Spec, Template
from airflow_provider_sops.testing.templates.variables import references

#: What stands in a tree under these is the users' own, whatever it looks like.
_WITHOUT_IDS = ("component", "name", "value")
_LOCATION_TYPES = {
    "EmptyStartEvent": "startpoint",
    "EmptyEndEvent": "endpoint",
    "ServiceActivity": "tasknode",
    "SubProcess": "subflow",
    "ParallelGateway": "parallelgateway",
    "ExclusiveGateway": "branchgateway",
    "ConditionalParallelGateway": "conditionalparallelgateway",
    "ConvergeGateway": "convergegateway",
}


def as_list(value: Any) -> list[Any]:
    """``incoming`` and ``outgoing`` are a string or a list of strings on the wire."""
    if isinstance(value, list):
        return value
    return [value] if value else []


def nodes_of(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All nodes of a tree itself: events, activities, gateways."""
    return [tree["start_event"], *tree["activities"].values(), *tree["gateways"].values(), tree["end_event"]]


def expand(tree: dict[str, Any], behaviours: dict[str, Behaviour], find: Callable[[str], Template]) -> None:
    """Put the trees of subprocesses into a tree that only names their templates.

    :param behaviours: those of the subprocesses' nodes are added.
    :param find: gives the template for what stands in ``template_id``.
    """
    for activity in tree["activities"].values():
        if activity["type"] != "SubProcess" or "pipeline" in activity:
            continue
        child = find(activity["template_id"])
        # a template may stand in another one more than once
        ids = {own_id: own_id[0] + digest(activity["id"], own_id)[1:] for own_id in ids_of(child.graph)}
        pipeline = relabelled(child.graph.tree, ids)
        for key, constant in activity.pop("constants", {}).items():
            pipeline["constants"][key]["value"] = constant["value"]
        behaviours.update({ids[own_id]: behaviour for own_id, behaviour in child.behaviours.items()})
        activity |= {
            "template_id": node_id("template", child.id),
            "pipeline": pipeline | {"id": activity["id"]},
            "template_source": "common" if child.common else "project",
            "original_template_id": str(child.id),
            "original_template_version": digest("version", child.id),
        }


def complete(tree: Any, behaviours: dict[str, Behaviour], find: Callable[[str], Template], *, draw: bool) -> None:
    """Put into a tree that a caller has posted what SOPS adds; see :func:`expand`.

    :param draw: places and lines to be drawn with, too.
    :raises KeyError: a part that SOPS needs is missing; its name is the error's argument.
    """
    for name in ("activities", "start_event", "end_event", "gateways", "flows", "constants", "outputs"):
        tree[name]
    for node in nodes_of(tree):
        node.setdefault("labels", [])
    expand(tree, behaviours, find)
    if draw:
        lay_out(tree)


def ids_of(graph: Graph) -> Iterator[str]:
    """Ids of all nodes and flows of a graph and of the subprocesses in it."""
    yield from graph.nodes
    yield from graph.tree["flows"]
    for spec in graph.nodes.values():
        if spec.graph is not None:
            yield from ids_of(spec.graph)


def relabelled(part: Any, ids: Mapping[str, str]) -> Any:
    """Copy of a tree, or of a part of it, with other ids.

    :param ids: the new ids by the old ones.
    """
    if isinstance(part, dict):
        return {
            ids.get(key, key): value if key in _WITHOUT_IDS else relabelled(value, ids) for key, value in part.items()
        }
    if isinstance(part, list):
        return [relabelled(item, ids) for item in part]
    return ids.get(part, part) if isinstance(part, str) else part


def lay_out(tree: dict[str, Any]) -> None:
    """Give a tree the lines and places that SOPS draws it with (a created task's tree has them)."""
    tree["line"] = [
        {
            "id": flow["id"],
            "source": {"arrow": "Right", "id": flow["source"]},
            "target": {"arrow": "Left", "id": flow["target"]},
        }
        for flow in tree["flows"].values()
    ]
    nodes = nodes_of(tree)
    shapes = [Shape(node["id"], kind_of(node["type"]), node["name"]) for node in nodes]
    places = place_nodes(shapes, [(flow["source"], flow["target"]) for flow in tree["flows"].values()])
    tree["location"] = [
        {
            "id": node["id"],
            "type": _LOCATION_TYPES.get(node["type"], "tasknode"),
            "name": node["name"],
            "status": "",
            "x": places[node["id"]][0],
            "y": places[node["id"]][1],
        }
        for node in nodes
    ]


def compile_tree(tree: dict[str, Any], behaviours: Mapping[str, Behaviour]) -> Graph:
    """Make a pipeline tree ready to be walked.

    :raises KeyError: a part of the tree that SOPS needs is missing (its name is the error's argument).
    """
    nodes: dict[str, Spec] = {}
    flows = tree["flows"]
    for data in nodes_of(tree):
        own_id = data["id"]
        out = as_list(data["outgoing"])
        if data["type"] == "ConditionalParallelGateway":
            # Conditions are not evaluated: the default way is taken, else the first.
            out = ([flow for flow in out if flows[flow].get("is_default")] or out)[:1]
        spec = Spec(
            id=own_id,
            name=data.get("name", ""),
            type=data["type"],
            data=data,
            targets=[flows[flow]["target"] for flow in out],
            arrivals=len(as_list(data["incoming"])),
            behaviour=behaviours.get(own_id, Behaviour()),
        )
        if data["type"] == "ExclusiveGateway":
            spec.ways = {flow: flows[flow]["target"] for flow in out}
        if data["type"] == "SubProcess":
            spec.graph = compile_tree(data["pipeline"], behaviours)
        nodes[own_id] = spec
    return Graph(tree, nodes, tree["start_event"]["id"])


def without_nodes(tree: dict[str, Any], excluded: Iterable[str]) -> dict[str, Any]:
    """Copy of a tree without some activities; the flows around them are joined."""
    tree = copy.deepcopy(tree)
    ends = {node["id"]: node for node in nodes_of(tree)}
    for own_id in excluded:
        activity = tree["activities"].pop(own_id)
        leaving = tree["flows"].pop(activity["outgoing"])
        target = ends[leaving["target"]]
        incoming = as_list(activity["incoming"])
        for flow in incoming:
            tree["flows"][flow]["target"] = leaving["target"]
        kept = [flow for flow in as_list(target["incoming"]) if flow != leaving["id"]]
        target["incoming"] = kept + incoming
    before = {place["id"]: place for place in tree.get("location", ())}
    lay_out(tree)
    for place in tree["location"]:  # what was left out leaves its place free (recorded)
        place.update({axis: before[place["id"]][axis] for axis in "xy" if place["id"] in before})
    return tree


def without_unused_constants(tree: dict[str, Any]) -> dict[str, Any]:
    """Copy of a tree with the constants that a node refers to, directly or through another constant.

    SOPS drops the others when it makes a task of a template, even when they are outputs (measured on SOPS 3.34).
    """
    tree = dict(tree)
    constants = tree["constants"]
    used: set[str] = set()
    for activity in tree["activities"].values():
        for given in (activity.get("component", {}).get("data", {}), activity.get("pipeline", {}).get("constants", {})):
            used |= references([item["value"] for item in given.values()])
    used |= {
        key
        for key, constant in constants.items()
        if constant["source_type"] == "component_outputs" and set(constant["source_info"]) & set(tree["activities"])
    }
    pending = list(used)
    while pending:
        constant = constants.get(pending.pop())
        for key in references(constant["value"]) if constant else ():
            if key not in used:
                used.add(key)
                pending.append(key)
    kept = [key for key in constants if key in used]
    tree["constants"] = {key: {**constants[key], "index": index} for index, key in enumerate(kept)}
    tree["outputs"] = [key for key in tree["outputs"] if key in tree["constants"]]
    return tree
