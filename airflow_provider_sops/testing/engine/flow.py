# SPDX-License-Identifier: Apache-2.0
"""How the engine moves tokens through a task's graph, from node to node."""

from __future__ import annotations

import itertools
import re
import sched
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_sops.testing.engine import plugins
from airflow_provider_sops.testing.engine.node import Node, Pipeline, auto_retry_of, id_in_task, running_state, walk
from airflow_provider_sops.testing.templates.ids import node_id, version_id
from airflow_provider_sops.testing.templates.template import PLUGINS, Graph
from airflow_provider_sops.testing.templates.variables import render


class Flow:
    """What the engine knows of a task.

    :param retries: whether SOPS retries nodes by itself.
    :param on_finish: is called when the last node is left, with the time.
    :param on_failure: when a node has failed and is not retried by SOPS itself.
    :param start_child: when a node is to run a task of its own.
    :ivar state: None before the start, RUNNING, SUSPENDED, FINISHED or REVOKED.
    :ivar past: the states before: until when, and which; for a stale replica.
    :ivar paused_nodes: nodes of the template that are to wait when they are reached.
    """

    def __init__(
        self,
        task_id: int,
        graph: Graph,
        constants: dict[str, Any],
        *,
        retries: bool,
        on_finish: Callable[[float], None],
        on_failure: Callable[[Node, float], None],
        start_child: Callable[[Node, float], None],
    ) -> None:
        self.task_id = task_id
        self.id = node_id("task", task_id)
        self.version = version_id("version", task_id)
        self.root = Pipeline(self.id, graph, constants)
        self.state: str | None = None
        self.start: float | None = None
        self.finish: float | None = None
        self.past: list[tuple[float, str]] = []
        self._now = 0.0
        self._events = sched.scheduler(lambda: self._now, lambda seconds: None)
        self.paused_nodes: set[str] = set()
        self._retries = retries
        self._on_finish = on_finish
        self._on_failure = on_failure
        self._start_child = start_child
        self._history_ids = itertools.count(1)

    @property
    def shown_state(self) -> str:
        """The state as SOPS shows it."""
        if self.state == "RUNNING":
            return running_state({node.state for node in walk(self.root)})
        return self.state or "CREATED"

    def changing(self, at: float) -> None:
        """Something is about to change: remember the state until now."""
        state = self.shown_state
        if self.past and self.past[-1][1] == state:
            self.past.pop()
        self.past.append((at, state))

    # ---- through time ----

    def run(self, now: float) -> None:
        """Handle all events that are due."""
        self._now = now
        self._events.run(blocking=False)

    def let_happen(self, at: float, handle: Callable[[float], None]) -> None:
        """Let something happen at a time.

        :param handle: is called with the time.
        """
        self._events.enterabs(at, 0, handle, (at,))

    def forget_events(self) -> None:
        """Nothing happens any more."""
        for event in self._events.queue:
            self._events.cancel(event)

    # ---- the whole ----

    def begin(self, at: float) -> None:
        """Start."""
        self.state, self.start = "RUNNING", at
        self._enter(self.root, self.root.graph.start, at)

    def stop(self) -> None:
        """Let nothing happen any more; running nodes keep their state, as in SOPS."""
        self.state = "REVOKED"
        self.forget_events()

    def go_on(self, pipeline: Pipeline, at: float) -> None:
        """Let what has waited in a paused pipeline go on."""
        if pipeline.is_suspended:
            return
        parked, pipeline.parked = pipeline.parked, []
        for template_id, retried in parked:
            if retried:
                self.execute(pipeline.nodes[id_in_task(self.task_id, template_id)], at)
            else:
                self._enter(pipeline, template_id, at)
        for node in list(pipeline.nodes.values()):
            if node.child is not None:
                self.go_on(node.child, at)

    # ---- into a node ----

    def _enter(self, pipeline: Pipeline, template_id: str, at: float) -> None:
        if self.state == "REVOKED":
            return
        if pipeline.is_suspended:
            pipeline.parked.append((template_id, False))
            return
        spec = pipeline.graph.nodes[template_id]
        if spec.type == "ConvergeGateway":
            pipeline.arrived[template_id] = pipeline.arrived.get(template_id, 0) + 1
            if pipeline.arrived[template_id] < spec.arrivals:
                return
        own_id = id_in_task(self.task_id, template_id)
        node = pipeline.nodes[own_id] = Node(own_id, spec, pipeline, version_id(own_id, 0))
        if template_id in self.paused_nodes:
            node.state, node.start = "SUSPENDED", at
        else:
            self.execute(node, at)

    def execute(self, node: Node, at: float) -> None:
        """Run a node."""
        node.state, node.start, node.finish, node.callback_expired = "RUNNING", at, None, False
        node.version = version_id(node.id, node.runs)
        node.runs += 1
        if node.spec.graph is not None:
            self._enter_subprocess(node, node.spec.graph, at)
        elif node.spec.type == "ServiceActivity":
            self._run_plugin(node, at)
        elif node.spec.ways:
            self._choose_way(node, at)
        else:
            self.succeed(node, at)

    def _enter_subprocess(self, node: Node, graph: Graph, at: float) -> None:
        outer = node.pipeline.values()
        values = {key: render(constant["value"], outer) for key, constant in graph.constants.items()}
        node.inputs = {key[2:-1]: value for key, value in values.items()}
        node.child = Pipeline(node.id, graph, values, owner=node)
        self._enter(node.child, graph.start, at)

    def _run_plugin(self, node: Node, at: float) -> None:
        values = node.pipeline.values()
        node.inputs = plugins.inputs_of(node, values)
        if node.plugin not in PLUGINS:
            return  # no such plugin: it runs for ever
        node.outputs["_result"] = True
        timeout = node.spec.data.get("timeout_config") or {}
        if timeout.get("enable"):
            self._later(node, at + timeout["seconds"], lambda node, at: self.force_fail(node, at, "node timeout"))
        if node.plugin == "subprocess_plugin":
            self._start_child(node, at)
        elif node.plugin != "pause_node":
            self._later(node, at + plugins.run(node, at, values), self._end_plugin)

    def _choose_way(self, node: Node, at: float) -> None:
        node.way = _chosen_way(node, node.pipeline.values())
        if node.way is None:
            self.fail(node, at, f"all conditions of branches are not meet: {node.id}")
        else:
            self.succeed(node, at)

    # ---- later ----

    def _later(self, node: Node, at: float, act: Callable[[Node, float], None]) -> None:
        """Do something to a node at a time, if it is still in the same run and state then."""
        version, state = node.version, node.state

        def handle(at: float) -> None:
            if (node.version, node.state) == (version, state) and self.state != "REVOKED":
                self.changing(at)
                act(node, at)

        self.let_happen(at, handle)

    def _end_plugin(self, node: Node, at: float) -> None:
        behaviour = node.spec.behaviour
        if plugins.fails(node):
            node.outputs |= behaviour.failed_outputs
            self.fail(node, at, behaviour.message)
        else:
            node.outputs |= behaviour.outputs
            self.succeed(node, at)

    def _retry_by_itself(self, node: Node, at: float) -> None:
        if self.state == "RUNNING":
            node.auto_retry_times += 1
            self.retry(node, at)

    # ---- out of a node ----

    def force_fail(self, node: Node, at: float, ex_data: str) -> None:
        """End a running node."""
        node.outputs["_forced_failed"] = True
        self.fail(node, at, ex_data)

    def fail(self, node: Node, at: float, ex_data: str) -> None:
        """A node fails."""
        node.finish = at
        node.ex_data = node.outputs["ex_data"] = ex_data
        if "_forced_failed" not in node.outputs:
            node.outputs["_result"] = False
        if node.spec.data.get("error_ignorable"):
            node.error_ignored = True
            self.succeed(node, at)
            return
        node.state = "FAILED"
        auto_retry = auto_retry_of(node.spec) if self._retries else None
        if auto_retry is not None and node.auto_retry_times < auto_retry.times:
            self._later(node, at + auto_retry.interval, self._retry_by_itself)
        else:
            self._on_failure(node, at)

    def retry(self, node: Node, at: float) -> None:
        """Run a failed node again."""
        node.histories.append((next(self._history_ids), replace(node)))
        node.retry += 1
        node.state, node.start, node.finish, node.ex_data, node.outputs = "READY", None, None, None, {}
        if self.state == "REVOKED":
            return  # SOPS says that it is done, and nothing runs
        if node.pipeline.is_suspended:
            node.pipeline.parked.append((node.spec.id, True))
        else:
            self.execute(node, at)

    def succeed(self, node: Node, at: float) -> None:
        """A node is done: go to what follows it."""
        node.state, node.finish = "FINISHED", at
        if node.spec.type == "EmptyEndEvent":
            self._leave(node.pipeline, at)
        for target in node.spec.targets if node.way is None else [node.spec.ways[node.way]]:
            self._enter(node.pipeline, target, at)

    def _leave(self, pipeline: Pipeline, at: float) -> None:
        if pipeline.owner is not None:
            pipeline.owner.outputs = pipeline.outputs()
            self.succeed(pipeline.owner, at)
            return
        self.changing(at)
        self.state, self.finish = "FINISHED", at
        self.forget_events()
        self._on_finish(at)


def _chosen_way(node: Node, values: Mapping[str, Any]) -> str | None:
    """The flow by which an exclusive gateway is left: the first whose condition holds, else the default one.

    Only comparisons of plain values are evaluated; of a gateway with others the first way counts.

    :param values: those of variables by key.
    :return: a flow of the template; None: no condition holds.
    """
    ways, flows = node.spec.ways, node.pipeline.graph.tree["flows"]
    default = next((flow for flow in ways if flows[flow].get("is_default")), None)
    held = {
        flow: _holds(str(render(condition.get("evaluate", ""), values)))
        for flow, condition in (node.spec.data.get("conditions") or {}).items()
        if flow in ways and flow != default
    }
    true = next((flow for flow, holds in held.items() if holds), default)
    if true is not None or (held and None not in held.values()):
        return true
    return next(iter(ways))


def _holds(condition: str) -> bool | None:
    """Whether a comparison of plain values holds; None: it is none."""
    match = re.fullmatch(r"\s*(.+?)\s*(==|!=)\s*(.+?)\s*", condition)
    if match is None:
        return None
    left, sign, right = match.groups()
    return (left.strip("'\"") == right.strip("'\"")) is (sign == "==")
