# SPDX-License-Identifier: Apache-2.0
"""The words that the operations on tasks and nodes share."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.sops_releases import SINCE
from airflow_provider_sops.core.models import NodeStatus

CALL_BACK = "It waits for a callback: use the action 'callback'."
#: What helps where nodes cannot be operated.
NO_OPERATE_NODE = (
    f"SOPS has operate_node since {SINCE['operate_node']}; before, its page alone retries and skips nodes."
)


def refused(call: Call, what: str, hint: str | None = None) -> errors.SopsInvalidOperationError:
    """Make the error of what SOPS is not even asked for."""
    return errors.make_error(errors.SopsInvalidOperationError, call, what, hint=hint)


def named(node: NodeStatus) -> str:
    """Return a node's name and id."""
    return f"{node.name!r} (id {node.id})"


def resume_action(node: NodeStatus) -> str:
    """Return the action that resumes a paused node."""
    return "resume_subproc" if node.children else "resume"


def resume_advice(paused: Iterable[NodeStatus]) -> str:
    """Name paused nodes, each with the action that resumes it."""
    each = [f"node {named(node)}, to be resumed by the node action {resume_action(node)!r}" for node in paused]
    return f"{'; '.join(each)}."
