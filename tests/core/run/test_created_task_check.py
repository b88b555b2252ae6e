# SPDX-License-Identifier: Apache-2.0
"""Is a created task the one that is wanted: its nodes and the values of its constants."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_sops.core.run.created_task_check import (
    differing_constants,
    differing_nodes,
    is_same,
    scheme_nodes,
)
from tests.samples_of_sops import SAMPLES

NAMES = {"t1": "build", "t2": "test", "t3": "ship", "t4": "test"}
SAYS_WHICH, BY_ID, BY_NAME = "with the template's ids", "with ids kept", "by names"


def tree(*own: str, shape: str = SAYS_WHICH, always: str = "", **constants: Any) -> dict[str, Any]:
    """A task's tree with these nodes of the template."""
    nodes = {}
    for number, node in enumerate(own):
        made = {"name": NAMES[node], "type": "ServiceActivity", "optional": node != always}
        made |= {"template_node_id": node} if shape == SAYS_WHICH else {}
        nodes[node if shape == BY_ID else f"n{number}"] = made
    return {"activities": nodes, "constants": {f"${{{key}}}": {"value": value} for key, value in constants.items()}}


def differs(made: dict[str, Any], names: dict[str, str] = NAMES, schemes: Any = None, **params: Any) -> str:
    return differing_nodes(params, made, names, schemes)


@pytest.mark.parametrize("shape", [SAYS_WHICH, BY_ID, BY_NAME])
class TestNodes:
    def test_what_was_asked_for(self, shape: str) -> None:
        assert differs(tree("t1", shape=shape), execute_task_nodes_id=["t1"]) == ""
        assert differs(tree("t2", "t3", "t4", shape=shape), exclude_task_nodes_id=["t1"]) == ""
        both: dict[str, Any] = {"execute_task_nodes_id": ["t1", "t3"], "exclude_task_nodes_id": ["t1"]}
        assert differs(tree("t3", shape=shape), **both) == ""

    def test_more_than_was_asked_for(self, shape: str) -> None:
        whole = tree(*NAMES, shape=shape)
        said = "would run 'test', 'ship', 'test', which was not wanted"
        assert differs(whole, execute_task_nodes_id=["t1"]) == said
        assert differs(whole, exclude_task_nodes_id=["t3"]) == "would run 'ship', which was not wanted"

    def test_one_of_two_of_a_name(self, shape: str) -> None:
        assert differs(tree("t4", shape=shape), execute_task_nodes_id=["t4"]) == ""
        assert differs(tree("t1", "t3", "t4", shape=shape), exclude_task_nodes_id=["t2"]) == ""

    def test_less_than_was_asked_for(self, shape: str) -> None:
        assert differs(tree("t1", shape=shape), execute_task_nodes_id=["t1", "t3"]) == "would not run 'ship'"
        said = "would run 'ship', which was not wanted, and would not run 'build'"
        assert differs(tree("t3", shape=shape), execute_task_nodes_id=["t1"]) == said

    def test_what_is_always_run_was_wanted(self, shape: str) -> None:
        assert differs(tree("t1", "t3", shape=shape, always="t3"), execute_task_nodes_id=["t1"]) == ""

    def test_of_schemes(self, shape: str) -> None:
        made = tree("t1", "t3", shape=shape)
        given: dict[str, Any] = {"template_schemes_id": [1]}
        assert differs(made, schemes={"t1", "t3"}, **given) == ""
        assert differs(made, schemes={"t1"}, **given) == "would run 'ship', which was not wanted"
        assert differs(made, schemes={"t1"}, execute_task_nodes_id=["t3"], **given) == ""
        assert differs(made, schemes=None, **given) == ""  # they could not be read
        assert differs(made, schemes=None, exclude_task_nodes_id=["t3"], **given) != ""


def test_where_nothing_tells_which_nodes_they_are_their_number_does() -> None:
    made = tree("t1", "t3", shape=BY_NAME)
    assert differs(made, names={}, execute_task_nodes_id=["t1", "t3"]) == ""
    said = differs(made, names={}, execute_task_nodes_id=["t1"])
    assert said == "would run 1 of 'build', 'ship', which was not wanted"
    assert differs(made, names={}, exclude_task_nodes_id=["t1"]) == ""  # a whole template cannot be counted


def test_a_subprocess_is_one_node() -> None:
    made = tree("t1")
    made["activities"]["n0"]["pipeline"] = tree("t2", "t3")
    assert differs(made, execute_task_nodes_id=["t1"]) == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (5, "5", True),
        (True, "true", True),
        ({"b": [1, None], "a": "x"}, {"a": "x", "b": [1, None]}, True),
        ({"a": 1}, '{"a":1}', True),
        (float("nan"), float("nan"), True),
        ("发布", "发布", True),
        ("5", "6", False),
        ("", None, False),
        ("a", "A", False),
        ([1], [1, 2], False),
    ],
)
def test_values_of_constants(one: Any, other: Any, same: bool) -> None:
    assert is_same(one, other) is same
    assert is_same(other, one) is same


def test_constants() -> None:
    made = tree(IP="127.0.0.1", count=5, key="encrypted")
    made["constants"]["${key}"]["custom_type"] = "password"
    given = {"${IP}": "10.0.0.1", "${count}": "5", "${key}": "secret", "${unused}": 1}
    assert differing_constants(given, made) == ["${IP}"]


def test_schemes() -> None:
    rows = [{"id": 1, "data": '["t1", "t2"]'}, {"id": "2", "data": '["t3"]'}, {"id": 3, "data": "{}"}, 4]
    assert scheme_nodes(rows, ["1", 2]) == {"t1", "t2", "t3"}
    assert scheme_nodes(rows, 1) == {"t1", "t2"}
    for none in (3, 5, [1, 5]):
        assert scheme_nodes(rows, none) is None
    assert scheme_nodes({"id": 1}, 1) is None


def test_what_sops_answered_is_what_was_sent() -> None:
    """Every task of the recordings that was made of a template: nothing in it differs."""
    seen = 0
    for path in sorted(SAMPLES.glob("*/*create*task*.json")):
        sample = json.loads(path.read_text())
        body, answer = sample["request"]["body"], sample["response"].get("json")
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(body, dict) or not isinstance(data, dict) or "pipeline_tree" not in data:
            continue
        seen += 1
        given = body.get("constants") or {}
        assert differing_constants(given if isinstance(given, dict) else {}, data["pipeline_tree"]) == [], path
        if "nope" not in body.get("execute_task_nodes_id", ()):
            assert differing_nodes(body, data["pipeline_tree"], {}, None) == "", path
    assert seen
