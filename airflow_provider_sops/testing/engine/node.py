# SPDX-License-Identifier: Apache-2.0
"""What the engine has reached of a graph: its nodes, and the pipelines that they stand in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from airflow_provider_sops.testing.templates.ids import node_id
from airflow_provider_sops.testing.templates.template import Graph, Spec
from airflow_provider_sops.testing.templates.variables import render


@dataclass(slots=True)
class Node:
    """A node that the engine has reached."""

    id: str
    spec: Spec
    pipeline: Pipeline
    version: str
    state: str = "RUNNING"
    start: float | None = None
    finish: float | None = None
    retry: int = 0
    skip: bool = False
    error_ignored: bool = False
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    ex_data: str | None = None
    histories: list[tuple[int, Node]] = field(default_factory=list)  # earlier runs with their ids: the node as it was
    auto_retry_times: int = 0
    runs: int = 0
    given_inputs: dict[str, Any] | None = None  # a retry's inputs take the place of the tree's
    child: Pipeline | None = None  # of a subprocess
    callback_expired: bool = False  # a failed one has had its callback
    way: str | None = None  # the flow by which an exclusive gateway is left

    @property
    def name(self) -> str:
        """Name in the template."""
        return self.spec.name

    @property
    def plugin(self) -> str:
        """Plugin code; empty for gateways, events and subprocesses."""
        return str(self.spec.data.get("component", {}).get("code", ""))

    @property
    def shown_state(self) -> str:
        """The state as SOPS shows it: that of a subprocess also tells of failed and waiting nodes in it."""
        if self.state != "RUNNING" or self.child is None:
            return self.state
        return running_state({node.shown_state for node in self.child.nodes.values()})


@dataclass(slots=True)
class Pipeline:
    """A run of a graph: the task's own, or that of a subprocess."""

    id: str
    graph: Graph
    constants: dict[str, Any]
    owner: Node | None = None
    nodes: dict[str, Node] = field(default_factory=dict)  # by id in the task, in the order in which they were reached
    suspended: bool = False
    arrived: dict[str, int] = field(default_factory=dict)
    parked: list[tuple[str, bool]] = field(default_factory=list)  # waits for a resume: (template node, is a retry)

    @property
    def is_suspended(self) -> bool:
        """Whether it is paused, or one that it stands in."""
        return self.suspended or (self.owner is not None and self.owner.pipeline.is_suspended)

    def values(self) -> dict[str, Any]:
        """Values of its variables by key, as far as they are known."""
        put_out = {node.spec.id: node.outputs for node in self.nodes.values()}
        known: dict[str, Any] = {}
        given: dict[str, Any] = {}
        for key, constant in self.graph.constants.items():
            if constant["source_type"] == "component_outputs":
                for template_id, (output, *_) in constant["source_info"].items():
                    if output in put_out.get(template_id, ()):
                        known[key] = put_out[template_id][output]
            else:
                given[key] = self.constants[key]
        for _ in given:  # constants may refer to constants
            before = known
            known = before | {key: render(value, before) for key, value in given.items()}
            if known == before:
                break
        return known

    def outputs(self) -> dict[str, Any]:
        """Values of its outputs by key; the key itself if the node that makes it never put it out."""
        values = self.values()
        return {key: values.get(key, key) for key in self.graph.tree["outputs"] if key in self.graph.constants}


class AutoRetry(NamedTuple):
    """How often a node is retried by SOPS itself, and after how many seconds."""

    times: int
    interval: int


def auto_retry_of(spec: Spec) -> AutoRetry | None:
    """How a node is retried by SOPS itself; None: it is not. SOPS caps both numbers."""
    config = spec.data.get("auto_retry") or {}
    if not config.get("enable"):
        return None
    return AutoRetry(min(10, config.get("times", 10)), min(10, config.get("interval", 0)))


def running_state(states: set[str]) -> str:
    """The state that SOPS shows of something that runs.

    :param states: those of the nodes in it.
    """
    if "FAILED" in states:
        return "FAILED"
    return "NODE_SUSPENDED" if states & {"SUSPENDED", "NODE_SUSPENDED"} else "RUNNING"


def id_in_task(task_id: int, template_id: str) -> str:
    """Id in a task of a node (or flow) of its template."""
    prefix = template_id[:1] if template_id[:1] in ("n", "l") else "n"
    return prefix + node_id(task_id, template_id)[1:]


def walk(pipeline: Pipeline) -> Iterator[Node]:
    """All reached nodes, subprocesses first, then what is in them."""
    for node in pipeline.nodes.values():
        yield node
        if node.child is not None:
            yield from walk(node.child)


def all_specs(graph: Graph) -> Iterator[Spec]:
    """All nodes of a graph and of the subprocesses in it."""
    for spec in graph.nodes.values():
        yield spec
        if spec.graph is not None:
            yield from all_specs(spec.graph)
