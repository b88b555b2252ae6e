# SPDX-License-Identifier: Apache-2.0
"""Operating a SOPS task and its nodes from a DAG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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
from tests.gateway_tree import TO_B, WAYS, gateway_tree
from tests.operators.conftest import World
from tests.operators.foreign_answers import FOREIGN, answer_instead
from tests.tasks import TaskInstance, collect_log

LONG, PAUSES, FAILS = "Long sleep", "Pause for a person", "Always fails"
SAID_YES = {"result": True, "message": "success", "code": 0}
#: A timer beside a pause node.
BESIDE = """
[[template]]
id = 1
name = "beside"
flow = [["confirm", "timer"]]

  [[template.node]]
  key = "confirm"
  plugin = "pause_node"
  inputs = { description = "" }

  [[template.node]]
  key = "timer"
  plugin = "sleep_timer"
  inputs = { bk_timing = "600", force_check = true }
"""


def operate(task_id: int | str, action: str, **arguments: Any) -> list[str]:
    """Operate a task; gives the log."""
    operator = SopsOperateTaskOperator(task_id="operate", sops_task_id=task_id, action=action, **arguments)
    lines = collect_log(operator)
    assert operator.execute(TaskInstance().context) is None  # type: ignore[func-returns-value]
    return lines


def operate_node(task_id: int | str, action: str, **arguments: Any) -> list[str]:
    """Operate a node; gives the log."""
    operator = SopsOperateNodeOperator(task_id="operate", sops_task_id=task_id, action=action, **arguments)
    lines = collect_log(operator)
    assert operator.execute(TaskInstance().context) is None  # type: ignore[func-returns-value]
    return lines


def running(world: World, template: str = LONG, seconds: float = 10.0) -> int:
    """A task that runs."""
    task_id = world.fake.create_task(template)
    world.fake.advance(seconds)
    return task_id


def written(folder: Path, templates: str) -> Path:
    """A file with templates for the fake."""
    file = folder / "templates.toml"
    file.write_text(templates)
    return file


def choosing(world: World) -> int:
    """A task that has failed at a gateway of which no condition holds."""
    site = world.fake.site
    tree = gateway_tree("'1' == '2'", "'1' == '3'")
    template = site.add_template("choose", world.fake.project_id, site.posted_graph(tree))
    return running(world, template.name, 1)


def ended(world: World, state: str, template: str = PAUSES) -> int:
    """A task that has ended so; where it was not to finish, at its pause node or failed node."""
    task_id = running(world, template)
    if state == "FINISHED":
        world.fake.operate_node(task_id, "confirm", "callback")
    elif state == "REVOKED":
        world.fake.operate(task_id, "revoke")
    else:
        world.fake.expire_task(task_id)
    world.fake.advance(1)
    assert world.fake.task(task_id).state == state
    return task_id


def paused_subprocess(world: World) -> tuple[int, str]:
    """A task of which a subprocess is paused; its id and the subprocess' node."""
    task_id = running(world, "With a subprocess", 1)
    world.fake.operate_node(task_id, "sub", "pause_subproc")
    assert world.fake.task(task_id).state == "NODE_SUSPENDED"
    return task_id, world.fake.task(task_id).find_id("sub")


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
        operator.execute(ti.context)
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

    @pytest.mark.parametrize("end", ["FINISHED", "REVOKED", "EXPIRED"])
    def test_what_has_ended_is_not_started_again(self, world: World, end: str) -> None:
        """SOPS says "already started" to it, as of one that runs."""
        task_id = ended(world, end)
        with pytest.raises(SopsInvalidOperationException, match=f"is {end}: it has ended, and .* runs once") as caught:
            operate(task_id, "start")
        assert "Create a new one." in str(caught.value)
        assert world.fake.count("operate_task") == 0

    @pytest.mark.parametrize("action", ["start", "pause", "resume", "revoke"])
    def test_what_was_deleted_is_told_to_be(self, world: World, action: str) -> None:
        task_id = running(world)
        world.fake.delete_task(task_id)
        with pytest.raises(SopsInvalidOperationException, match="'Long sleep' was deleted in SOPS"):
            operate(task_id, action)

    def test_a_paused_subprocess_is_named_with_what_resumes_it(self, world: World) -> None:
        task_id, node_id = paused_subprocess(world)
        with pytest.raises(SopsInvalidOperationException, match="is NODE_SUSPENDED: not the task itself") as caught:
            operate(task_id, "resume")
        assert f"node 'sub' (id {node_id}), to be resumed by the node action 'resume_subproc'." in str(caught.value)
        assert "\n" not in str(caught.value)
        assert world.fake.count("operate_task") == 0

    def test_a_paused_node_is_named_with_what_resumes_it(self, world: World) -> None:
        task_id = world.fake.create_task(LONG)
        world.fake.operate_node(task_id, "sleep1", "pause")
        world.fake.advance(5)
        with pytest.raises(SopsInvalidOperationException, match=r"node 'sleep1' \(id n\w+\), .* action 'resume'\."):
            operate(task_id, "resume")

    def test_resuming_the_task_tells_what_stays_paused(self, world: World) -> None:
        task_id, _ = paused_subprocess(world)
        operate(task_id, "pause")
        lines = operate(task_id, "resume")
        assert any("goes on but for node 'sub' (id n" in line and "'resume_subproc'" in line for line in lines)
        assert world.states() == {task_id: "NODE_SUSPENDED"}

    def test_a_failed_task_is_not_resumed(self, world: World) -> None:
        with pytest.raises(SopsInvalidOperationException, match="is FAILED, not paused") as caught:
            operate(running(world, FAILS), "resume")
        assert "Retry or skip what has failed: 'call' (id n" in str(caught.value)

    def test_a_failed_task_that_was_paused_then_is(self, world: World) -> None:
        task_id = running(world, FAILS)
        operate(task_id, "pause")
        assert any("is SUSPENDED: nothing to pause" in line for line in operate(task_id, "pause"))
        operate(task_id, "resume")
        assert world.states() == {task_id: "FAILED"}

    def test_who_may_operate_but_see_nothing_just_does(self, make_world: Callable[..., World]) -> None:
        world = make_world(granted=["operate_task"])
        task_id = running(world)
        operate(task_id, "pause")
        assert world.states() == {task_id: "SUSPENDED"}

    def test_resuming_what_runs_is_no_error(self, world: World) -> None:
        assert any("is RUNNING: nothing to resume" in line for line in operate(running(world), "resume"))

    def test_revoking_what_has_finished_is_no_error(self, world: World) -> None:
        task_id = running(world, "Two steps with outputs", 60)
        assert any("is FINISHED: nothing to revoke" in line for line in operate(task_id, "revoke"))

    @pytest.mark.parametrize("action", ["pause", "resume", "revoke"])
    def test_what_has_not_started_is_refused_in_one_line(self, world: World, action: str) -> None:
        task_id = world.fake.create_task(LONG, start=False)
        says = "does not revoke what has not started" if action == "revoke" else "task not started"
        with pytest.raises(SopsInvalidOperationException, match=says) as caught:
            operate(task_id, action)
        assert "\n" not in str(caught.value)
        assert world.fake.count("operate_task") == (action != "revoke")

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
        answer_instead(world.fake, "operate_task", fault, lambda request: world.fake.operate(task_id, "pause"))
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

    @pytest.mark.parametrize("action", ["retry", "skip", "callback", "forced_fail"])
    @pytest.mark.parametrize("end", ["REVOKED", "EXPIRED"])
    def test_in_a_task_that_was_stopped_nothing_is_done(self, world: World, action: str, end: str) -> None:
        task_id = ended(world, end)
        node_id = world.fake.task(task_id).find_id("confirm")
        expected = SopsInvalidOperationException if end == "REVOKED" else SopsTaskFailedException  # it shows no nodes
        with pytest.raises(expected, match=f"is {end}") as caught:
            operate_node(task_id, action, sops_node_id=node_id)
        assert "\n" not in str(caught.value)
        assert world.fake.count("operate_node") == 0

    @pytest.mark.parametrize("action", ["retry", "skip", "callback"])
    def test_nor_is_it_success_that_a_node_of_it_had_finished(self, world: World, action: str) -> None:
        with pytest.raises(SopsInvalidOperationException, match="is REVOKED: nothing in it runs any more"):
            operate_node(ended(world, "REVOKED"), action, sops_node_name="s1")

    @pytest.mark.parametrize("action", ["retry", "skip", "callback"])
    def test_a_failed_node_of_a_revoked_task_stays_as_it_is(self, world: World, action: str) -> None:
        """To a retry SOPS says yes, and nothing runs."""
        task_id = ended(world, "REVOKED", FAILS)
        with pytest.raises(SopsInvalidOperationException, match="'Always fails' is REVOKED: nothing in it runs"):
            operate_node(task_id, action, sops_node_name="call")
        assert world.fake.task(task_id).node("call").state == "FAILED"

    def test_a_deleted_task(self, world: World) -> None:
        task_id = running(world, FAILS)
        world.fake.delete_task(task_id)
        node_id = next(node.id for node in world.fake.task(task_id).nodes.values() if node.name == "call")
        with pytest.raises(SopsTaskFailedException, match="never will: it is deleted"):
            operate_node(task_id, "retry", sops_node_id=node_id)

    @pytest.mark.parametrize(
        ("template", "node", "says"),
        [
            (LONG, "sleep_long", "of 'Long sleep' is RUNNING and waits for no callback"),
            (FAILS, "call", "of 'Always fails' is FAILED"),
        ],
    )
    def test_a_callback_only_where_the_node_waits(self, world: World, template: str, node: str, says: str) -> None:
        """The first one SOPS answers with yes anywhere, and nothing changes."""
        task_id = running(world, template)
        with pytest.raises(SopsInvalidOperationException, match=says) as caught:
            operate_node(task_id, "callback", sops_node_name=node)
        assert "\n" not in str(caught.value)
        assert world.fake.count("operate_node") == 0

    @pytest.mark.parametrize("why", ["another node waits", "SOPS does not say"])
    def test_where_it_may_wait_it_is_tried_and_seen(
        self, make_world: Callable[..., World], tmp_path: Any, why: str
    ) -> None:
        """Other plugins wait for callbacks too; SOPS says of the task alone whether it waits for a person."""
        world = make_world(templates=written(tmp_path, BESIDE))
        task_id = running(world, "beside", 5)
        if why == "SOPS does not say":
            world.fake.operate_node(task_id, "confirm", "callback")
            world.fake.deny("get_tasks_manual_intervention_state")
        with pytest.raises(SopsTaskFailedException, match="nothing has come of it: it is RUNNING as before") as caught:
            operate_node(task_id, "callback", sops_node_name="timer")
        assert "SOPS says yes to callback of node 'timer'" in str(caught.value)
        assert world.fake.count("operate_node") == 1

    def test_in_a_paused_task_a_pause_node_is_called_back(self, world: World) -> None:
        task_id = running(world, PAUSES)
        world.fake.operate(task_id, "pause")
        operate_node(task_id, "callback", sops_node_name="confirm")
        assert world.fake.task(task_id).node("confirm").state == "FINISHED"

    def test_a_callback_where_the_tree_may_not_be_read(self, make_world: Callable[..., World]) -> None:
        world = make_world(granted=["get_task_status", "operate_node"])
        task_id = running(world, PAUSES)
        operate_node(task_id, "callback", sops_node_id=world.fake.task(task_id).find_id("confirm"))
        assert world.fake.task(task_id).state == "FINISHED"

    def test_it_ends_when_something_has_come_of_it(self, world: World) -> None:
        """SOPS' engine takes its time after the answer."""
        task_id = running(world, PAUSES)
        world.fake.faults.add("operate_node", kind="function", function=lambda request: (200, SAID_YES))
        world.later(5, lambda: world.fake.operate_node(task_id, "confirm", "callback"))
        began = world.now
        lines = operate_node(task_id, "callback", sops_node_name="confirm")
        assert any("callback is done; it is FINISHED." in line for line in lines)
        assert 5 <= world.now - began < 10

    @pytest.mark.parametrize(
        ("action", "template", "node"), [("retry", FAILS, "call"), ("callback", PAUSES, "confirm")]
    )
    def test_a_yes_of_which_nothing_comes_is_a_failure(
        self, world: World, action: str, template: str, node: str
    ) -> None:
        task_id = running(world, template)
        world.fake.faults.add("operate_node", kind="function", function=lambda request: (200, SAID_YES))
        with pytest.raises(SopsTaskFailedException, match="within 30 s nothing has come of it"):
            operate_node(task_id, action, sops_node_name=node)
        assert world.fake.count("operate_node") == 1

    def test_a_retry_that_fails_again_was_done(self, world: World) -> None:
        task_id = running(world, FAILS)
        assert any("retry is done" in line for line in operate_node(task_id, "retry", sops_node_name="call"))
        world.fake.advance(1)
        assert world.fake.task(task_id).node("call").retry == 1
        assert world.states() == {task_id: "FAILED"}

    def test_what_came_of_it_cannot_be_read(self, world: World) -> None:
        task_id = running(world, PAUSES)

        def away(when: str, request: Any) -> None:
            if when == "after" and request.api == "operate_node":
                world.fake.faults.add("get_task_status", kind="status", times=None, status=502)

        world.fake.on_request = away
        lines = operate_node(task_id, "callback", sops_node_name="confirm")
        assert any("what came of it cannot be read" in line and "HTTP 502" in line for line in lines)
        assert world.fake.count("operate_node") == 1

    @pytest.mark.parametrize("action", ["skip", "resume", "retry"])
    def test_a_pause_node_is_told_to_need_a_callback(self, world: World, action: str) -> None:
        task_id = running(world, PAUSES)
        if action == "retry":
            assert any("nothing to retry" in line for line in operate_node(task_id, action, sops_node_name="confirm"))
            return
        with pytest.raises(SopsInvalidOperationException, match="use the action 'callback'"):
            operate_node(task_id, action, sops_node_name="confirm")
        assert world.fake.count("operate_node") == 0

    def test_a_running_node_is_not_skipped(self, world: World) -> None:
        with pytest.raises(SopsInvalidOperationException, match=r"is RUNNING.* for a node that has FAILED"):
            operate_node(running(world), "skip", sops_node_name="sleep_long")

    def test_a_lost_answer_is_looked_up(self, world: World) -> None:
        task_id = running(world, PAUSES)
        world.fake.faults.add("operate_node", kind="drop_after")
        assert any("is FINISHED now" in line for line in operate_node(task_id, "callback", sops_node_name="confirm"))
        assert world.fake.count("operate_node") == 1

    @pytest.mark.parametrize("fault", FOREIGN.values(), ids=FOREIGN)
    def test_an_answer_that_is_not_the_apis_is_looked_up_too(self, world: World, fault: dict[str, Any]) -> None:
        task_id = running(world, PAUSES)

        def done(request: Request) -> None:
            world.fake.operate_node(task_id, "confirm", "callback")
            world.fake.advance(1)

        answer_instead(world.fake, "operate_node", fault, done)
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

    def test_a_running_node_is_made_to_fail(self, world: World) -> None:
        task_id = running(world)
        lines = operate_node(task_id, "forced_fail", sops_node_name="sleep_long")
        assert any("forced_fail is done; it is FAILED." in line for line in lines)
        assert world.states() == {task_id: "FAILED"}
        assert any(
            "is FAILED: nothing to" in line
            for line in operate_node(task_id, "forced_fail", sops_node_name="sleep_long")
        )
        with pytest.raises(SopsInvalidOperationException, match=r"is FINISHED.*Only a node that is RUNNING"):
            operate_node(task_id, "forced_fail", sops_node_name="sleep1")

    def test_a_node_is_paused_before_it_is_reached_and_resumed(self, world: World) -> None:
        task_id = world.fake.create_task(LONG)
        assert any("it pauses when" in line for line in operate_node(task_id, "pause", sops_node_name="sleep1"))
        world.fake.advance(10)
        assert world.states() == {task_id: "NODE_SUSPENDED"}
        assert any("nothing to pause" in line for line in operate_node(task_id, "pause", sops_node_name="sleep1"))
        for action in ("skip", "retry", "callback", "forced_fail"):
            with pytest.raises(SopsInvalidOperationException, match="is paused: use the action 'resume' first"):
                operate_node(task_id, action, sops_node_name="sleep1")
        with pytest.raises(SopsInvalidOperationException, match="no subprocess: use the action 'resume'"):
            operate_node(task_id, "resume_subproc", sops_node_name="sleep1")
        operate_node(task_id, "resume", sops_node_name="sleep1")
        assert world.states() == {task_id: "RUNNING"}
        assert any("nothing to resume" in line for line in operate_node(task_id, "resume", sops_node_name="sleep1"))

    def test_but_not_after_that(self, world: World) -> None:
        with pytest.raises(
            SopsInvalidOperationException, match=r"is RUNNING.* can be paused before the task comes to it"
        ):
            operate_node(running(world), "pause", sops_node_name="sleep_long")

    def test_a_subprocess_is_paused_and_resumed(self, world: World) -> None:
        task_id = running(world, "With a subprocess", 1)
        operate_node(task_id, "pause_subproc", sops_node_name="sub")
        assert world.states() == {task_id: "NODE_SUSPENDED"}
        assert any("nothing to pause" in line for line in operate_node(task_id, "pause_subproc", sops_node_name="sub"))
        with pytest.raises(SopsInvalidOperationException, match="a subprocess: use the action 'resume_subproc'"):
            operate_node(task_id, "resume", sops_node_name="sub")
        operate_node(task_id, "resume_subproc", sops_node_name="sub")
        world.fake.advance(10)
        assert world.states() == {task_id: "FINISHED"}

    def test_what_is_no_subprocess_is_not_paused_as_one(self, world: World) -> None:
        with pytest.raises(SopsInvalidOperationException, match="It is no subprocess"):
            operate_node(running(world), "pause_subproc", sops_node_name="sleep_long")

    def test_a_node_paused_in_a_subprocess_is_named(self, world: World) -> None:
        task_id = world.fake.create_task("With a subprocess")
        world.fake.operate_node(task_id, "child sleep", "pause")
        world.fake.advance(10)
        with pytest.raises(SopsInvalidOperationException, match=r"what is: node 'child sleep' .* action 'resume'"):
            operate_node(task_id, "resume_subproc", sops_node_name="sub")

    @pytest.mark.parametrize("by_name", [True, False])
    def test_a_gateway_is_left_by_a_flow(self, world: World, by_name: bool) -> None:
        task_id = choosing(world)
        assert world.states() == {task_id: "FAILED"}
        task = world.fake.task(task_id)
        node = {"sops_node_name": "which"} if by_name else {"sops_node_id": task.find_id("which")}
        operate_node(task_id, "skip_exg", flow_id=task.node_id(TO_B), **node)
        world.fake.advance(1)
        assert world.states() == {task_id: "FINISHED"}
        assert {node.name for node in world.fake.task(task_id).nodes.values()} == {"", "which", "b"}

    def test_a_flow_that_does_not_leave_it_lists_those_that_do(self, world: World) -> None:
        task_id = choosing(world)
        ways = ", ".join(f"{world.fake.task(task_id).node_id(flow)} to '{name}'" for flow, name in WAYS.items())
        with pytest.raises(SopsConfigException, match=f"flow_id: no flow 'x' leads out of .*; there are: {ways}"):
            operate_node(task_id, "skip_exg", flow_id="x", sops_node_name="which")
        with pytest.raises(SopsConfigException, match="has no gateway named 'b'; there are: 'which'"):
            operate_node(task_id, "skip_exg", flow_id="x", sops_node_name="b")

    @pytest.mark.parametrize(("action", "flow_id"), [("skip_exg", None), ("skip", "l1")])
    def test_a_flow_belongs_to_one_action(self, world: World, action: str, flow_id: str | None) -> None:
        with pytest.raises(SopsConfigException, match="flow_id: "):
            operate_node(1, action, sops_node_id="n1", flow_id=flow_id)
        assert world.fake.requests == []

    def test_no_such_node_lists_those_there_are(self, world: World) -> None:
        with pytest.raises(SopsConfigException, match="has no node named 'confrm'; there are: 'after', 'confirm'"):
            operate_node(running(world, PAUSES), "callback", sops_node_name="confrm")

    def test_two_of_a_name_ask_for_an_id(self, make_world: Callable[..., World], tmp_path: Any) -> None:
        node = 'name = "twin"\nplugin = "pause_node"\ninputs = { description = "" }\n'
        twins = (
            '[[template]]\nid = 1\nname = "twins"\n'
            f'[[template.node]]\nkey = "a"\n{node}[[template.node]]\nkey = "b"\n{node}'
        )
        world = make_world(templates=written(tmp_path, twins))
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
        none: dict[str, Any] = {}
        for arguments in (none, {"sops_node_id": "n1", "sops_node_name": "x"}):
            with pytest.raises(ValueError, match="sops_node_id, sops_node_name: give one of them"):
                SopsOperateNodeOperator(task_id="t", sops_task_id=1, action="skip", **arguments)

    def test_wrong_arguments_are_named(self, world: World) -> None:
        with pytest.raises(SopsConfigException, match="action"):
            operate_node(1, "explode", sops_node_name="x")
