# SPDX-License-Identifier: Apache-2.0
"""Every recorded tree is drawn as SOPS itself places it: each node at its ``location``, each line between its ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.diagram.diagram import Diagram, descend, draw, opens
from airflow_provider_sops.core.diagram.shapes import Kind
from airflow_provider_sops.core.models import NodeStatus, readers
from airflow_provider_sops.core.states import TaskState


def trees(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield tree
    for node in tree["activities"].values():
        if "pipeline" in node:
            yield from trees(node["pipeline"])


#: One file for each different tree of the recordings, with the states of its nodes. ``tests/samples`` cuts lists.
FOLDER = Path(__file__).parent / "recorded"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def read(name: str) -> tuple[Mapping[str, Any], tuple[NodeStatus, ...]]:
    """The tree of a recording, and its nodes' statuses."""
    recording = json.loads((FOLDER / f"{name}.json").read_text())
    call = Project(2).call("get_task_status", task_id=recording["id"])
    status = readers.task_status(Answer(call, recording["status"], {}, None))
    return recording["pipeline_tree"], status.nodes


#: Which middle of a side an arrow stands for.
SIDES = {"Left": (0, 0.5), "Right": (1, 0.5), "Top": (0.5, 0), "Bottom": (0.5, 1)}


def test_there_are_trees_of_every_kind() -> None:
    drawn = [draw(tree, ()) for name in NAMES for tree in trees(read(name)[0])]
    kinds = {node.shape.kind for diagram in drawn for node in diagram.nodes}
    assert kinds >= {Kind.START, Kind.END, Kind.TASK, Kind.SUBPROCESS, Kind.PARALLEL, Kind.CONVERGE}


@pytest.mark.parametrize("name", NAMES)
def test_all_is_where_sops_puts_it(name: str) -> None:
    for tree in trees(read(name)[0]):
        check(tree)


def check(tree: Mapping[str, Any]) -> None:
    diagram = draw(tree, ())
    inner = [*tree["activities"], *tree["gateways"], tree["start_event"]["id"], tree["end_event"]["id"]]
    assert {node.shape.id for node in diagram.nodes} == set(inner)
    at = {node.shape.id: node.box for node in diagram.nodes}
    for place in tree.get("location", ()):
        assert (at[place["id"]].x, at[place["id"]].y) == (place["x"], place["y"])
    drawn = {line.way.id: line for line in diagram.lines}
    for line in tree.get("line", ()):
        points = drawn[line["id"]].points
        for end, point in (("source", points[0]), ("target", points[-1])):
            box, (across, down) = at[line[end]["id"]], SIDES[line[end]["arrow"]]
            assert point == (box.x + across * box.width, box.y + down * box.height)
    ways = {(flow["source"], flow["target"]) for flow in tree["flows"].values()}
    assert {(line.way.source, line.way.target) for line in diagram.lines} == ways
    check_what_every_diagram_holds(diagram)


def check_what_every_diagram_holds(diagram: Diagram) -> None:
    """Nothing lies outside, no node upon another, and lines go straight or turn in right angles."""
    boxes = [node.box for node in diagram.nodes]
    for one in boxes:
        assert diagram.box.x <= one.x
        assert diagram.box.y <= one.y
        assert one.x + one.width <= diagram.box.x + diagram.box.width
        assert one.y + one.height <= diagram.box.y + diagram.box.height
        for other in boxes:
            apart = (
                one.x + one.width <= other.x
                or other.x + other.width <= one.x
                or one.y + one.height <= other.y
                or other.y + other.height <= one.y
            )
            assert one is other or apart
    for line in diagram.lines:
        for (x1, y1), (x2, y2) in zip(line.points, line.points[1:], strict=False):
            assert (x1, y1) != (x2, y2)
            assert x1 == x2 or y1 == y2


def test_a_failed_node_and_what_has_not_started() -> None:
    states = {node.shape.name: node.state for node in draw(*read("05a-node-failed-retry")).nodes}
    assert list(states.values()).count(TaskState.FAILED) == 1
    assert None in states.values()


def test_a_tree_without_places_is_drawn_all_the_same() -> None:
    tree, _ = read("13c-create_task-with-pipeline_tree")
    assert not tree["location"]
    at = {node.shape.name or node.shape.kind: node.box.x for node in draw(tree, ()).nodes}
    assert at["start"] < at["show"] < at["s"] < at["end"]


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_without_places_is_drawn_as_sops_would(name: str) -> None:
    for tree in trees(read(name)[0]):
        diagram = draw({**tree, "location": [], "line": []}, ())
        check_what_every_diagram_holds(diagram)
        assert len(diagram.lines) == len(tree["flows"])
        if tree["location"] and name != "13d-exclude_task_nodes":  # there SOPS leaves free what was left out
            at = {node.shape.id: (node.box.x, node.box.y) for node in diagram.nodes}
            assert at == {place["id"]: (place["x"], place["y"]) for place in tree["location"]}


def test_a_subprocess_is_a_diagram_of_its_own() -> None:
    tree, statuses = read("09a-subprocess")
    (node,) = [node for node in draw(tree, statuses).nodes if opens(tree, node.shape)]
    level = descend(tree, statuses, [node.shape.id])
    assert level is not None
    assert level.path == ("sub",)
    inner = draw(level.tree, level.statuses)
    assert {n.shape.name for n in inner.nodes} >= {"child sleep", "child show"}
    assert {n.state for n in inner.nodes} == {TaskState.FINISHED}
    assert descend(tree, statuses, ["none of it"]) is None
    assert descend(tree, statuses, [node.shape.id, "none of it"]) is None
