# SPDX-License-Identifier: Apache-2.0
"""Finding the node of a task that is meant by a name."""

from __future__ import annotations

from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.models import TaskDetail
from airflow_provider_sops.core.pipeline_tree import Activity, activities, gateways
from airflow_provider_sops.core.text import storable


def find_node(detail: TaskDetail, name: str, action: str = "retry") -> Activity:
    """Find the one node of a task with this name; for ``skip_exg`` the one gateway.

    :raises SopsConfigError: there is none, or several; says which there are.
    """
    kind, nodes = "node", list(activities(detail.pipeline_tree))
    if action == "skip_exg":
        kind, nodes = "gateway", list(gateways(detail.pipeline_tree))
    found = [node for node in nodes if node.name == storable(name)]
    if len(found) == 1:
        return found[0]
    subject = f"SOPS task {detail.task_id} {detail.name!r}"
    if found:
        found_in = "; ".join(f"{node.id} in {' / '.join(node.path) or 'the task itself'}" for node in found)
        raise SopsConfigError(
            "sops_node_name", f"{subject} has {len(found)} {kind}s named {name!r}: give sops_node_id ({found_in})"
        )
    names = ", ".join(sorted({repr(node.name) for node in nodes})) or "none"
    raise SopsConfigError("sops_node_name", f"{subject} has no {kind} named {name!r}; there are: {names}")


def check_flow(detail: TaskDetail, node_id: str, flow_id: str) -> None:
    """Refuse a way that does not lead out of a gateway.

    :raises SopsConfigError: says which ways there are.
    """
    ways = next((node.ways for node in gateways(detail.pipeline_tree) if node.id == node_id), {})
    if ways and flow_id not in ways:
        known = ", ".join(f"{flow} to {target!r}" if target else flow for flow, target in ways.items())
        raise SopsConfigError("flow_id", f"no flow {flow_id!r} leads out of gateway {node_id}; there are: {known}")
