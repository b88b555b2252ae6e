# SPDX-License-Identifier: Apache-2.0
"""The pipeline tree of a task or template: its nodes, gateways and where these lead, and its variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_sops.core.text import DEEPEST, text_of


@dataclass(frozen=True, slots=True)
class Activity:
    """A node as the task's pipeline tree describes it."""

    id: str
    name: str
    plugin: str
    #: names of the subprocesses it stands in, from the outermost on
    path: tuple[str, ...]
    #: ids of these
    stack: tuple[str, ...]
    retryable: bool
    skippable: bool
    #: a task may be made without it
    optional: bool = True
    #: what its plugin is given: name -> ``{"value": …}``
    inputs: Mapping[str, Any] = field(default_factory=dict)
    #: of a gateway: the flows out of it, each with the name of where it leads
    ways: Mapping[str, str] = field(default_factory=dict)


def activities(tree: Mapping[str, Any], path: tuple[str, ...] = (), stack: tuple[str, ...] = ()) -> Iterator[Activity]:
    """Return the nodes of a pipeline tree, each subprocess before what is in it."""
    if len(stack) >= DEEPEST:
        return
    for node_id, node in _dicts(tree, "activities"):
        component = node.get("component")
        component = component if isinstance(component, dict) else {}
        inputs = component.get("data")
        yield Activity(
            id=node_id,
            name=text_of(node.get("name")),
            plugin=text_of(component.get("code") or node.get("type")),
            path=path,
            stack=stack,
            # the second names are those before SOPS 3.6.4
            retryable=node.get("retryable", node.get("can_retry")) is not False,
            skippable=node.get("skippable", node.get("isSkipped")) is not False,
            optional=node.get("optional") is not False,
            inputs=inputs if isinstance(inputs, dict) else {},
        )
        if isinstance(node.get("pipeline"), dict):
            inner_path, inner_stack = (*path, text_of(node.get("name") or node_id)), (*stack, node_id)
            yield from activities(node["pipeline"], inner_path, inner_stack)


def gateways(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[Activity]:
    """Return the gateways of a pipeline tree, those in subprocesses included."""
    if len(path) >= DEEPEST:
        return
    for node_id, node in _dicts(tree, "gateways"):
        out = node.get("outgoing")
        ways = {
            text_of(flow): _target(tree, text_of(flow)) for flow in (out if isinstance(out, list) else [out]) if flow
        }
        yield Activity(node_id, text_of(node.get("name")), text_of(node.get("type")), path, (), False, False, ways=ways)
    for node_id, node in _dicts(tree, "activities"):
        if isinstance(node.get("pipeline"), dict):
            yield from gateways(node["pipeline"], (*path, text_of(node.get("name") or node_id)))


def _dicts(tree: Mapping[str, Any], part: str) -> list[tuple[str, dict[str, Any]]]:
    found = tree.get(part)
    items = found.items() if isinstance(found, dict) else ()
    return [(text_of(node_id), node) for node_id, node in items if isinstance(node, dict)]


def _target(tree: Mapping[str, Any], flow: str) -> str:
    """Return the name of the node that a flow leads to, where it has one."""
    target = text_of(dict(_dicts(tree, "flows")).get(flow, {}).get("target"))
    return next((text_of(node.get("name")) for own, node in _dicts(tree, "activities") if own == target), "")


def count_activities(tree: Mapping[str, Any], depth: int = 0) -> int:
    """Count the nodes of a pipeline tree that do something, those of subprocesses included."""
    activities = tree.get("activities")
    if not isinstance(activities, dict) or depth >= DEEPEST:
        return 0
    count = 0
    for activity in activities.values():
        inner = activity.get("pipeline") if isinstance(activity, dict) else None
        count += count_activities(inner, depth + 1) if isinstance(inner, dict) else 1
    return count


def constants(tree: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the variables of a pipeline tree and of the subprocesses in it, each with its key."""
    waiting: list[object] = [tree]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, Mapping):
            continue
        yield from _dicts(one, "constants")
        waiting += [node.get("pipeline") for _, node in _dicts(one, "activities")]


def is_password(constant: Mapping[str, Any]) -> bool:
    """Return whether a variable holds a password."""
    return constant.get("custom_type") == "password" or "password" in text_of(constant.get("source_tag"))
