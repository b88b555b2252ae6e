# SPDX-License-Identifier: Apache-2.0
"""The engine of the fake SOPS: tasks and their nodes as a state machine over time.

No threads and no I/O. A task keeps its coming events in a heap; whoever looks at a task first calls
:meth:`Task.run`, which handles the events that are due.
"""

from __future__ import annotations

import heapq
import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from airflow_provider_sops.testing.refusals import INVALID_OPERATION, Refused
from airflow_provider_sops.testing.templates.ids import node_id, version_id
from airflow_provider_sops.testing.templates.template import PLUGINS, Graph, Spec
from airflow_provider_sops.testing.templates.variables import render

FINAL_STATES = frozenset({"FINISHED", "REVOKED", "EXPIRED"})


class Clock:
    """The fake's time: the wall clock plus what a test has jumped over."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._stopped: float | None = None

    def now(self) -> float:
        """Seconds since the epoch."""
        return (time.time() if self._stopped is None else self._stopped) + self._offset

    def stop(self) -> None:
        """Stand still from now on: only :meth:`advance` moves the time."""
        self._stopped = time.time()

    def advance(self, seconds: float) -> None:
        """Jump ahead."""
        self._offset += seconds


#: What can be done to a node: action -> the engine's function for it, with its arguments.
NODE_ACTIONS = {
    "retry": "retry_node(node_id, data)",
    "skip": "skip_node(node_id)",
    "callback": "callback(node_id, version, data)",
    "forced_fail": "forced_fail_activity(node_id, ex_data, send_post_set_state_signal)",
    "pause": "pause_node_appoint(node_id)",
    "resume": "resume_node_appoint(node_id)",
    "pause_subproc": "pause_pipeline(pipeline_id)",
    "resume_subproc": "resume_pipeline(pipeline_id)",
    "skip_exg": "skip_exclusive_gateway(node_id, flow_id)",
    "skip_cpg": "skip_conditional_parallel_gateway(node_id, flow_ids, converge_gateway_id)",
    "retry_subprocess": "retry_subprocess(node_id)",
}
_TASK_ACTIONS = {"pause": "pause_pipeline(pipeline_id)", "resume": "resume_pipeline(pipeline_id)", "revoke": ""}
_INVALID = "bamboo_engine.exceptions.InvalidOperationError"


def refused_by_engine(call: str, message: str, error: str = _INVALID) -> Refused:
    """What SOPS says when its engine refuses: a whole Python traceback (shortened here) in ``message``.

    :param call: the engine's function with its arguments.
    """
    function = call.partition("(")[0]
    return Refused(
        "fail: Traceback (most recent call last):\n"
        '  File "/app/site-packages/bamboo_engine/api.py", line 68, in wrapper\n'
        "    data = func(*args, **kwargs)\n"
        "           ^^^^^^^^^^^^^^^^^^^^^\n"
        f'  File "/app/site-packages/bamboo_engine/api.py", line 110, in {function}\n'
        f"    Engine(runtime).{call}\n"
        f"{error}: {message}\n"
    )


def _no_transit(call: str, own_id: str, state: str | None, wanted: str) -> Refused:
    message = f"can't not transit node({own_id}) state from {state} to {wanted}"
    return refused_by_engine(call, message, "RuntimeError")


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
    histories: list[dict[str, Any]] = field(default_factory=list)
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
        states = {node.shown_state for node in self.child.nodes.values()}
        if "FAILED" in states:
            return "FAILED"
        return "NODE_SUSPENDED" if states & {"SUSPENDED", "NODE_SUSPENDED"} else "RUNNING"


@dataclass(frozen=True, slots=True)
class Record:
    """What somebody has done on SOPS' page."""

    at: float
    operator: str
    action: str
    node_id: str


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


class Operation(NamedTuple):
    """Something that somebody asked a task to do, refused or not."""

    time: float
    user: str
    action: str


