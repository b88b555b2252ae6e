# SPDX-License-Identifier: Apache-2.0
"""What people do to a task and its nodes, and what the engine refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.testing.engine.flow import Flow
from airflow_provider_sops.testing.engine.node import Node, id_in_task
from airflow_provider_sops.testing.engine.tracebacks import (
    INVALID,
    NODE_CALLS,
    PAUSE_PIPELINE,
    RESUME_PIPELINE,
    no_transit,
    refused_by_engine,
)
from airflow_provider_sops.testing.refusals import Refused

# ---- to a task ----

TASK_ACTIONS = ("pause", "resume", "revoke")


def operate(flow: Flow, action: str, now: float) -> None:
    """Pause, resume or revoke a task that was started.

    :param action: one of :data:`TASK_ACTIONS`.
    :raises Refused: it is not in the state for that.
    """
    flow.changing(now)
    if action == "pause":
        if flow.state != "RUNNING":
            raise no_transit(PAUSE_PIPELINE, flow.id, flow.state, "SUSPENDED")
        flow.state, flow.root.suspended = "SUSPENDED", True
    elif action == "resume":
        if flow.state != "SUSPENDED":
            raise refused_by_engine(RESUME_PIPELINE, f"pipeline({flow.id}) state is: {flow.state}")
        flow.state, flow.root.suspended = "RUNNING", False
        flow.go_on(flow.root, now)
    else:
        flow.stop()


# ---- to a node ----


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """What somebody wants to be done to a node.

    :param inputs: of a retry: they take the place of all the node's inputs, if there are any.
    :param data: of a callback: becomes the node's output ``callback_data``; None: no data.
    :param flow_id: of ``skip_exg``: the flow out of the gateway that is taken.
    """

    action: str
    at: float
    user: str
    inputs: Mapping[str, Any] | None
    data: Any
    flow_id: str | None

    def refusal(self, message: str, error: str = INVALID) -> Refused:
        """What SOPS says when its engine refuses it."""
        return refused_by_engine(NODE_CALLS[self.action], message, error)

    def no_transit(self, node: Node, wanted: str) -> Refused:
        """What SOPS says when the node cannot come from its state into another one."""
        return no_transit(NODE_CALLS[self.action], node.id, node.state, wanted)


def operate_node(flow: Flow, node: Node, order: NodeOrder) -> None:
    """Do something to a node that was reached.

    :raises Refused: SOPS refuses it.
    """
    flow.changing(order.at)
    if order.action not in _ACTS:
        raise order.refusal(f"{node.id} is in state {node.state}")
    _ACTS[order.action](flow, node, order)


def pause_unreached(flow: Flow, template_id: str, order: NodeOrder) -> None:
    """Pause a node that was not reached: it waits when it is. Nothing else can be done to it.

    :raises Refused: something else is wanted.
    """
    if order.action != "pause":
        raise order.refusal("State matching query does not exist.", "pipeline.eri.models.State.DoesNotExist")
    flow.paused_nodes.add(template_id)


def _check_failed(node: Node, order: NodeOrder) -> None:
    if node.state != "FAILED":
        raise order.refusal(f"{node.id} state is not FAILED, actual {node.state}")


def _retry(flow: Flow, node: Node, order: NodeOrder) -> None:
    _check_failed(node, order)
    if not node.spec.data.get("retryable", node.spec.data.get("can_retry", True)):
        raise order.refusal(f"node({node.id}) can not retry")
    if order.inputs:
        node.given_inputs = dict(order.inputs)
    flow.retry(node, order.at)


def _skip(flow: Flow, node: Node, order: NodeOrder) -> None:
    _check_failed(node, order)
    if not node.spec.data.get("skippable", node.spec.data.get("isSkipped", True)):
        raise order.refusal(f"node({node.id}) can not skip")
    node.skip = True
    flow.succeed(node, order.at)


def _skip_gateway(flow: Flow, node: Node, order: NodeOrder) -> None:
    _check_failed(node, order)
    ways = {id_in_task(flow.task_id, way): way for way in node.spec.ways}
    if order.flow_id not in ways:
        raise order.refusal(repr(order.flow_id), "KeyError")
    node.way, node.skip = ways[order.flow_id], True
    flow.succeed(node, order.at)


def _callback(flow: Flow, node: Node, order: NodeOrder) -> None:
    if node.state not in ("RUNNING", "FAILED"):
        raise order.refusal(f"can not find sleep process with current node id: {node.id}")
    if node.state == "FAILED":
        if node.callback_expired:
            raise order.refusal("schedule is already expired")
        node.callback_expired = True
    if node.state == "FAILED" or node.plugin != "pause_node" or flow.state == "REVOKED":
        return  # SOPS says that it is done, and nothing changes
    if order.data is not None:
        node.outputs["callback_data"] = order.data
    flow.succeed(node, order.at)


def _forced_fail(flow: Flow, node: Node, order: NodeOrder) -> None:
    if node.state != "RUNNING":
        raise order.refusal(f"{node.id} state is not RUNNING, actual: {node.state}")
    flow.force_fail(node, order.at, f"The node has been terminated by {order.user}.")


def _resume(flow: Flow, node: Node, order: NodeOrder) -> None:
    if node.state != "SUSPENDED":
        raise order.no_transit(node, "READY")
    flow.paused_nodes.discard(node.spec.id)
    flow.execute(node, order.at)


def _pause_subprocess(flow: Flow, node: Node, order: NodeOrder) -> None:
    if node.child is None or node.state != "RUNNING":
        raise order.no_transit(node, "SUSPENDED")
    node.state, node.child.suspended = "SUSPENDED", True


def _resume_subprocess(flow: Flow, node: Node, order: NodeOrder) -> None:
    if node.child is None or node.state != "SUSPENDED":
        raise order.refusal(f"pipeline({node.id}) state is: {node.state}")
    node.state, node.child.suspended = "RUNNING", False
    flow.go_on(node.child, order.at)


_ACTS: Mapping[str, Callable[[Flow, Node, NodeOrder], None]] = {
    "retry": _retry,
    "skip": _skip,
    "skip_exg": _skip_gateway,
    "callback": _callback,
    "forced_fail": _forced_fail,
    "resume": _resume,
    "pause_subproc": _pause_subprocess,
    "resume_subproc": _resume_subprocess,
}
