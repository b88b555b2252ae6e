# SPDX-License-Identifier: Apache-2.0
"""A task of the fake SOPS: what SOPS itself knows of it, and what can be done to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from airflow_provider_sops.testing.engine import operations
from airflow_provider_sops.testing.engine.flow import Flow
from airflow_provider_sops.testing.engine.node import Node, all_specs, id_in_task, walk
from airflow_provider_sops.testing.refusals import INVALID_OPERATION, Refused
from airflow_provider_sops.testing.templates.ids import node_id
from airflow_provider_sops.testing.templates.template import Graph, Spec


class Operation(NamedTuple):
    """Something that somebody asked a task to do, refused or not."""

    time: float
    user: str
    action: str


class Record(NamedTuple):
    """What somebody has done on SOPS' page."""

    at: float
    operator: str
    action: str
    node_id: str


class Hooks:
    """What a task tells its surroundings. All do nothing here."""

    def ended(self, task: Task, success: bool, at: float, failed: Node | None = None) -> None:
        """The task has finished or was revoked, or one of its nodes has failed and is not retried by SOPS itself.

        :param failed: the node.
        """

    def start_child(self, task: Task, node: Node, at: float) -> None:
        """Start the task of an independent subprocess."""


@dataclass(kw_only=True, eq=False, repr=False)
class Task:
    """A task of the fake SOPS.

    :param id: its number.
    :param retries_by_itself: whether SOPS retries nodes by itself.
    :ivar outputs: as get_task_detail gives them, dicts with ``key``, ``value`` and ``name``; empty until the end.
    :ivar start_time: when it was started, in seconds since the epoch; None: it was not.
    :ivar finish_time: when it ended; None: it has not.
    :ivar starts: the times at which the engine really started it; more than one would be an error.
    :ivar operations: ``(time, user, action)`` of everything that was asked and done.
    """

    id: int
    create_time: float
    retries_by_itself: InitVar[bool]
    hooks: Hooks
    name: str
    project_id: int
    graph: Graph
    constants: dict[str, Any]
    creator: str
    template_id: int | None
    template_source: str
    flow_type: str = "common"
    create_method: str = "api"
    callback_url: str = ""
    callback_version: str = ""
    is_child: bool = False
    parent: tuple[int, str] | None = None  # of a child task: the parent's id and its node
    child_ids: list[int] = field(default_factory=list)
    executor: str = ""
    is_started: bool = False
    reserved: bool = False  # the first engine has a row for it although it has not started
    start_time: float | None = None
    finish_time: float | None = None
    expired: bool = False
    deleted: bool = False
    broken: bool = False  # its status cannot be computed
    starts: list[float] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self, retries_by_itself: bool) -> None:
        self.current_flow = "func_claim" if self.flow_type == "common_func" else "execute_task"
        self.flow = Flow(
            self.id,
            self.graph,
            self.constants,
            retries=retries_by_itself,
            on_finish=self._finish,
            on_failure=lambda node, at: self.hooks.ended(self, False, at, node),
            start_child=lambda node, at: self.hooks.start_child(self, node, at),
        )
        self._queued: list[str] = []  # starts that no worker has taken up, by user

    # ---- looking ----

    @property
    def state(self) -> str:
        """The state as SOPS shows it."""
        return "EXPIRED" if self.expired else self.flow.shown_state

    @property
    def root_id(self) -> str:
        """Id of the engine's pipeline."""
        return self.flow.id

    @property
    def root_state(self) -> str | None:
        """The engine's state: None before the start, RUNNING, SUSPENDED, FINISHED or REVOKED."""
        return self.flow.state

    @property
    def nodes(self) -> dict[str, Node]:
        """Every node reached so far by id, those of subprocesses included."""
        return {node.id: node for node in walk(self.flow.root)}

    def node(self, name: str) -> Node:
        """The reached node with this name.

        :raises KeyError: none has it.
        """
        for node in walk(self.flow.root):
            if node.name == name:
                return node
        raise KeyError(name)

    def node_id(self, template_node_id: str) -> str:
        """Id in this task of a node (or flow) of its template."""
        return id_in_task(self.id, template_node_id)

    @cached_property
    def _specs(self) -> dict[str, Spec]:
        return {self.node_id(spec.id): spec for spec in all_specs(self.graph)}

    def spec(self, own_id: str) -> Spec | None:
        """The node of the template for a node id of this task."""
        return self._specs.get(own_id)

    def find_id(self, name: str) -> str:
        """Id in this task of the node with this name, reached or not.

        :raises KeyError: none has it.
        """
        for own_id, spec in self._specs.items():
            if spec.name == name:
                return own_id
        raise KeyError(name)

    # ---- through time ----

    def queue_start(self, now: float, user: str, delay: float | None) -> None:
        """Queue a start, as start_task does: a worker takes it up later, or never.

        :param delay: seconds until a worker takes it up; None: no worker lives.
        """
        if delay is None:
            self._queued.append(user)
        else:
            self.flow.let_happen(now + delay, lambda at: self._start(at, user))

    def take_up_queued(self, now: float) -> None:
        """A worker takes up what is queued."""
        queued, self._queued = self._queued, []
        for user in queued:
            self.queue_start(now, user, 0)

    def _start(self, at: float, user: str) -> None:
        if self.starts or self.deleted or self.current_flow != "execute_task":
            return  # SOPS' worker looks again and drops the message
        if not self.graph.tree["activities"]:
            return  # the engine refuses a tree without nodes, and nobody hears of it
        self.flow.changing(at)
        self.is_started = True
        self.executor = user
        self.start_time = at if self.start_time is None else self.start_time
        self.starts.append(at)
        self.flow.begin(at)

    def _finish(self, at: float) -> None:
        # SOPS gives outputs in no order that a caller could rely on.
        values = sorted(self.flow.root.outputs().items(), key=lambda item: node_id(self.id, item[0]))
        names = {key: constant["name"] for key, constant in self.graph.constants.items()}
        self.outputs = [{"key": key, "value": value, "name": names[key]} for key, value in values]
        self._end(at)
        self.hooks.ended(self, True, at)

    def _end(self, at: float) -> None:
        self.finish_time = at
        self.current_flow = "finished"

    def expire(self, now: float) -> None:
        """The engine's data of the task are gone."""
        self.expired = True
        self.flow.forget_events()
        self._end(now if self.finish_time is None else self.finish_time)

    def child_ended(self, at: float, own_id: str, success: bool, ex_data: str) -> None:
        """The task of an independent subprocess has ended, or failed.

        :param own_id: id of the node that it runs for.
        """
        node = self.nodes[own_id]
        self.flow.changing(at)
        if success and node.state in ("RUNNING", "FAILED"):  # a person may have repaired a failed one
            self.flow.succeed(node, at)
        elif node.state == "RUNNING":
            self.flow.fail(node, at, ex_data)

    # ---- operations ----

    def record(self, now: float, user: str, action: str, node_id: str = "") -> None:
        """Write down what somebody has done on SOPS' page; of the API SOPS keeps no such record."""
        self.records.append(Record(now, user, action, node_id))

    def note(self, now: float, user: str, action: str) -> None:
        """Write down that somebody did something."""
        self.operations.append(Operation(now, user, action))

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
        if action not in operations.TASK_ACTIONS:
            raise Refused("task command is invalid", INVALID_OPERATION)
        if self.current_flow != "execute_task":
            raise Refused(f"task with current_flow:{self.current_flow} cannot be {action}ed", INVALID_OPERATION)
        if not self.is_started:
            raise Refused("task not started", INVALID_OPERATION)
        operations.operate(self.flow, action, now)
        if action == "revoke":
            self._end(now)
            self.hooks.ended(self, False, now)

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
        """Retry, skip, end, answer, pause or resume one node; as a :class:`~operations.NodeOrder` says.

        :raises KeyError: the task has no such node.
        :raises Refused: SOPS refuses it.
        """
        spec = self._specs[own_id]
        if action not in operations.NODE_CALLS:
            raise Refused("task command is invalid")
        self.note(now, user, f"{action} {spec.name}")
        order = operations.NodeOrder(action, now, user, inputs, data, flow_id)
        node = self.nodes.get(own_id)
        if node is None:
            operations.pause_unreached(self.flow, spec.id, order)
        else:
            operations.operate_node(self.flow, node, order)
