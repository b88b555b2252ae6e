# SPDX-License-Identifier: Apache-2.0
"""What people do to a task and its nodes, and what the engine refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.testing.engine.flow import Flow
from airflow_provider_sops.testing.engine.node import Node, Pipeline, id_in_task
from airflow_provider_sops.testing.refusals import Refused

#: What can be done to a task.
TASK_ACTIONS = ("pause", "resume", "revoke")
_PAUSE, _RESUME = "pause_pipeline(pipeline_id)", "resume_pipeline(pipeline_id)"
#: What can be done to a node: action -> the engine's function for it, with its arguments.
NODE_CALLS = {
    "retry": "retry_node(node_id, data)",
    "skip": "skip_node(node_id)",
    "callback": "callback(node_id, version, data)",
    "forced_fail": "forced_fail_activity(node_id, ex_data, send_post_set_state_signal)",
    "pause": "pause_node_appoint(node_id)",
    "resume": "resume_node_appoint(node_id)",
    "pause_subproc": _PAUSE,
    "resume_subproc": _RESUME,
    "skip_exg": "skip_exclusive_gateway(node_id, flow_id)",
    "skip_cpg": "skip_conditional_parallel_gateway(node_id, flow_ids, converge_gateway_id)",
    "retry_subprocess": "retry_subprocess(node_id)",
}
_INVALID = "bamboo_engine.exceptions.InvalidOperationError"


# ---- how the engine refuses ----


def _refused(call: str, message: str, error: str = _INVALID) -> Refused:
    """What SOPS says: a whole Python traceback (shortened here).

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


def _no_transit(call: str, what: Flow | Node, wanted: str) -> Refused:
    """What SOPS says when something cannot come from its state into another one."""
    return _refused(call, f"can't not transit node({what.id}) state from {what.state} to {wanted}", "RuntimeError")


# ---- to a task ----


def operate(flow: Flow, action: str, now: float) -> None:
    """Pause, resume or revoke a task that was started.

    :param action: one of :data:`TASK_ACTIONS`.
    :raises Refused: it is not in the state for that.
    """
    flow.changing(now)
    if action == "pause":
        _pause_pipeline(flow, flow.root)
    elif action == "resume":
        _resume_pipeline(flow, flow, flow.root, now)
    else:
        flow.stop()


def _pause_pipeline(what: Flow | Node, pipeline: Pipeline | None) -> None:
    """Pause a task, or a node that is a subprocess."""
    if pipeline is None or what.state != "RUNNING":
        raise _no_transit(_PAUSE, what, "SUSPENDED")
    what.state, pipeline.suspended = "SUSPENDED", True


def _resume_pipeline(flow: Flow, what: Flow | Node, pipeline: Pipeline | None, now: float) -> None:
    if pipeline is None or what.state != "SUSPENDED":
        raise _refused(_RESUME, f"pipeline({what.id}) state is: {what.state}")
    what.state, pipeline.suspended = "RUNNING", False
    flow.go_on(pipeline, now)


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

    def refusal(self, message: str, error: str = _INVALID) -> Refused:
        """What SOPS says when its engine refuses it."""
        return _refused(NODE_CALLS[self.action], message, error)


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
        raise _no_transit(NODE_CALLS["resume"], node, "READY")
    flow.paused_nodes.discard(node.spec.id)
    flow.execute(node, order.at)


_ACTS: Mapping[str, Callable[[Flow, Node, NodeOrder], None]] = {
    "retry": _retry,
    "skip": _skip,
    "skip_exg": _skip_gateway,
    "callback": _callback,
    "forced_fail": _forced_fail,
    "resume": _resume,
    "pause_subproc": lambda flow, node, order: _pause_pipeline(node, node.child),
    "resume_subproc": lambda flow, node, order: _resume_pipeline(flow, node, node.child, order.at),
}
