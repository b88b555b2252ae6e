# SPDX-License-Identifier: Apache-2.0
"""SOPS is away: before the question, while it is open, and when its answer is to be carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sops.exceptions import (
    SopsApiPermissionException,
    SopsAuthenticationException,
    SopsException,
    SopsOutageException,
    SopsTaskFailedException,
)
from tests.approval.airflow_task import Approval
from tests.approval.required_actions import RequiredActions
from tests.operators.conftest import World

Make = Callable[..., Approval]
AWAY: dict[str, Any] = {"kind": "status", "status": 502}


def go_away(world: World, seconds: float, then: Callable[[], object] = lambda: None) -> None:
    """Let SOPS be away for a time from now on."""
    fault = world.fake.faults.add(None, **AWAY, times=None)

    def come_back() -> None:
        world.fake.faults.remove(fault)
        then()

    world.later(seconds, come_back)


def test_an_answer_given_while_sops_is_away_is_carried_out_when_it_is_back(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval()
    world.later(60, lambda: go_away(world, 300))
    world.later(120, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"
    assert task.sent_well() == 1
    assert "sops" in task.phases
    assert "alice has approved node 'confirm'" in task.log
    assert actions.asked == 1


def test_a_rejection_given_while_sops_is_away_revokes_when_it_is_back(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval(on_reject="revoke")
    world.later(60, lambda: go_away(world, 300))
    world.later(120, lambda: actions.answer("Reject"))
    task.run()
    assert "was revoked" in str(task.error)
    assert world.fake.task(task.arguments["sops_task_id"]).state == "REVOKED"


def test_past_max_outage_it_fails_and_says_who_approved_what(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval(max_outage=300)
    world.later(55, lambda: actions.answer("Approve"))
    world.later(50, lambda: go_away(world, 2000))
    task.run()
    assert isinstance(task.error, SopsException)
    task_id = task.arguments["sops_task_id"]
    assert f"alice has approved node 'confirm' of SOPS task {task_id} in Airflow, but it was not carried out" in str(
        task.error
    )
    assert task.sent_well() == 0
    # a retry finds the answer, and carries it out
    world.sleep(2000)
    assert task.run().outcome["answered_by"] == "alice"
    assert task.sent_well() == 1
    assert actions.asked == 1


def test_a_question_stays_open_through_an_outage(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval()
    world.later(60, lambda: go_away(world, 300))
    world.later(600, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"
    assert "SOPS answers again after" in task.log
    assert actions.asked == 1


def test_an_outage_that_is_too_long_leaves_the_question_open_for_a_retry(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval(max_outage=120)
    world.later(60, lambda: go_away(world, 1000))
    with pytest.raises(SopsOutageException):
        task.run().outcome  # noqa: B018
    assert actions.detail.response is None
    world.sleep(1000)
    world.later(60, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"
    assert actions.asked == 1


def test_sops_is_away_from_the_beginning(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval()
    go_away(world, 200, lambda: world.later(60, lambda: actions.answer("Approve")))
    assert task.run().outcome["answered_by"] == "alice"
    assert task.phases[0] == "sops"


def test_wrong_credentials_end_it_at_once(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval()
    world.fake.faults.add(None, kind="status", status=401, code=1640101, message="wrong secret", times=None)
    with pytest.raises(SopsAuthenticationException):
        task.run().outcome  # noqa: B018


def test_a_retry_while_sops_is_away_finds_the_answer_too(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval(max_outage=100, sops_node_name="confirm")
    world.later(50, lambda: go_away(world, 600))
    world.later(55, lambda: actions.answer("Approve"))
    task.run()
    assert "alice has approved node 'confirm'" in str(task.error)
    world.sleep(200)
    task.run()
    assert "alice has approved node 'confirm'" in str(task.error)
    world.sleep(600)
    assert task.run().outcome["answered_by"] == "alice"
    assert (actions.asked, task.sent_well()) == (1, 1)


def test_a_rejection_whose_revoke_was_lost_is_still_a_rejection(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval(on_reject="revoke")

    def lose(when: str, request: object) -> None:
        if when == "after" and getattr(request, "api", "") == "operate_task":
            world.fake.on_request = None
            go_away(world, 120)

    world.fake.on_request = lose
    world.fake.faults.add("operate_task", kind="drop_after")
    world.later(60, lambda: actions.answer("Reject"))
    task.run()
    assert "alice has rejected" in str(task.error)
    assert world.fake.task(task.arguments["sops_task_id"]).state == "REVOKED"


# ---- lost answers ----


@pytest.mark.parametrize("kind", ["drop", "drop_after", "html", "not_json", "status"])
def test_a_lost_answer_neither_doubles_nor_loses_the_confirmation(
    world: World, approval: Make, actions: RequiredActions, kind: str
) -> None:
    options: dict[str, Any] = {"status": 502} if kind == "status" else {}
    task = approval()
    world.fake.faults.add("operate_node", kind=kind, **options)
    world.later(60, lambda: actions.answer("Approve"))
    assert task.run().outcome["answer"] == "Approve"
    task_id = task.arguments["sops_task_id"]
    assert world.fake.task(task_id).state == "FINISHED"
    assert callbacks(world, task_id) == 1


def test_a_confirmation_that_takes_effect_late_is_not_sent_again(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval()
    task_id = task.arguments["sops_task_id"]
    world.fake.faults.add("operate_node", kind="delayed_effect", seconds=20)
    world.later(60, lambda: actions.answer("Approve"))
    assert task.run().outcome["answer"] == "Approve"
    assert task.sent() == 1
    assert callbacks(world, task_id) == 1


def test_a_yes_of_which_nothing_comes_is_an_error(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval()
    yes = {"result": True, "message": "success", "code": 0}
    world.fake.faults.add("operate_node", kind="function", function=lambda request: (200, yes), times=None)
    world.later(60, lambda: actions.answer("Approve"))
    with pytest.raises(SopsTaskFailedException, match=r"alice has approved .* nothing has come of it"):
        task.run().outcome  # noqa: B018
    assert task.sent() == 1


def test_a_refusal_says_who_approved_what(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval()
    world.fake.close_api("operate_node")
    world.later(60, lambda: actions.answer("Approve"))
    with pytest.raises(SopsApiPermissionException, match="alice has approved node 'confirm'"):
        task.run().outcome  # noqa: B018


def callbacks(world: World, task_id: int) -> int:
    """How many callbacks have come to a task."""
    return sum(operation.action == "callback confirm" for operation in world.fake.task(task_id).operations)
