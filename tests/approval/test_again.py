# SPDX-License-Identifier: Apache-2.0
"""Retries, which find the question and its answer; clears, which ask anew; workers and triggerers that are killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.exceptions import SopsApprovalRejectedException, SopsApprovalTimeoutException
from airflow_provider_sops.triggers import approval_loop
from tests.approval.airflow_task import Approval, KilledTriggerer
from tests.approval.required_actions import RequiredActions
from tests.approval.test_both_ways import LONG_AFTER, create
from tests.operators.airflow_task import Store
from tests.operators.conftest import Died, World, die

Make = Callable[..., Approval]


@pytest.fixture(params=[True, False], ids=["with a store", "without"])
def store(request: pytest.FixtureRequest) -> Store | None:
    """Airflow's task state store, which it has from 3.3 on."""
    return Store() if request.param else None


def killed_at_leg(task: Approval, number: int) -> None:
    """Let the worker be killed when a leg of the next try begins."""

    def kill(leg: int) -> None:
        if leg == number:
            task.before_leg = lambda number: None
            die()

    task.before_leg = kill


def callbacks(world: World, task: Approval) -> int:
    """How many callbacks have come to a task."""
    return sum(
        operation.action == "callback confirm"
        for operation in world.fake.task(task.arguments["sops_task_id"]).operations
    )


def test_a_retry_finds_the_answer(world: World, approval: Make, actions: RequiredActions, store: Store | None) -> None:
    task = approval(store=store)
    world.later(60, lambda: actions.answer("Approve"))
    killed_at_leg(task, 1)
    assert type(task.run().error) is Died
    assert task.run().outcome["answered_by"] == "alice"
    assert (actions.asked, callbacks(world, task)) == (1, 1)
    assert task.phases == ["answer", "look"]