class Task:
    """A task of the fake SOPS.

    :ivar starts: the times at which the engine really started it; more than one would be an error.
    :ivar operations: ``(time, user, action)`` of everything that was asked and done.
    """

    def __init__(
        self,
        *,
        task_id: int,
        name: str,
        project_id: int,
        graph: Graph,
        constants: Mapping[str, Any],
        creator: str,
        created: float,
        template_id: int | None = None,
        template_source: str = "project",
        flow_type: str = "common",
        create_method: str = "api",
        callback_url: str = "",
        callback_version: str = "",
        is_child: bool = False,
        retries_by_itself: bool = True,
        hooks: Hooks | None = None,
    ) -> None:
        self.id = task_id
        self.name = name
        self.project_id = project_id
        self.graph = graph
        self.constants = dict(constants)
        self.creator = creator
        self.create_time = created
        self.template_id = template_id
        self.template_source = template_source
        self.flow_type = flow_type
        self.current_flow = "func_claim" if flow_type == "common_func" else "execute_task"
        self.create_method = create_method
        self.callback_url = callback_url
        self.callback_version = callback_version
        self.is_child = is_child
        self.retries_by_itself = retries_by_itself
        self.executor = ""
        self.is_started = False
        self.reserved = False  # the first engine has a row for it although it has not started
        self.start_time: float | None = None
        self.finish_time: float | None = None
        self.root_id = node_id("task", task_id)
        self.root_version = version_id("version", task_id)
        self.root_state: str | None = None  # the engine's: None, RUNNING, SUSPENDED, FINISHED, REVOKED
        self.root_start: float | None = None
        self.root_finish: float | None = None
        self.expired = False
        self.deleted = False
        self.broken = False  # its status cannot be computed
        self.starts: list[float] = []
        self.operations: list[Operation] = []
        self.records: list[Record] = []
        self.outputs: list[dict[str, Any]] = []
        self.queued: list[str] = []  # starts that no worker has taken up, by user
        self.past: list[tuple[float, str]] = []  # (until when, state), for a stale replica
        self.parent: tuple[int, str] | None = None  # of a child task: the parent's id and its node
        self.child_ids: list[int] = []
        self.pipeline = Pipeline(self.root_id, graph, self.constants)
        self._hooks = hooks or Hooks()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()
        self._template_ids: dict[str, str] = {}
        self._paused_nodes: set[str] = set()  # nodes of the template that are to wait when they are reached
        self._failed = 0
        self._node_suspended = 0
        self._history_ids = itertools.count(1)

    # ---- looking ----

    @property
    def state(self) -> str:
        """The state as SOPS shows it."""
        if self.expired:
            return "EXPIRED"
        if self.root_state is None:
            return "CREATED"
        if self.root_state == "RUNNING":
            if self._failed:
                return "FAILED"
            if self._node_suspended:
                return "NODE_SUSPENDED"
        return self.root_state

    @property
    def nodes(self) -> dict[str, Node]:
        """Every node reached so far by id, those of subprocesses included."""
        return {node.id: node for node in walk(self.pipeline)}

    def node(self, name: str) -> Node:
        """The reached node with this name.

        :raises KeyError: none has it.
        """
        for node in walk(self.pipeline):
            if node.name == name:
                return node
        raise KeyError(name)

    def node_id(self, template_node_id: str) -> str:
        """Id in this task of a node (or flow) of its template."""
        prefix = template_node_id[:1] if template_node_id[:1] in ("n", "l") else "n"
        own_id = prefix + node_id(self.id, template_node_id)[1:]
        self._template_ids[own_id] = template_node_id
        return own_id

    def template_node_id(self, own_id: str) -> str | None:
        """Id in the template of a node of this task; None if it has no such node."""
        if own_id not in self._template_ids:
            for spec in all_specs(self.graph):
                self.node_id(spec.id)
        return self._template_ids.get(own_id)

    def spec(self, own_id: str) -> Spec | None:
        """The node of the template for a node id of this task."""
        template_id = self.template_node_id(own_id)
        return next((spec for spec in all_specs(self.graph) if spec.id == template_id), None)

    def find_id(self, name: str) -> str:
        """Id in this task of the node with this name, reached or not.

        :raises KeyError: none has it.
        """
        for spec in all_specs(self.graph):
            if spec.name == name:
                return self.node_id(spec.id)
        raise KeyError(name)

    # ---- time ----

    def run(self, now: float) -> None:
        """Handle all events that are due."""
        while self._events and self._events[0][0] <= now:
            at, _, handle = heapq.heappop(self._events)
            handle(at)

    def _after(self, at: float, handle: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), handle))

    # ---- operations ----

    def record(self, now: float, user: str, action: str, node_id: str = "") -> None:
        """Write down what somebody has done on SOPS' page; of the API SOPS keeps no such record."""
        self.records.append(Record(now, user, action, node_id))

    def note(self, now: float, user: str, action: str) -> None:
        """Write down that somebody did something."""
        self.operations.append(Operation(now, user, action))

    def queue_start(self, now: float, user: str, delay: float | None) -> None:
        """Queue a start, as start_task does: a worker takes it up later, or never.

        :param delay: seconds until a worker takes it up; None: no worker lives.
        """
        if delay is None:
            self.queued.append(user)
        else:
            self._after(now + delay, lambda at: self._start(at, user))

    def take_up_queued(self, now: float) -> None:
        """A worker takes up what is queued."""
        queued, self.queued = self.queued, []
        for user in queued:
            self.queue_start(now, user, 0)

    def _start(self, at: float, user: str) -> None:
        if self.starts or self.deleted or self.current_flow != "execute_task":
            return  # SOPS' worker looks again and drops the message
        if not self.graph.tree["activities"]:
            return  # the engine refuses a tree without nodes, and nobody hears of it
        self._changing(at)
        self.is_started = True
        self.executor = user
        self.start_time = at if self.start_time is None else self.start_time
        self.root_start = at
        self.root_state = "RUNNING"
        self.starts.append(at)
        self._enter(self.pipeline, self.graph.start, at)

    def claim(self, now: float, user: str) -> None:
        """A person claims a function task: it can be started then.

        :raises Refused: it is no unclaimed function task.
        """
        self.note(now, user, "claim")
        if self.current_flow != "func_claim":
            raise Refused(f"task with current_flow:{self.current_flow} cannot be claimed", INVALID_OPERATION)
        self.current_flow = "execute_task"

    def operate(self, now: float, user: str, action: str) -> None:
        """Pause, resume or revoke the task.

        :raises Refused: SOPS refuses it.
        """
        self.note(now, user, action)
        if action not in _TASK_ACTIONS:
            raise Refused("task command is invalid", INVALID_OPERATION)
        if self.current_flow != "execute_task":
            raise Refused(f"task with current_flow:{self.current_flow} cannot be {action}ed", INVALID_OPERATION)
        if not self.is_started:
            raise Refused("task not started", INVALID_OPERATION)
        self._changing(now)
        if action == "pause":
            self._pause()
        elif action == "resume":
            self._resume(now)
        else:
            self._revoke(now)

    def _pause(self) -> None:
        if self.root_state != "RUNNING":
            raise _no_transit(_TASK_ACTIONS["pause"], self.root_id, self.root_state, "SUSPENDED")
        self.root_state = "SUSPENDED"
        self.pipeline.suspended = True

    def _resume(self, now: float) -> None:
        if self.root_state != "SUSPENDED":
            message = f"pipeline({self.root_id}) state is: {self.root_state}"
            raise refused_by_engine(_TASK_ACTIONS["resume"], message)
        self.root_state = "RUNNING"
        self.pipeline.suspended = False
        self._go_on(self.pipeline, now)

    def _revoke(self, now: float) -> None:
        self.root_state = "REVOKED"  # running nodes keep their state, as in SOPS
        self._end(now)
        self._hooks.ended(self, False, now)

    def expire(self, now: float) -> None:
        """The engine's data of the task are gone."""
        self._changing(now)
        self.expired = True
        self._end(now if self.finish_time is None else self.finish_time)

    def operate_node(
        self,
        now: float,
        user: str,
        own_id: str,
        action: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        data: Any = None,
        flow_id: str | None = None,
    ) -> None:
        """Retry, skip, end, answer, pause or resume one node.

        :param inputs: of a retry: they take the place of all the node's inputs, if there are any.
        :param data: of a callback: becomes the node's output ``callback_data``; None: no data.
        :param flow_id: of ``skip_exg``: the flow out of the gateway that is taken.
        :raises KeyError: the task has no such node.
        :raises Refused: SOPS refuses it.
        """
        spec = self.spec(own_id)
        if spec is None:
            raise KeyError(own_id)
        if action not in NODE_ACTIONS:
            raise Refused("task command is invalid")
        self.note(now, user, f"{action} {spec.name}")
        node = self.nodes.get(own_id)
        if node is None:
            if action != "pause":
                error = "pipeline.eri.models.State.DoesNotExist"
                raise refused_by_engine(NODE_ACTIONS[action], "State matching query does not exist.", error)
            self._paused_nodes.add(spec.id)
            return
        self._changing(now)
        if action == "retry":
            self._retry_by_hand(node, now, inputs)
        elif action == "skip":
            self._skip(node, now)
        elif action == "callback":
            self._callback(node, now, data)
        elif action == "forced_fail":
            self._forced_fail(node, now, f"The node has been terminated by {user}.")
        elif action == "resume":
            self._resume_node(node, now)
        elif action == "pause_subproc":
            self._pause_subprocess(node)
        elif action == "resume_subproc":
            self._resume_subprocess(node, now)
        elif action == "skip_exg":
            self._skip_gateway(node, now, flow_id)
        else:
            raise refused_by_engine(NODE_ACTIONS[action], f"{node.id} is in state {node.state}")

    def _must_have_failed(self, node: Node, action: str) -> None:
        if node.state != "FAILED":
            message = f"{node.id} state is not FAILED, actual {node.state}"
            raise refused_by_engine(NODE_ACTIONS[action], message)

    def _retry_by_hand(self, node: Node, now: float, inputs: Mapping[str, Any] | None) -> None:
        self._must_have_failed(node, "retry")
        if not node.spec.data.get("retryable", node.spec.data.get("can_retry", True)):
            raise refused_by_engine(NODE_ACTIONS["retry"], f"node({node.id}) can not retry")
        if inputs:
            node.given_inputs = dict(inputs)
        self._retry(node, now)

    def _retry(self, node: Node, at: float) -> None:
        node.histories.append(
            {
                "id": next(self._history_ids),
                "version": node.version,
                "inputs": node.inputs,
                "outputs": node.outputs,
                "ex_data": node.ex_data,
                "state": node.state,
                "start": node.start,
                "finish": node.finish,
                "skip": node.skip,
            }
        )
        self._failed -= 1
        node.retry += 1
        node.state, node.start, node.finish, node.ex_data, node.outputs = "READY", None, None, None, {}
        if self.root_state == "REVOKED":
            return  # SOPS says that it is done, and nothing runs
        if self._suspended(node.pipeline):
            node.pipeline.parked.append((node.spec.id, True))
        else:
            self._execute(node, at)

    def _skip(self, node: Node, now: float) -> None:
        self._must_have_failed(node, "skip")
        if not node.spec.data.get("skippable", node.spec.data.get("isSkipped", True)):
            raise refused_by_engine(NODE_ACTIONS["skip"], f"node({node.id}) can not skip")
        self._failed -= 1
        node.skip = True
        self._succeed(node, now)

    def _skip_gateway(self, node: Node, now: float, flow_id: str | None) -> None:
        self._must_have_failed(node, "skip_exg")
        ways = {self.node_id(flow): flow for flow in node.spec.ways}
        if flow_id not in ways:
            raise refused_by_engine(NODE_ACTIONS["skip_exg"], repr(flow_id), "KeyError")
        node.way = ways[flow_id]
        self._failed -= 1
        node.skip = True
        self._succeed(node, now)

    def _callback(self, node: Node, now: float, data: Any) -> None:
        if node.state not in ("RUNNING", "FAILED"):
            message = f"can not find sleep process with current node id: {node.id}"
            raise refused_by_engine(NODE_ACTIONS["callback"], message)
        if node.state == "FAILED":
            if node.callback_expired:
                raise refused_by_engine(NODE_ACTIONS["callback"], "schedule is already expired")
            node.callback_expired = True
        if node.state == "FAILED" or node.plugin != "pause_node" or self.root_state == "REVOKED":
            return  # SOPS says that it is done, and nothing changes
        if data is not None:
            node.outputs["callback_data"] = data
        self._succeed(node, now)

    def _forced_fail(self, node: Node, at: float, text: str) -> None:
        if node.state != "RUNNING":
            message = f"{node.id} state is not RUNNING, actual: {node.state}"
            raise refused_by_engine(NODE_ACTIONS["forced_fail"], message)
        node.outputs["_forced_failed"] = True
        self._fail(node, at, text)

    def _resume_node(self, node: Node, now: float) -> None:
        if node.state != "SUSPENDED":
            raise _no_transit(NODE_ACTIONS["resume"], node.id, node.state, "READY")
        self._paused_nodes.discard(node.spec.id)
        self._node_suspended -= 1
        self._execute(node, now)

    def _pause_subprocess(self, node: Node) -> None:
        if node.child is None or node.state != "RUNNING":
            raise _no_transit(NODE_ACTIONS["pause_subproc"], node.id, node.state, "SUSPENDED")
        node.state = "SUSPENDED"
        node.child.suspended = True
        self._node_suspended += 1

    def _resume_subprocess(self, node: Node, now: float) -> None:
        if node.child is None or node.state != "SUSPENDED":
            message = f"pipeline({node.id}) state is: {node.state}"
            raise refused_by_engine(NODE_ACTIONS["resume_subproc"], message)
        node.state = "RUNNING"
        node.child.suspended = False
        self._node_suspended -= 1
        self._go_on(node.child, now)

    def child_ended(self, at: float, own_id: str, success: bool, ex_data: str) -> None:
        """The task of an independent subprocess has ended, or failed.

        :param own_id: id of the node that it runs for.
        """
        node = self.nodes[own_id]
        self._changing(at)
        if success and node.state == "FAILED":  # a person has repaired the child task
            self._failed -= 1
            self._succeed(node, at)
        elif node.state == "RUNNING":
            if success:
                self._succeed(node, at)
            else:
                self._fail(node, at, ex_data)

    # ---- how tokens move ----

    def _changing(self, at: float) -> None:
        state = self.state
        if self.past and self.past[-1][1] == state:
            self.past[-1] = (at, state)
        else:
            self.past.append((at, state))

    def _suspended(self, pipeline: Pipeline | None) -> bool:
        while pipeline is not None:
            if pipeline.suspended:
                return True
            pipeline = pipeline.owner.pipeline if pipeline.owner else None
        return False

    def _go_on(self, pipeline: Pipeline, at: float) -> None:
        if self._suspended(pipeline):
            return
        parked, pipeline.parked = pipeline.parked, []
        for template_id, retried in parked:
            if retried:
                self._execute(pipeline.nodes[self.node_id(template_id)], at)
            else:
                self._enter(pipeline, template_id, at)
        for node in list(pipeline.nodes.values()):
            if node.child is not None:
                self._go_on(node.child, at)

    def _enter(self, pipeline: Pipeline, template_id: str, at: float) -> None:
        if self.root_state == "REVOKED":
            return
        if self._suspended(pipeline):
            pipeline.parked.append((template_id, False))
            return
        spec = pipeline.graph.nodes[template_id]
        if spec.type == "ConvergeGateway":
            pipeline.arrived[template_id] = pipeline.arrived.get(template_id, 0) + 1
            if pipeline.arrived[template_id] < spec.arrivals:
                return
        own_id = self.node_id(template_id)
        node = Node(own_id, spec, pipeline, version_id(own_id, 0))
        pipeline.nodes[own_id] = node
        if template_id in self._paused_nodes:
            node.state, node.start = "SUSPENDED", at
            self._node_suspended += 1
            return
        self._execute(node, at)

    def _execute(self, node: Node, at: float) -> None:
        node.state, node.start, node.finish, node.callback_expired = "RUNNING", at, None, False
        node.version = version_id(node.id, node.runs)
        node.runs += 1
        spec = node.spec
        if spec.graph is not None:
            self._enter_subprocess(node, spec.graph, at)
        elif spec.type == "ServiceActivity":
            self._run_plugin(node, at)
        elif spec.ways:
            node.way = self._choose_way(node)
            if node.way is None:
                self._fail(node, at, f"all conditions of branches are not meet: {node.id}")
            else:
                self._succeed(node, at)
        else:
            self._succeed(node, at)

    def _choose_way(self, node: Node) -> str | None:
        """The flow by which an exclusive gateway is left: the first whose condition holds, else the default one.

        Only comparisons of plain values are evaluated; of a gateway with others the first way counts.

        :return: a flow of the template; None: no condition holds.
        """
        flows, context = node.pipeline.graph.tree["flows"], self.context(node.pipeline)
        conditions = node.spec.data.get("conditions") or {}
        default = next((flow for flow in node.spec.ways if flows[flow].get("is_default")), None)
        held = {
            flow: _holds(str(render(condition.get("evaluate", ""), context)))
            for flow, condition in conditions.items()
            if flow in node.spec.ways and flow != default
        }
        true = next((flow for flow, holds in held.items() if holds), default)
        if true is not None or (held and None not in held.values()):
            return true
        return next(iter(node.spec.ways))

    def _enter_subprocess(self, node: Node, graph: Graph, at: float) -> None:
        context = self.context(node.pipeline)
        values = {key: render(constant["value"], context) for key, constant in graph.constants.items()}
        node.inputs = {key[2:-1]: value for key, value in values.items()}
        node.child = Pipeline(node.id, graph, values, owner=node)
        self._enter(node.child, graph.start, at)

    def _run_plugin(self, node: Node, at: float) -> None:
        context = self.context(node.pipeline)
        data = node.spec.data["component"].get("data") or {}
        own_inputs = {key: item["value"] for key, item in data.items()}
        node.inputs = render(own_inputs if node.given_inputs is None else node.given_inputs, context)
        code, version = node.plugin, node.version
        if code not in PLUGINS:
            return  # no such plugin: it runs for ever
        node.outputs["_result"] = True
        timeout = node.spec.data.get("timeout_config") or {}
        if timeout.get("enable"):
            self._after(at + timeout["seconds"], lambda due: self._time_out(node, version, due))
        if code == "pause_node":
            return
        if code == "subprocess_plugin":
            self._hooks.start_child(self, node, at)
            return
        seconds = node.spec.behaviour.seconds
        if code == "sleep_timer":
            timing = node.inputs.get("bk_timing")
            node.outputs |= {"business_tz": "Asia/Shanghai", "timing_time": at + _number(timing)}
            seconds = timing if seconds is None else seconds
        self._after(at + _number(render(seconds, context)), lambda due: self._plugin_done(node, version, due))

    def _time_out(self, node: Node, version: str, at: float) -> None:
        if node.version == version and node.state == "RUNNING":
            self._changing(at)
            self._forced_fail(node, at, "node timeout")

    def _plugin_done(self, node: Node, version: str, at: float) -> None:
        if node.version != version or node.state != "RUNNING" or self.root_state == "REVOKED":
            return
        behaviour = node.spec.behaviour
        failed = behaviour.fail is None or node.runs <= behaviour.fail
        if behaviour.fail_unless is not None:
            failed = any(node.inputs.get(key) != value for key, value in behaviour.fail_unless.items())
        self._changing(at)
        if failed:
            node.outputs |= behaviour.failed_outputs
            self._fail(node, at, behaviour.message)
        else:
            node.outputs |= behaviour.outputs
            self._succeed(node, at)

    def _fail(self, node: Node, at: float, ex_data: str) -> None:
        node.finish = at
        node.ex_data = node.outputs["ex_data"] = ex_data
        if "_forced_failed" not in node.outputs:
            node.outputs["_result"] = False
        if node.spec.data.get("error_ignorable"):
            node.state, node.error_ignored = "FINISHED", True
            self._leave(node, at)
            return
        node.state = "FAILED"
        self._failed += 1
        auto_retry = auto_retry_of(node.spec) if self.retries_by_itself else None
        if auto_retry is not None and node.auto_retry_times < auto_retry.times:
            version = node.version
            self._after(at + auto_retry.interval, lambda due: self._auto_retry(node, version, due))
        else:
            self._hooks.ended(self, False, at, node)

    def _auto_retry(self, node: Node, version: str, at: float) -> None:
        if node.version == version and node.state == "FAILED" and self.root_state == "RUNNING":
            self._changing(at)
            node.auto_retry_times += 1
            self._retry(node, at)

    def _succeed(self, node: Node, at: float) -> None:
        node.state, node.finish = "FINISHED", at
        self._leave(node, at)

    def _leave(self, node: Node, at: float) -> None:
        if node.spec.type == "EmptyEndEvent":
            owner = node.pipeline.owner
            if owner is None:
                self._finish(at)
            else:
                owner.outputs = {
                    key: self.value(node.pipeline, key)
                    for key in node.pipeline.graph.tree["outputs"]
                    if key in node.pipeline.constants
                }
                self._succeed(owner, at)
        for target in node.spec.targets if node.way is None else [node.spec.ways[node.way]]:
            self._enter(node.pipeline, target, at)

    def _finish(self, at: float) -> None:
        self._changing(at)
        self.root_state = "FINISHED"
        self.root_finish = at
        constants = self.graph.constants
        keys = [key for key in self.graph.tree["outputs"] if key in constants]
        # SOPS gives outputs in no order that a caller could rely on.
        keys.sort(key=lambda key: node_id(self.id, key))
        self.outputs = [
            {"key": key, "value": self.value(self.pipeline, key), "name": constants[key]["name"]} for key in keys
        ]
        self._end(at)
        self._hooks.ended(self, True, at)

    def _end(self, at: float) -> None:
        self.finish_time = at
        self.current_flow = "finished"
        self._events.clear()

    # ---- variables ----

    def context(self, pipeline: Pipeline) -> dict[str, Any]:
        """Values of a pipeline's variables by key, as far as they are known."""
        context: dict[str, Any] = {}
        rendered: dict[str, Any] = {}
        for key, constant in pipeline.graph.constants.items():
            if constant["source_type"] == "component_outputs":
                for own_id, (output, *_) in constant["source_info"].items():
                    node = pipeline.nodes.get(self.node_id(own_id))
                    if node is not None and output in node.outputs:
                        context[key] = node.outputs[output]
            else:
                rendered[key] = pipeline.constants[key]
        for _ in range(len(rendered)):  # constants may refer to constants
            ready = {key: render(value, context) for key, value in rendered.items()}
            if all(context.get(key, rendered) == value for key, value in ready.items()):
                break
            context.update(ready)
        return context

    def value(self, pipeline: Pipeline, key: str) -> Any:
        """Value of an output; its own key if the node that makes it never put it out."""
        return self.context(pipeline).get(key, key)


class Hooks:
    """What the engine tells its surroundings. All do nothing here."""

    def ended(self, task: Task, success: bool, at: float, failed: Node | None = None) -> None:
        """The task has finished or was revoked, or one of its nodes has failed and is not retried by SOPS itself.

        :param failed: the node.
        """

    def start_child(self, task: Task, node: Node, at: float) -> None:
        """Start the task of an independent subprocess."""


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


def elapsed(start: float | None, finish: float | None, now: float) -> int:
    """Seconds from start to end, or until now."""
    return 0 if start is None else round((now if finish is None else finish) - start)


def _holds(condition: str) -> bool | None:
    """Whether a comparison of plain values holds; None: it is none."""
    match = re.fullmatch(r"\s*(.+?)\s*(==|!=)\s*(.+?)\s*", condition)
    if match is None:
        return None
    left, sign, right = match.groups()
    return (left.strip("'\"") == right.strip("'\"")) is (sign == "==")


def _number(value: Any) -> float:
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return 0.0
