# SPDX-License-Identifier: Apache-2.0
"""The pause node that is asked about: which one is meant, and whether its task has come to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.models import TaskDetail, TaskStatus
from airflow_provider_sops.core.operate.node_checks import PAUSE_PLUGIN
from airflow_provider_sops.core.pipeline_tree import Activity, activities
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.text import storable


@dataclass(frozen=True, slots=True)
class PauseNode:
    """A pause node of a task."""

    id: str
    name: str
    #: names of the subprocesses it stands in, from the outermost on
    path: tuple[str, ...] = ()
    #: the node of the tree; ``None`` where the tree cannot be read
    activity: Activity | None = None


class Place(StrEnum):
    """Where a task is, seen from its pause node."""

    #: it has not come to the node
    AHEAD = "ahead"
    #: the node waits for somebody
    WAITS = "waits"
    #: the node is over: somebody has confirmed it
    PASSED = "passed"


def find_pause_node(detail: TaskDetail, *, node_id: str | None = None, name: str | None = None) -> PauseNode:
    """Find the pause node of a task that is meant: by its id, by its name, or the only one there.

    :raises SopsConfigError: there is none, or several; says which there are.
    """
    nodes = [node for node in activities(detail.pipeline_tree) if node.plugin == PAUSE_PLUGIN]
    field = "sops_node_id" if node_id is not None else "sops_node_name"
    meant = f"pause node with the id {node_id!r}" if node_id is not None else "pause node"
    if node_id is None and name is not None:
        meant = f"pause node named {name!r}"
    found = [
        node
        for node in nodes
        if (node_id is None or node.id == storable(node_id)) and (name is None or node.name == storable(name))
    ]
    if len(found) == 1:
        return PauseNode(found[0].id, found[0].name, found[0].path, found[0])
    subject = f"SOPS task {detail.task_id} {detail.name!r}"
    if not found:
        there = "; ".join(_described(node) for node in nodes) or "none"
        raise SopsConfigError(field, f"{subject} has no {meant}; pause nodes there are: {there}")
    advice = "give sops_node_id" if name is not None else "give sops_node_name or sops_node_id"
    there = "; ".join(_described(node) for node in found)
    raise SopsConfigError(field, f"{subject} has {len(found)} {meant.replace('node', 'nodes', 1)}: {advice} ({there})")


def _described(node: Activity) -> str:
    return f"{node.name!r}, {node.id}, in {' / '.join(node.path) or 'the task itself'}"


def place_of(status: TaskStatus, node_id: str) -> Place:
    """Return where a task is, seen from its pause node; of a status that was read with the task's nodes."""
    node = status.node(node_id)
    if node is None or node.state in (TaskState.READY, TaskState.SUSPENDED, TaskState.CREATED):
        return Place.AHEAD
    if node.state is TaskState.FINISHED:
        return Place.PASSED
    return Place.WAITS if node.state is TaskState.RUNNING else Place.AHEAD