def test_a_retry_finds_an_open_question_and_notifies_nobody_again(
    world: World, approval: Make, actions: RequiredActions, store: Store | None
) -> None:
    calls: list[int] = []
    task = approval(store=store, notifiers=[lambda context: calls.append(1)])
    actions.on_ask = lambda: (setattr(actions, "on_ask", lambda: None), die())
    assert type(task.run().error) is Died  # asked, and killed before it has deferred
    world.later(60, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"
    assert (actions.asked, len(calls)) == (1, 0)


def test_an_answer_given_between_two_tries_is_found(
    world: World, approval: Make, actions: RequiredActions, store: Store | None
) -> None:
    task = approval(store=store)
    actions.on_ask = lambda: (setattr(actions, "on_ask", lambda: None), die())
    assert type(task.run().error) is Died
    actions.answer("Approve")
    assert task.run().outcome["answered_by"] == "alice"
    assert actions.asked == 1


def test_a_retry_after_a_try_that_has_asked_nothing_asks(
    world: World, approval: Make, actions: RequiredActions, store: Store | None
) -> None:
    task = approval(store=store)
    killed_at_leg(task, 0)
    assert type(task.run().error) is Died
    world.later(60, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"
    assert actions.asked == 1


def test_a_clear_asks_anew(world: World, approval: Make, actions: RequiredActions, store: Store | None) -> None:
    task = approval(store=store)
    world.later(60, lambda: actions.answer("Reject"))
    assert type(task.run().error) is SopsApprovalRejectedException
    task.clear()
    world.later(60, lambda: actions.answer("Approve", user="bob"))
    assert task.run().outcome["answered_by"] == "bob"
    assert actions.asked == 2
    assert "the text of the first question" in task.log


def test_a_retry_after_a_clear_finds_the_second_answer(
    world: World, approval: Make, actions: RequiredActions, store: Store | None
) -> None:
    task = approval(store=store)
    world.later(60, lambda: actions.answer("Reject"))
    task.run()
    task.clear()
    world.later(60, lambda: actions.answer("Approve", user="bob"))
    killed_at_leg(task, 1)
    assert type(task.run().error) is Died
    assert task.run().outcome["answered_by"] == "bob"
    assert actions.asked == 2


def test_with_a_store_a_clear_asks_anew_also_when_retries_were_edited(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval(store=Store(), retries=0, max_tries=0)
    world.later(60, lambda: actions.answer("Reject"))
    task.run()
    task.clear()
    task.retries = 5
    world.later(60, lambda: actions.answer("Approve", user="bob"))
    assert task.run().outcome["answered_by"] == "bob"


def test_the_time_for_an_answer_goes_on_over_retries(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval(store=Store(), response_timeout=300, on_timeout="approve")
    actions.on_ask = lambda: (setattr(actions, "on_ask", lambda: None), die())
    began = world.now
    task.run()
    world.sleep(200)
    assert task.run().outcome["answered_in"] == "timeout"
    assert world.now - began < 400


def test_without_a_store_the_time_for_an_answer_begins_anew_with_a_retry(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval(response_timeout=300, on_timeout="approve")
    actions.on_ask = lambda: (setattr(actions, "on_ask", lambda: None), die())
    task.run()
    world.sleep(200)
    began = world.now
    assert task.run().outcome["answered_in"] == "timeout"
    assert 300 <= world.now - began < 400
    assert actions.asked == 1


def test_a_retry_after_nobody_has_answered_in_time_asks_anew(
    world: World, approval: Make, actions: RequiredActions, store: Store | None
) -> None:
    task = approval(response_timeout=300, store=store)
    assert type(task.run().error) is SopsApprovalTimeoutException
    assert actions.closed
    world.later(60, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"
    assert (actions.asked, task.phases) == (2, ["answer", "look", "answer"])


def test_a_retry_asks_nothing_while_airflow_does_not_say_whether_a_question_is_open(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval()
    actions.on_ask = lambda: (setattr(actions, "on_ask", lambda: None), die())
    task.run()
    actions.away = True
    world.later(100, lambda: setattr(actions, "away", False))
    world.later(200, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"
    assert (actions.asked, callbacks(world, task)) == (1, 1)


def test_a_retry_does_not_take_what_an_earlier_try_has_confirmed_for_confirmed_in_sops(
    world: World, approval: Make, actions: RequiredActions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = approval(sops_task_id=create(world, tmp_path, LONG_AFTER))
    killed = kill_at(monkeypatch, "operate_node", 1, "after")
    world.later(60, lambda: actions.answer("Approve"))
    assert type(task.run().error) is Died
    assert killed
    actions.away = True
    world.later(100, lambda: setattr(actions, "away", False))
    result = task.run().outcome
    assert (result["answered_in"], result["answered_by"]) == ("airflow", "alice")
    assert callbacks(world, task) == 1


class Away(Store):
    """A task state store whose backend does not answer."""

    def __init__(self, *, can_be_read: bool) -> None:
        super().__init__()
        self.can_be_read = can_be_read

    def get(self, key: str, default: Any = None) -> Any:
        if not self.can_be_read:
            raise RuntimeError("the backend is away")
        return super().get(key, default)

    def set(self, key: str, value: Any) -> None:
        raise RuntimeError("the backend is away")


@pytest.mark.parametrize("can_be_read", [True, False])
def test_a_store_that_does_not_answer_is_told_and_does_no_harm(
    world: World, approval: Make, actions: RequiredActions, can_be_read: bool
) -> None:
    task = approval(store=Away(can_be_read=can_be_read))
    actions.on_ask = lambda: (setattr(actions, "on_ask", lambda: None), die())
    assert type(task.run().error) is Died
    world.later(60, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"
    assert "task state store cannot be written: the backend is away" in task.log
    assert ("task state store cannot be read: the backend is away" in task.log) is not can_be_read
    # without what was recorded, the numbers of the tries alone tell that a question may be open
    assert actions.asked == (2 if can_be_read else 1)
    assert callbacks(world, task) == 1


def test_an_answer_to_a_question_of_before_a_clear_is_not_taken(
    world: World, approval: Make, actions: RequiredActions, resumes: bool
) -> None:
    # the first try has asked about an earlier SOPS task; cleared with it, the new one has not come to its node
    task = approval(max_outage=600)
    actions.on_ask = lambda: (setattr(actions, "on_ask", lambda: None), die())
    task.run()
    task.clear()
    task.arguments["sops_task_id"] = world.fake.create_task("Pause for a person")
    world.later(0.5, lambda: actions.answer("Approve"))
    world.later(200, lambda: actions.answer("Reject"))
    assert type(task.run().error) is SopsApprovalRejectedException
    assert task.sent() == 0


# ---- killed before and after each request ----

REQUESTS = ("get_task_detail", "get_task_status", "get_task_node_detail", "operate_node")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("api", REQUESTS)
def test_a_worker_killed_at_a_request_neither_doubles_nor_loses_it(
    world: World,
    approval: Make,
    actions: RequiredActions,
    api: str,
    nth: int,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = approval()
    killed = kill_at(monkeypatch, api, nth, when)
    world.later(60, lambda: actions.answer("Approve"))
    for _ in range(3):
        task.run()
        if type(task.error) is not Died:
            break
    assert task.outcome["answer"] == "Approve"
    assert callbacks(world, task) == 1
    assert actions.asked == 1
    if (api, nth) in (("get_task_detail", 1), ("get_task_status", 1), ("operate_node", 1)):
        assert killed


def kill_at(monkeypatch: pytest.MonkeyPatch, api: str, nth: int, when: str) -> list[str]:
    """Let the worker die before or after its nth request of an API."""
    from airflow_provider_sops.core.http.client import SopsClient

    killed: list[str] = []
    seen = [0]
    send = SopsClient.send

    def dying(self: Any, call: Any) -> Any:
        seen[0] += call.name == api
        if call.name == api and seen[0] == nth and not killed and when == "before":
            killed.append(api)
            die()
        answer = send(self, call)
        if call.name == api and seen[0] == nth and not killed:
            killed.append(api)
            die()
        return answer

    monkeypatch.setattr(SopsClient, "send", dying)
    return killed


@pytest.mark.parametrize("at", ["before it looks", "after it has found the answer", "while it waits"])
def test_a_killed_triggerer_loses_nothing(
    world: World, approval: Make, actions: RequiredActions, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = approval()
    task.resumes = False
    kills: list[str] = []
    if at == "while it waits":
        world.later(30, lambda: kill(kills))
        world.later(60, lambda: actions.answer("Approve"))
    else:
        look = approval_loop.ApprovalLoop._look

        async def dying(self: Any, now: float) -> Any:
            if at == "before it looks":
                kill(kills)
            event = await look(self, now)
            if event is not None:
                kill(kills)
            return event

        monkeypatch.setattr(approval_loop.ApprovalLoop, "_look", dying)
        actions.on_ask = lambda: actions.answer("Approve")
    run_in_triggerer = task.in_triggerer

    def with_another(row: tuple[str, dict[str, Any]]) -> Any:
        """Another triggerer takes the trigger over, from its row."""
        try:
            return run_in_triggerer(row)
        except KilledTriggerer:
            return run_in_triggerer(row)

    monkeypatch.setattr(task, "in_triggerer", with_another)
    assert task.run().outcome["answered_by"] == "alice"
    assert kills
    assert (actions.asked, callbacks(world, task)) == (1, 1)


def kill(kills: list[str]) -> None:
    """Let the triggerer die here, once."""
    if not kills:
        kills.append("killed")
        raise KilledTriggerer
