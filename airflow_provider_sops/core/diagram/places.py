# SPDX-License-Identifier: Apache-2.0
"""Where the nodes of a diagram stand: as ``location`` says, else as SOPS places those of a new flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from airflow_provider_sops.core.diagram.shapes import Kind, Shape, kind_of, objects
from airflow_provider_sops.core.text import text_of

Point = tuple[float, float]

#: Where SOPS puts the first node, and on which line its middle and those to the right of it are; how far below that
#: the next branch is (recorded from SOPS 3.34).
_LEFT, _MIDDLE, _ROW = 60, 127, 108
#: How far to the right of a node SOPS puts what follows it.
_STEPS = {Kind.START: 110, Kind.TASK: 225, Kind.SUBPROCESS: 225}
_STEP_OF_GATEWAY = 85
#: Farther than this SOPS' own page cannot scroll; such a place is none.
_FARTHEST = 1_000_000


def places(tree: Mapping[str, Any], nodes: Iterable[Shape], ways: Iterable[tuple[str, str]]) -> dict[str, Point]:
    """Return the upper left corner of each node.

    :param ways: source and target of each line.
    :return: as ``location`` has them if it has all; else as :func:`lay_out` does.
    """
    nodes = list(nodes)
    told = {text_of(one.get("id")): point for one in objects(tree.get("location")) if (point := _point(one))}
    if nodes and all(node.id in told for node in nodes):
        return told
    return lay_out(nodes, list(ways))


def unknown_shapes(tree: Mapping[str, Any], nodes: Iterable[Shape]) -> list[Shape]:
    """Return what ``location`` has beside the tree's nodes; SOPS draws it too."""
    known = {node.id for node in nodes}
    found = [one for one in objects(tree.get("location")) if text_of(one.get("id")) not in known and _point(one)]
    return [Shape(text_of(one.get("id")), kind_of(one.get("type")), text_of(one.get("name"))) for one in found]


def _point(place: Mapping[str, Any]) -> Point | None:
    point = (_number(place.get("x")), _number(place.get("y")))
    return None if point[0] is None or point[1] is None else (point[0], point[1])


def _number(value: object) -> float | None:
    if isinstance(value, str):  # some editors have written texts
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return value if abs(value) <= _FARTHEST else None


def lay_out(nodes: list[Shape], ways: list[tuple[str, str]]) -> dict[str, Point]:
    """Place nodes as SOPS does in a new flow: each to the right of those before it, branches below each other.

    :param ways: source and target of each line.
    """
    known = {node.id for node in nodes}
    ways = [(source, target) for source, target in ways if source in known and target in known]
    lefts = _lefts(nodes, ways)
    before: dict[str, list[str]] = {}
    for source, target in ways:
        before.setdefault(target, []).append(source)
    rows: dict[str, int] = {}
    taken: dict[int, list[tuple[int, int]]] = {}
    placed: dict[str, Point] = {}
    for node in sorted(nodes, key=lambda node: lefts[node.id]):  # stable: as they stand in the tree
        left, (width, height) = lefts[node.id], node.kind.size
        row = min((rows[source] for source in before.get(node.id, ()) if source in rows), default=0)
        while any(start < left + width and left < end for start, end in taken.setdefault(row, [])):
            row += 1
        taken[row].append((left, left + width))
        rows[node.id] = row
        placed[node.id] = (left, _MIDDLE + row * _ROW - height // 2)
    return placed


def _lefts(nodes: list[Shape], ways: list[tuple[str, str]]) -> dict[str, int]:
    """Go the longest way to each node; a way back, as loops have it, does not count."""
    after: dict[str, list[str]] = {}
    for source, target in ways:
        after.setdefault(source, []).append(target)
    order, back = _depth_first([node.id for node in nodes], after)
    kinds = {node.id: node.kind for node in nodes}
    lefts = {node.id: _LEFT for node in nodes}
    for one in reversed(order):
        for target in after.get(one, ()):
            if (one, target) not in back:
                lefts[target] = max(lefts[target], lefts[one] + _STEPS.get(kinds[one], _STEP_OF_GATEWAY))
    return lefts


def _depth_first(ids: list[str], after: Mapping[str, list[str]]) -> tuple[list[str], set[tuple[str, str]]]:
    """Walk a graph without recursion: its nodes, each after all that it leads to, and the ways that lead back."""
    order: list[str] = []
    back: set[tuple[str, str]] = set()
    seen: set[str] = set()
    for first in ids:
        if first in seen:
            continue
        seen.add(first)
        open_: dict[str, int] = {first: 0}
        while open_:
            one, index = next(reversed(open_.items()))
            targets = after.get(one, ())
            if index >= len(targets):
                order.append(one)
                del open_[one]
                continue
            open_[one] = index + 1
            target = targets[index]
            if target in open_:
                back.add((one, target))
            elif target not in seen:
                seen.add(target)
                open_[target] = 0
    return order, back
