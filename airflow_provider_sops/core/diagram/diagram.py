# SPDX-License-Identifier: Apache-2.0
"""A diagram: a pipeline tree and what has become of its nodes, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core.diagram.lines import Box, Way, route, ways
from airflow_provider_sops.core.diagram.places import Point, places, unknown_shapes
from airflow_provider_sops.core.diagram.shapes import Kind, Shape, shapes
from airflow_provider_sops.core.models import NodeStatus
from airflow_provider_sops.core.text import DEEPEST, text_of

if TYPE_CHECKING:
    from airflow_provider_sops.core.states import TaskState

_WHERE_BRANCHES_MEET = (Kind.CONVERGE, Kind.END)
#: Free space around what is drawn.
_MARGIN = 30.0


@dataclass(frozen=True, slots=True)
class Node:
    """A node where it is drawn, and what has become of it."""

    shape: Shape
    box: Box
    #: ``None`` while it has not started
    status: NodeStatus | None

    @property
    def state(self) -> TaskState | None:
        """Its state; ``None`` while it has not started."""
        return self.status.state if self.status else None


@dataclass(frozen=True, slots=True)
class Line:
    """A line from node to node."""

    way: Way
    points: tuple[Point, ...]
    #: both its ends have started
    was_gone: bool


@dataclass(frozen=True, slots=True)
class Diagram:
    """All that is drawn of one level of a pipeline tree; subprocesses are diagrams of their own."""

    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    #: what it covers
    box: Box

    def node(self, node_id: str) -> Node | None:
        """Find a node."""
        return next((node for node in self.nodes if node.shape.id == node_id), None)


def draw(tree: Mapping[str, Any], statuses: Iterable[NodeStatus]) -> Diagram:
    """Draw one level of a pipeline tree.

    :param tree: of a task, or of one of its subprocesses.
    :param statuses: of the nodes on this level; those that are missing have not started.
    """
    by_id = {status.id: status for status in statuses}
    known, lines = list(shapes(tree)), ways(tree)
    corners = places(tree, known, ((way.source, way.target) for way in lines))
    drawn = known + [shape for shape in unknown_shapes(tree, known) if shape.id in corners]
    nodes = [Node(shape, Box(*corners[shape.id], *shape.kind.size), by_id.get(shape.id)) for shape in drawn]
    at = {node.shape.id: node for node in nodes}
    routed = tuple(
        Line(
            way,
            tuple(route(way, source.box, target.box, turns_late=target.shape.kind in _WHERE_BRANCHES_MEET)),
            bool(source.status and target.status),
        )
        for way in lines
        if (source := at.get(way.source)) and (target := at.get(way.target))
    )
    return Diagram(tuple(nodes), routed, _cover(nodes, routed))


def _cover(nodes: Iterable[Node], lines: Iterable[Line]) -> Box:
    points = [point for line in lines for point in line.points]
    for node in nodes:
        points += [(node.box.x, node.box.y), (node.box.x + node.box.width, node.box.y + node.box.height)]
    if not points:
        return Box(0, 0, 2 * _MARGIN, 2 * _MARGIN)
    left, top = (min(point[axis] for point in points) - _MARGIN for axis in (0, 1))
    right, bottom = (max(point[axis] for point in points) + _MARGIN for axis in (0, 1))
    return Box(left, top, right - left, bottom - top)


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a task: the task itself, or a subprocess in it."""

    tree: Mapping[str, Any]
    statuses: tuple[NodeStatus, ...]
    #: ids and names of the subprocesses it stands in, itself last
    stack: tuple[str, ...] = ()
    path: tuple[str, ...] = ()


def descend(tree: Mapping[str, Any], statuses: tuple[NodeStatus, ...], stack: Iterable[str]) -> Level | None:
    """Go down to a subprocess.

    :param tree: of the task.
    :param stack: ids of subprocess nodes, from the outermost on.
    :return: ``None`` when there is none.
    """
    level = Level(tree, statuses)
    for node_id in stack:
        found = level.tree.get("activities")
        node = found.get(node_id) if isinstance(found, Mapping) else None
        inner = node.get("pipeline") if isinstance(node, Mapping) else None
        if not isinstance(node, Mapping) or not isinstance(inner, Mapping) or len(level.stack) >= DEEPEST:
            return None
        status = next((one for one in level.statuses if one.id == node_id), None)
        level = Level(
            inner,
            status.children if status else (),
            (*level.stack, node_id),
            (*level.path, text_of(node.get("name")) or node_id),
        )
    return level


def opens(tree: Mapping[str, Any], shape: Shape) -> bool:
    """Return whether a node is a subprocess that can be drawn."""
    found = tree.get("activities")
    node = found.get(shape.id) if isinstance(found, Mapping) else None
    return shape.kind is Kind.SUBPROCESS and isinstance(node, Mapping) and isinstance(node.get("pipeline"), Mapping)
