# SPDX-License-Identifier: Apache-2.0
"""Which node is meant, and the text of the question."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.core.approval.pause_node import PauseNode, Place, find_pause_node, place_of
from airflow_provider_sops.core.approval.question import _described_in_tree, escaped, make_question
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.models import NodeStatus, TaskDetail, TaskStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.exceptions import SopsConfigException
from airflow_provider_sops.testing import FakeSops
from tests.approval.airflow_task import Approval
from tests.approval.required_actions import RequiredActions
from tests.operators.conftest import World

Make = Callable[..., Approval]
SECRET = "hunter2-is-secret"
#: Two pause nodes, one in a subprocess; a password among the variables.
TWO = f"""
[[template]]
id = 1
name = "two pauses"
outputs = ["made"]

  [[template.constant]]
  name = "version"
  value = "1.2 | *bold* <b>"

  [[template.constant]]
  name = "password"
  type = "password"
  value = "{SECRET}"

  [[template.constant]]
  name = "made"
  from = "make.data"

  [[template.node]]
  key = "make"
  plugin = "bk_http_request"
  inputs = {{ bk_http_request_method = "GET", bk_http_request_url = "", bk_http_request_body = "${{password}}" }}
  outputs = {{ data = "build-77" }}

  [[template.node]]
  key = "first"
  plugin = "pause_node"
  inputs = {{ description = "roll out ${{version}} with {SECRET}?" }}

  [[template.node]]
  key = "inner"
  subprocess = "inside"

[[template]]
id = 2
name = "inside"

  [[template.node]]
  key = "second"
  plugin = "pause_node"
  inputs = {{ description = "and now?" }}
