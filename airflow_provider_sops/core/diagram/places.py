# SPDX-License-Identifier: Apache-2.0
"""Where the nodes of a diagram stand: as ``location`` says, or in columns where a tree was made without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from airflow_provider_sops.core.diagram.shapes import Kind, Shape, kind_of, objects
from airflow_provider_sops.core.text import text_of

Point = tuple[float, float]

#: Where SOPS puts the first node, and how far it puts the next to the right and below (recorded from SOPS 3.34).
_LEFT, _TOP = 60, 100
_COLUMN, _ROW = 225, 108
#: Farther than this SOPS' own page cannot scroll; such a place is none.
_FARTHEST = 1_000_000


def places(tree: Mapping[str, Any], nodes: Iterable[Shape], ways: Iterable[tuple[str, str]]) -> dict[str, Point]:
    """Return the upper left corner of each node.

    :param ways: source and target of each line.
    :return: as ``location`` has them if it has all; else all in columns, so that none lies upon another.
    """
    nodes = list(nodes)
    told = {text_of(one.get("id")): point for one in objects(tree.get("location")) if (point := _point(one))}
    if nodes and all(node.id in told for node in nodes):
        return told
    return _in_columns(nodes, list(ways))


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


def _in_columns(nodes: list[Shape], ways: list[tuple[str, str]]) -> dict[str, Point]:
    """Put each node a column to the right of the last of those before it, side by side branches below each other."""
    known = {node.id for node in nodes}
    ways = [(source, target) for source, target in ways if source in known and target in known]
    columns = _columns(nodes, ways)
    before: dict[str, list[str]] = {}
    for source, target in ways:
        before.setdefault(target, []).append(source)
    rows: dict[str, int] = {}
    taken: dict[int, set[int]] = {}
    placed: dict[str, Point] = {}
    for node in sorted(nodes, key=lambda node: columns[node.id]):  # stable: as they stand in the tree
        column = columns[node.id]
        row = min((rows[source] for source in before.get(node.id, ()) if source in rows), default=0)
        while row in taken.setdefault(column, set()):
            row += 1
        taken[column].add(row)
        rows[node.id] = row
        width, height = node.kind.size
        middle = _TOP + Kind.TASK.size[1] / 2 + row * _ROW
        placed[node.id] = (_LEFT + column * _COLUMN + (Kind.TASK.size[0] - width) / 2, middle - height / 2)
    return placed


def _columns(nodes: list[Shape], ways: list[tuple[str, str]]) -> dict[str, int]:
    """Count the longest way to each node; a way back, as loops have it, does not count."""
    after: dict[str, list[str]] = {}
    for source, target in ways:
        after.setdefault(source, []).append(target)
    order, back = _depth_first([node.id for node in nodes], after)
    columns = {node.id: 0 for node in nodes}
    for one in reversed(order):
        for target in after.get(one, ()):
            if (one, target) not in back:
                columns[target] = max(columns[target], columns[one] + 1)
    return columns


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
