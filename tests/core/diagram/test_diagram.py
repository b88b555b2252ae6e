# SPDX-License-Identifier: Apache-2.0
"""Diagrams of trees that no recording has: loops, sides of nodes, conditions, and trees that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_sops.core.diagram.diagram import descend, draw
from airflow_provider_sops.core.diagram.shapes import Kind
from airflow_provider_sops.core.models import NodeStatus
from airflow_provider_sops.core.states import TaskState


def tree(*ways: str, **nodes: str) -> dict[str, Any]:
    """A tree of nodes by their kinds and of ways like ``a-b``, without places."""
    gateways = {name: {"id": name, "type": kind} for name, kind in nodes.items() if "Gateway" in kind}
    activities = {name: {"id": name, "type": kind, "name": name} for name, kind in nodes.items() if "Acti" in kind}
    flows = {way: dict(zip(("id", "source", "target"), (way, *way.split("-")), strict=True)) for way in ways}
    return {
        "start_event": {"id": "s", "type": "EmptyStartEvent", "name": ""},
        "end_event": {"id": "e", "type": "EmptyEndEvent", "name": ""},
        "activities": activities,
        "gateways": gateways,
        "flows": flows,
    }


LOOP = tree("s-a", "a-x", "x-a", "x-e", a="ServiceActivity", x="ExclusiveGateway")


def test_a_loop_leads_back_around_its_nodes() -> None:
    diagram = draw(LOOP, ())
    at = {node.shape.id: node.box for node in diagram.nodes}
    assert at["s"].x < at["a"].x < at["x"].x < at["e"].x
    (back,) = [line for line in diagram.lines if line.way.id == "x-a"]
    assert max(y for _, y in back.points) > at["a"].y + at["a"].height
    assert back.points[-1] == (at["a"].x, at["a"].y + at["a"].height / 2)


def test_conditions_stand_at_their_lines() -> None:
    gateway = LOOP["gateways"]["x"] | {"conditions": {"x-a": {"evaluate": "${n} < 3"}, "x-e": {"name": "enough"}}}
    labels = {line.way.id: line.way.label for line in draw({**LOOP, "gateways": {"x": gateway}}, ()).lines}
    assert labels == {"s-a": "", "a-x": "", "x-a": "${n} < 3", "x-e": "enough"}


@pytest.mark.parametrize("source", ["Left", "Right", "Top", "Bottom"])
@pytest.mark.parametrize("target", ["Left", "Right", "Top", "Bottom"])
def test_lines_leave_and_reach_the_sides_that_they_name(source: str, target: str) -> None:
    places = [{"id": one, "x": x, "y": y} for one, x, y in (("s", 0, 0), ("a", 300, 200), ("e", 900, 0))]
    line = {"id": "1", "source": {"id": "s", "arrow": source}, "target": {"id": "a", "arrow": target}}
    diagram = draw({**tree("s-a", a="ServiceActivity"), "location": places, "line": [line]}, ())
    (drawn,) = diagram.lines
    sides = {"Left": (0, 0.5), "Right": (1, 0.5), "Top": (0.5, 0), "Bottom": (0.5, 1)}
    assert drawn.points[0] == (44 * sides[source][0], 44 * sides[source][1])
    assert drawn.points[-1] == (300 + 150 * sides[target][0], 200 + 54 * sides[target][1])
    for (x1, y1), (x2, y2) in zip(drawn.points, drawn.points[1:], strict=False):
        assert (x1 == x2) != (y1 == y2)


def test_counts_and_states_are_those_of_the_status() -> None:
    status = NodeStatus("a", "a", TaskState.RUNNING, retry=2, loop=3)
    by_id = {node.shape.id: node for node in draw(LOOP, [status, NodeStatus("unknown", "", TaskState.FAILED)]).nodes}
    assert by_id["a"].status is status
    assert by_id["x"].state is None
    assert by_id["x"].shape.kind is Kind.EXCLUSIVE


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"activities": [], "gateways": 1, "flows": "x", "location": {}, "line": None, "start_event": None},
        {"activities": {"a": None, "b": {"component": 1}}, "location": [{"id": "b", "x": "y", "y": None}, 5]},
        {**LOOP, "location": [{"id": "s", "x": float("inf"), "y": 0}, {"id": "a", "x": 1e300, "y": True}]},
        {**LOOP, "line": [{"id": None, "source": 1, "target": {"id": ["a"]}}, {"source": {"id": "s"}}]},
        {**LOOP, "flows": {"1": {"source": "nobody", "target": "a"}, "2": {"source": "a", "target": "a"}}},
        {"activities": {"a": {"type": ["ServiceActivity"], "name": {"x": 1}}}},
    ],
)
def test_what_is_no_tree_is_drawn_as_far_as_it_is_one(broken: dict[str, Any]) -> None:
    diagram = draw(broken, ())
    assert all(abs(node.box.x) < 10**7 for node in diagram.nodes)
    json.dumps([line.points for line in diagram.lines], allow_nan=False)


def test_no_subprocess_is_opened_without_end() -> None:
    endless: dict[str, Any] = {"activities": {}}
    endless["activities"]["a"] = {"name": "a", "pipeline": endless}
    assert descend(endless, (), ["a"] * 10) is not None
    assert descend(endless, (), ["a"] * 1000) is None


def test_a_long_loop_is_drawn_without_recursion() -> None:
    names = [f"n{number}" for number in range(3000)]
    ways = [f"{one}-{other}" for one, other in zip(names, [*names[1:], names[0]], strict=True)]
    assert len(draw(tree(*ways, **dict.fromkeys(names, "ServiceActivity")), ()).nodes) == 3002
