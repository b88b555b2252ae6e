# SPDX-License-Identifier: Apache-2.0
"""Operating a SOPS task and its nodes from a DAG."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sops.exceptions import (
    SopsApiException,
    SopsApiPermissionException,
    SopsConfigException,
    SopsConnectionException,
    SopsInvalidOperationException,
    SopsNotFoundException,
    SopsTaskFailedException,
)
from airflow_provider_sops.operators.sops import SopsOperateNodeOperator, SopsOperateTaskOperator
from airflow_provider_sops.testing import Request
from tests.operators.conftest import World
from tests.tasks import TaskInstance, collect_log
from tests.verdict_cases import crash

#: Answers that are not SOPS', or not of its API: what was asked may have been done.
FOREIGN: dict[str, dict[str, Any]] = {
    "a login page": {"kind": "html"},
    "nobody there": {"kind": "html", "status": 404},
    "a redirect": {"kind": "redirect"},
    "half a JSON": {"kind": "not_json"},
    "a crash": {"kind": "function", "function": crash},
}
LONG, PAUSES, FAILS = "Long sleep", "Pause for a person", "Always fails"


def operate(task_id: int | str, action: str, **arguments: Any) -> list[str]:
    """Operate a task; gives the log."""
    operator = SopsOperateTaskOperator(task_id="operate", sops_task_id=task_id, action=action, **arguments)
    lines = collect_log(operator)
    assert operator.execute(TaskInstance().context) is None  # type: ignore[arg-type, func-returns-value]
    return lines


def operate_node(task_id: int | str, action: str, **arguments: Any) -> list[str]:
    """Operate a node; gives the log."""
    operator = SopsOperateNodeOperator(task_id="operate", sops_task_id=task_id, action=action, **arguments)
    lines = collect_log(operator)
    assert operator.execute(TaskInstance().context) is None  # type: ignore[arg-type, func-returns-value]
    return lines


def running(world: World, template: str = LONG, seconds: float = 10.0) -> int:
    """A task that runs."""
    task_id = world.fake.create_task(template)
    world.fake.advance(seconds)
    return task_id


class TestTask:
    def test_each_action(self, world: World) -> None:
        task_id = world.fake.create_task(LONG, start=False)
        for action, state in (
            ("start", "RUNNING"),
            ("pause", "SUSPENDED"),
            ("resume", "RUNNING"),
            ("revoke", "REVOKED"),
        ):
            assert f"SOPS task {task_id}: {action} is done." in operate(task_id, action)
            world.fake.advance(1)
            assert world.states() == {task_id: state}

    def test_the_page_is_linked(self, world: World) -> None:
        operator = SopsOperateTaskOperator(task_id="operate", sops_task_id=str(running(world)), action="pause")
        ti = TaskInstance()
        operator.execute(ti.context)  # type: ignore[arg-type]
        assert ti.xcoms["sops_task_url"].startswith(f"{world.fake.url}/taskflow/execute/")

    @pytest.mark.parametrize("action", ["pause", "revoke", "start"])
    def test_what_is_so_already_is_no_error(self, world: World, action: str) -> None:
        task_id = running(world)
        if action != "start":
            operate(task_id, action)
        (line,) = [line for line in operate(task_id, action) if "nothing to" in line]
        state = {"pause": "SUSPENDED", "revoke": "REVOKED", "start": "RUNNING"}[action]
        assert f"is {state}: nothing to {action}." in line
        assert world.states() == {task_id: state}

    def test_resuming_what_runs_is_no_error(self, world: World) -> None:
        assert any("is RUNNING: nothing to resume" in line for line in operate(running(world), "resume"))

    def test_revoking_what_has_finished_is_no_error(self, world: World) -> None:
        task_id = running(world, "Two steps with outputs", 60)
        assert any("is FINISHED: nothing to revoke" in line for line in operate(task_id, "revoke"))

    @pytest.mark.parametrize("action", ["pause", "resume", "revoke"])
    def test_what_has_not_started_is_refused_in_one_line(self, world: World, action: str) -> None:
        task_id = world.fake.create_task(LONG, start=False)
        with pytest.raises(SopsInvalidOperationException, match="task not started") as caught:
            operate(task_id, action)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("action", ["pause", "resume"])
    def test_what_has_ended_is_refused_in_one_line(self, world: World, action: str) -> None:
        task_id = running(world, "Two steps with outputs", 60)
        with pytest.raises(SopsInvalidOperationException, match="current_flow:finished"):
            operate(task_id, action)

    def test_a_traceback_is_one_line(self, world: World) -> None:
        task_id = running(world, FAILS)
        with pytest.raises(SopsApiException) as caught:
            operate(task_id, "resume")
        assert "\n" not in str(caught.value)

    def test_no_such_task(self, world: World) -> None:
        with pytest.raises(SopsNotFoundException):
            operate(999, "revoke")

    def test_no_permission(self, world: World) -> None:
        task_id = running(world)
        world.fake.deny("operate_task")
        with pytest.raises(SopsApiPermissionException, match="operate_task"):
            operate(task_id, "revoke")

    def test_a_lost_answer_is_looked_up(self, world: World) -> None:
        task_id = running(world)
        world.fake.faults.add("operate_task", kind="drop_after")
        assert any("is SUSPENDED: nothing to pause" in line for line in operate(task_id, "pause"))
        assert world.fake.count("operate_task") == 1

    @pytest.mark.parametrize("fault", FOREIGN.values(), ids=FOREIGN)
    def test_an_answer_that_is_not_the_apis_is_looked_up_too(self, world: World, fault: dict[str, Any]) -> None:
        task_id = running(world)
        world.fake.operate(task_id, "pause")
        world.fake.faults.add("operate_task", **fault)
        assert any("is SUSPENDED: nothing to pause" in line for line in operate(task_id, "pause"))
        assert world.fake.count("operate_task") == 1

    def test_what_sops_has_not_got_is_an_error(self, world: World) -> None:
        task_id = running(world)
        world.fake.faults.add("operate_task", kind="drop")
        with pytest.raises(SopsConnectionException):
            operate(task_id, "pause")
        assert world.fake.count("operate_task") == 1

    @pytest.mark.parametrize(("task_id", "action", "field"), [("x", "pause", "sops_task_id"), (1, "stop", "action")])
    def test_wrong_arguments_are_named(self, world: World, task_id: Any, action: str, field: str) -> None:
        with pytest.raises(SopsConfigException, match=field):
            operate(task_id, action)
        assert world.fake.requests == []


class TestNode:
    def test_a_pause_node_goes_on(self, world: World) -> None:
        task_id = running(world, PAUSES)
        assert any("callback is done" in line for line in operate_node(task_id, "callback", sops_node_name="confirm"))
        world.fake.advance(1)
        assert world.states() == {task_id: "FINISHED"}

    def test_it_hands_data_over(self, world: World) -> None:
        task_id = running(world, PAUSES)
        operate_node(task_id, "callback", sops_node_name="confirm", data={"answer": "yes", "n": 1})
        world.fake.advance(1)
        (answer,) = [one["value"] for one in world.fake.task(task_id).outputs if one["key"] == "${answer}"]
        assert answer == {"answer": "yes", "n": 1}

    def test_by_its_id(self, world: World) -> None:
        task_id = running(world, PAUSES)
        operate_node(task_id, "callback", sops_node_id=world.fake.task(task_id).find_id("confirm"))
        world.fake.advance(1)
        assert world.states() == {task_id: "FINISHED"}

    def test_it_waits_until_the_node_is_reached(self, world: World) -> None:
        task_id = world.fake.create_task(PAUSES)
        operate_node(task_id, "callback", sops_node_name="confirm")
        world.fake.advance(1)
        assert world.states() == {task_id: "FINISHED"}

    def test_but_not_for_ever(self, world: World) -> None:
        task_id = world.fake.create_task(LONG, start=False)
        began = world.now
        with pytest.raises(SopsTaskFailedException, match="has not reached node") as caught:
            operate_node(task_id, "skip", sops_node_name="sleep1", node_timeout=30)
        assert 30 <= world.now - began < 40
        assert "within 30 s: it is CREATED" in str(caught.value)

    def test_nor_when_the_task_has_ended(self, world: World) -> None:
        task_id = running(world, PAUSES, seconds=0.5)
        world.fake.operate(task_id, "revoke")
        began = world.now
        with pytest.raises(SopsTaskFailedException, match="never will: it is REVOKED"):
            operate_node(task_id, "callback", sops_node_name="confirm")
        assert world.now - began < 5

    def test_a_failed_node_is_skipped(self, world: World) -> None:
        task_id = running(world, FAILS)
        operate_node(task_id, "skip", sops_node_name="call")
        world.fake.advance(1)
        assert world.states() == {task_id: "FINISHED"}

    def test_a_failed_node_is_retried_with_other_inputs(self, world: World) -> None:
        task_id = running(world, "Fails until retried with good inputs")
        inputs = {
            "bk_http_request_method": "GET",
            "bk_http_request_url": "http://service.example.com/good",
            "bk_http_request_body": "",
        }
        operate_node(task_id, "retry", sops_node_name="call", inputs=inputs)
        world.fake.advance(10)
        assert world.states() == {task_id: "FINISHED"}

    @pytest.mark.parametrize("action", ["callback", "skip", "retry"])
    def test_what_is_so_already_is_no_error(self, world: World, action: str) -> None:
        task_id = running(world, PAUSES)
        world.fake.operate_node(task_id, "confirm", "callback")
        world.fake.advance(1)
        lines = operate_node(task_id, action, sops_node_name="confirm")
        assert any(f"is FINISHED: nothing to {action}" in line for line in lines)
        assert world.fake.count("operate_node") == 0

    def test_a_lost_answer_is_looked_up(self, world: World) -> None:
        task_id = running(world, PAUSES)
        world.fake.faults.add("operate_node", kind="drop_after")
        assert any("is FINISHED now" in line for line in operate_node(task_id, "callback", sops_node_name="confirm"))
        assert world.fake.count("operate_node") == 1

    @pytest.mark.parametrize("fault", FOREIGN.values(), ids=FOREIGN)
    def test_an_answer_that_is_not_the_apis_is_looked_up_too(self, world: World, fault: dict[str, Any]) -> None:
        task_id = running(world, PAUSES)

        def done(when: str, request: Request) -> None:
            if (when, request.api) == ("before", "operate_node"):  # it takes effect, and then this is answered
                world.fake.operate_node(task_id, "confirm", "callback")
                world.fake.advance(1)

        world.fake.on_request = done
        world.fake.faults.add("operate_node", **fault)
        assert any("is FINISHED now" in line for line in operate_node(task_id, "callback", sops_node_name="confirm"))
        assert world.fake.count("operate_node") == 1

    def test_what_sops_has_not_got_is_an_error(self, world: World) -> None:
        task_id = running(world, PAUSES)
        world.fake.faults.add("operate_node", kind="drop")
        with pytest.raises(SopsConnectionException):
            operate_node(task_id, "callback", sops_node_name="confirm")

    @pytest.mark.parametrize("template", ["Not retryable, not skippable"])
    @pytest.mark.parametrize("action", ["retry", "skip"])
    def test_what_may_not_be_done_is_refused_in_one_line(self, world: World, template: str, action: str) -> None:
        task_id = running(world, template)
        (failed,) = [node for node in world.fake.task(task_id).nodes.values() if node.state == "FAILED"]
        with pytest.raises(SopsApiException) as caught:
            operate_node(task_id, action, sops_node_name=failed.name)
        assert "\n" not in str(caught.value)

    def test_no_such_node_lists_those_there_are(self, world: World) -> None:
        with pytest.raises(SopsConfigException, match="has no node named 'confrm'; there are: 'after', 'confirm'"):
            operate_node(running(world, PAUSES), "callback", sops_node_name="confrm")

    def test_two_of_a_name_ask_for_an_id(self, make_world: Callable[..., World], tmp_path: Any) -> None:
        node = 'name = "twin"\nplugin = "pause_node"\ninputs = { description = "" }\n'
        templates = tmp_path / "templates.toml"
        templates.write_text(
            '[[template]]\nid = 1\nname = "twins"\n'
            f'[[template.node]]\nkey = "a"\n{node}[[template.node]]\nkey = "b"\n{node}'
        )
        world = make_world(templates=templates)
        with pytest.raises(SopsConfigException, match="has 2 nodes named 'twin': give sops_node_id") as caught:
            operate_node(running(world, "twins"), "callback", sops_node_name="twin")
        assert "in the task itself" in str(caught.value)

    def test_where_the_status_may_not_be_read_it_is_just_done(self, make_world: Callable[..., World]) -> None:
        world = make_world(granted=["get_task_detail", "operate_node"])
        task_id = running(world, PAUSES)
        operate_node(task_id, "callback", sops_node_name="confirm")
        world.fake.advance(1)
        assert world.states() == {task_id: "FINISHED"}

    def test_one_of_id_and_name_is_needed(self) -> None:
        for arguments in ({}, {"sops_node_id": "n1", "sops_node_name": "x"}):
            with pytest.raises(ValueError, match="sops_node_id, sops_node_name: give one of them"):
                SopsOperateNodeOperator(task_id="t", sops_task_id=1, action="skip", **arguments)

    def test_wrong_arguments_are_named(self, world: World) -> None:
        with pytest.raises(SopsConfigException, match="action"):
            operate_node(1, "forced_fail", sops_node_name="x")
