# SPDX-License-Identifier: Apache-2.0
"""The lines of a diagram: from which side of a node to which side of another, in right angles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.core.diagram.places import Point
from airflow_provider_sops.core.diagram.shapes import dicts, objects
from airflow_provider_sops.core.text import text_of

#: How far a line goes straight on before it turns.
_STUB = 20.0
#: What the sides of a node are called, as directions; ``y`` grows downwards.
_SIDES = {"Left": (-1, 0), "Right": (1, 0), "Top": (0, -1), "Bottom": (0, 1)}


@dataclass(frozen=True, slots=True)
class Way:
    """A line before it is known where its ends stand."""

    id: str
    source: str
    target: str
    source_side: str = "Right"
    target_side: str = "Left"
    #: on which condition a gateway goes this way
    label: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a node stands."""

    x: float
    y: float
    width: float
    height: float

    def side(self, name: str) -> Point:
        """Return the middle of a side."""
        across, down = _SIDES[name]
        return (self.x + self.width * (1 + across) / 2, self.y + self.height * (1 + down) / 2)


def ways(tree: Mapping[str, Any]) -> list[Way]:
    """Return the lines of a tree: those of ``line``, and those that only ``flows`` has."""
    labels = dict(_conditions(tree))
    found: dict[tuple[str, str, str], Way] = {}
    for line in objects(tree.get("line")):
        source, target = (end if isinstance(end := line.get(name), Mapping) else {} for name in ("source", "target"))
        way_id = text_of(line.get("id"))
        way = Way(
            way_id,
            text_of(source.get("id")),
            text_of(target.get("id")),
            _side(source.get("arrow"), "Right"),
            _side(target.get("arrow"), "Left"),
            labels.get(way_id, ""),
        )
        found[way.id, way.source, way.target] = way
    drawn = {(way.source, way.target) for way in found.values()}
    for flow_id, flow in dicts(tree.get("flows")):
        way = Way(flow_id, text_of(flow.get("source")), text_of(flow.get("target")), label=labels.get(flow_id, ""))
        if (way.source, way.target) not in drawn:
            found[way.id, way.source, way.target] = way
    return list(found.values())


def _side(name: object, default: str) -> str:
    return name if isinstance(name, str) and name in _SIDES else default


def _conditions(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for _, gateway in dicts(tree.get("gateways")):
        for flow_id, condition in dicts(gateway.get("conditions")):
            yield flow_id, text_of(condition.get("name") or condition.get("evaluate"))
        default = gateway.get("default_condition")
        if isinstance(default, Mapping) and default.get("flow_id"):
            yield text_of(default["flow_id"]), text_of(default.get("name")) or "default"


def route(way: Way, source: Box, target: Box, *, turns_late: bool = False) -> list[Point]:
    """Lead a line from one node to another: straight if it can be, else with right angles.

    :param turns_late: turn just before the target, where branches come together; else just behind the source.
    """
    start, end = source.side(way.source_side), target.side(way.target_side)
    (out_x, out_y), (in_x, in_y) = _SIDES[way.source_side], _SIDES[way.target_side]
    after = (start[0] + out_x * _STUB, start[1] + out_y * _STUB)
    before = (end[0] + in_x * _STUB, end[1] + in_y * _STUB)
    if out_x and in_x:
        if out_x == -in_x and (before[0] - after[0]) * out_x >= 0:
            middle = before[0] if turns_late else after[0]
            points = [start, (middle, start[1]), (middle, end[1]), end]
        else:  # it leads back: around both
            below = max(source.y + source.height, target.y + target.height) + _STUB
            points = [start, after, (after[0], below), (before[0], below), before, end]
    elif out_y and in_y:
        middle = (after[1] + before[1]) / 2
        points = [start, after, (after[0], middle), (before[0], middle), before, end]
    else:
        corner = (before[0], after[1]) if out_x else (after[0], before[1])
        points = [start, after, corner, before, end]
    return _without_needless(points)


def _without_needless(points: list[Point]) -> list[Point]:
    """Leave out the points at which a line does not turn."""
    kept = [points[0]]
    for point, following in zip(points[1:], [*points[2:], None], strict=True):
        if point == kept[-1] and following is not None:
            continue
        if following is not None and (
            kept[-1][0] == point[0] == following[0] or kept[-1][1] == point[1] == following[1]
        ):
            continue
        kept.append(point)
    return kept