"""


@pytest.fixture
def two(world: World, tmp_path: Path) -> int:
    """A task with two pause nodes."""
    file = tmp_path / "templates.toml"
    file.write_text(TWO)
    world.fake.site.templates |= {key: one for key, one in FakeSops(templates=file).site.templates.items() if key < 3}
    return world.fake.create_task("two pauses")


def detail_of(nodes: dict[str, Any]) -> TaskDetail:
    values = dict.fromkeys(TaskDetail.__dataclass_fields__, "")
    return TaskDetail(
        **{
            **values,
            "task_id": 7,
            "name": "deploy",
            "outputs": (),
            "constants": {},
            "pipeline_tree": {"activities": nodes},
        }  # type: ignore[arg-type]
    )


def pause(name: str) -> dict[str, Any]:
    return {"name": name, "component": {"code": "pause_node"}}


def test_the_node_that_is_meant() -> None:
    detail = detail_of({"n1": pause("one"), "n2": {"name": "two", "component": {"code": "sleep_timer"}}})
    assert find_pause_node(detail).id == "n1"
    assert find_pause_node(detail, name="one").id == "n1"
    assert find_pause_node(detail, node_id="n1").name == "one"


@pytest.mark.parametrize(
    ("nodes", "which", "said"),
    [
        ({}, {}, "has no pause node; pause nodes there are: none"),
        ({"n1": pause("one")}, {"name": "two"}, "has no pause node named 'two'; pause nodes there are: 'one', n1"),
        ({"n1": pause("one")}, {"node_id": "n2"}, "has no pause node with the id 'n2'"),
        ({"n1": pause("one"), "n2": pause("two")}, {}, "has 2 pause nodes: give sops_node_name or sops_node_id"),
        ({"n1": pause("one"), "n2": pause("one")}, {"name": "one"}, "2 pause nodes named 'one': give sops_node_id"),
    ],
)
def test_no_node_or_several(nodes: dict[str, Any], which: dict[str, str], said: str) -> None:
    with pytest.raises(SopsConfigError, match=said):
        find_pause_node(detail_of(nodes), **which)


@pytest.mark.parametrize(
    ("state", "place"),
    [
        (None, Place.AHEAD),
        ("READY", Place.AHEAD),
        ("SUSPENDED", Place.AHEAD),
        ("RUNNING", Place.WAITS),
        ("FINISHED", Place.PASSED),
        ("FAILED", Place.AHEAD),
    ],
)
def test_where_a_task_is(state: str | None, place: Place) -> None:
    nodes = () if state is None else (NodeStatus("n1", "one", TaskState(state)),)
    assert place_of(TaskStatus(7, TaskState.RUNNING, nodes=nodes), "n1") is place


def test_several_pause_nodes_are_an_error_that_names_them(approval: Make, two: int) -> None:
    with pytest.raises(SopsConfigException, match=r"has 2 pause nodes: .*'first'.*'second'.* in inner"):
        approval(sops_task_id=two).run().outcome  # noqa: B018


def test_the_question_says_what_it_is_about(world: World, approval: Make, actions: RequiredActions, two: int) -> None:
    task = approval(sops_task_id=two, sops_node_name="first")
    world.later(60, lambda: actions.answer("Approve"))
    task.run().outcome  # noqa: B018
    detail = actions.detail
    assert "'first'" in detail.subject
    assert str(two) in detail.subject
    assert world.fake.site.task_url(world.fake.task(two)) in detail.body
    assert r"roll out 1\.2 \| \*bold\* \<b\> with" in detail.body
    assert r"1\.2 \| \*bold\* \<b\> |" in detail.body
    assert r"build\-77" in detail.body
    assert SECRET not in json.dumps([detail.subject, detail.body, detail.params])
    assert "hunter2" not in detail.body
    assert "**Reject** fails this Airflow task" in detail.body


@pytest.mark.parametrize("name", ["first", "second"])
def test_where_no_node_can_be_read_the_tree_tells_what_its_author_wrote(
    world: World, approval: Make, actions: RequiredActions, two: int, name: str
) -> None:
    world.fake.deny("get_task_node_detail")
    if name == "second":
        world.fake.advance(5)
        world.fake.operate_node(two, "first", "callback")
    task = approval(sops_task_id=two, sops_node_name=name)
    world.later(60, lambda: actions.answer("Approve"))
    assert task.run().outcome["answer"] == "Approve"
    said = {"first": r"> roll out $\{version\} with".replace("$", r"\$"), "second": "> and now?"}[name]
    assert said in actions.detail.body
    assert SECRET not in actions.detail.body
    assert r"build\-77" not in actions.detail.body, "which the node alone tells"


def test_an_output_that_a_node_does_not_have_is_left_out(
    world: World, approval: Make, actions: RequiredActions, two: int
) -> None:
    def without_outputs(request: Any) -> tuple[int, Any]:
        answer = {"inputs": {}, "outputs": [{"key": "other", "value": "build-77", "preset": True}], "histories": []}
        return 200, {"result": True, "code": 0, "data": {"id": request.params["node_id"], **answer}}

    world.fake.faults.add("get_task_node_detail", kind="function", function=without_outputs, times=None)
    world.later(60, lambda: actions.answer("Approve"))
    assert approval(sops_task_id=two, sops_node_name="first").run().outcome["answer"] == "Approve"
    assert "| Variable | Value |" in actions.detail.body
    assert "build" not in actions.detail.body


def test_a_description_is_looked_for_in_a_strange_tree_too() -> None:
    inner = {"activities": {"n2": {"component": {"data": {"description": {"value": "and now?"}}}}}}
    detail = detail_of({"n0": "no node", "n1": {"name": "inner", "pipeline": inner}, "n3": {"component": "none"}})
    asked = {node_id: _described_in_tree(detail, PauseNode(node_id, "x")) for node_id in ("n2", "n3", "n4")}
    assert asked == {"n2": "and now?", "n3": "", "n4": ""}


def test_of_many_variables_it_says_how_many_more_there_are() -> None:
    detail = replace(detail_of({}), constants={f"${{v{number}}}": {"value": "x"} for number in range(53)})
    body = make_question(detail, PauseNode("n1", "one"), "").body
    assert body.count("| x |") == 50
    assert "… and 3 more." in body


def test_a_pause_node_in_a_subprocess(world: World, approval: Make, actions: RequiredActions, two: int) -> None:
    world.fake.advance(5)
    world.fake.operate_node(two, "first", "callback")
    task = approval(sops_task_id=two, sops_node_name="second")
    world.later(60, lambda: actions.answer("Approve"))
    assert task.run().outcome["sops_node_name"] == "second"
    assert "in inner" in actions.detail.body
    assert r"and now?" in actions.detail.body
    assert world.fake.task(two).state == "FINISHED"


def test_long_and_strange_texts_stay_short_and_plain() -> None:
    node = PauseNode("n1", "x" * 5000 + "\x00")
    question = make_question(detail_of({"n1": pause("x")}), node, "[click](javascript:alert(1))\n" + "y" * 9999)
    assert len(question.subject) < 300
    assert len(question.body) < 6000
    assert "\x00" not in question.subject + question.body
    assert "[click](" not in question.body


def test_markdown_is_escaped() -> None:
    assert escaped("# a\n* b `c` <script>") == r"\# a \* b \`c\` \<script\>"
