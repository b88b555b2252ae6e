# SPDX-License-Identifier: Apache-2.0
"""Running a SOPS task whose wait is ended by its trigger: the same XComs as by a worker, and what later tries do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_sops import compat
from airflow_provider_sops.links.sops import SopsTaskLink
from tests.operators.airflow_task import AirflowTask, Store, Triggerer, Try
from tests.operators.conftest import World
from tests.triggers.ended import Supervisor, needs_end_from_trigger
from tests.triggers.test_verdict_cases import in_triggerer

pytestmark = needs_end_from_trigger

LONG: dict[str, Any] = {"template_id": 103, "constants": {"seconds": "100"}}
FAILS: dict[str, Any] = {"template_id": 106}
LINK = compat.link_key(SopsTaskLink())


@pytest.fixture
def go_on(world: World, busy: list[int], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Supervisor]]:
    """Let a triggerer run the trigger of a deferred try; the event is ``success`` when it has ended the task."""

    def go_on(one: Try, **supervisor: Any) -> tuple[Any, Supervisor]:
        from types import SimpleNamespace

        from airflow.sdk.execution_time import task_runner

        assert isinstance(one.error, TaskDeferred), one.error
        of_triggerer = Supervisor(one.ti, **supervisor)
        one.ti.state = "deferred"
        with monkeypatch.context() as patch:
            patch.setattr(task_runner, "SUPERVISOR_COMMS", of_triggerer, raising=False)
            where: Any = SimpleNamespace(world=world, lines=one.lines)
            event = in_triggerer(where, one.error.trigger.serialize(), busy, 7, one.ti)
        return event, of_triggerer

    return go_on


def deferred(task: AirflowTask, **arguments: Any) -> Try:
    one = task.run(deferrable=True, **{"end_from_trigger": True, **arguments})
    assert isinstance(one.error, TaskDeferred), one.error
    return one


def resume(one: Try, event: Any) -> Any:
    """The worker's leg after the wait."""
    assert isinstance(one.error, TaskDeferred)
    kwargs = json.loads(json.dumps({**(one.error.kwargs or {}), "event": event}))
    return one.anew().resume_execution(one.error.method_name, kwargs, one.context)


@pytest.mark.parametrize(
    "arguments", [{}, {"push_outputs": False}, {"do_xcom_push": False}, {"allowed_states": ["FINISHED", "REVOKED"]}]
)
@pytest.mark.parametrize("revoked", [False, True])
def test_it_pushes_what_a_worker_pushes(
    world: World,
    go_on: Callable[..., Any],
    triggerer: Triggerer,
    arguments: dict[str, Any],
    revoked: bool,
) -> None:
    if revoked and "allowed_states" not in arguments:
        pytest.skip("it is a bad end")
    worker = AirflowTask({**LONG, **arguments}, triggerer=triggerer).next_try()
    one = deferred(AirflowTask({**LONG, **arguments}))
    if revoked:
        world.later(20, lambda: world.fake.operate(one.ti.xcoms["sops_task_id"], "revoke"))
    event, supervisor = go_on(one)
    assert event == "success"
    if revoked:
        world.later(20, lambda: world.fake.operate(worker.ti.xcoms["sops_task_id"], "revoke"))
    worker.execute()
    expected = {**worker.ti.xcoms, "return_value": worker.outcome}
    ended = {**one.ti.xcoms, **supervisor.pushed}
    if arguments.get("do_xcom_push", True):
        assert ended.pop(LINK) == ended["sops_task_url"]
        assert supervisor.pushes[0][0] == "return_value"
    else:
        assert supervisor.pushes == []
        del expected["return_value"]  # Airflow drops it
    for xcoms in (ended, expected):
        xcoms.pop("sops_task_id", None)
        xcoms.pop("sops_task_url", None)
    assert ended == expected
    assert len(world.started()) == 2


def test_a_bad_end_is_a_worker_s(world: World, go_on: Callable[..., Any]) -> None:
    one = deferred(AirflowTask(FAILS))
    event, supervisor = go_on(one)
    assert event["outcome"] == "failure"
    assert supervisor.pushes == []
    with pytest.raises(Exception, match="has FAILED"):
        resume(one, event)


@pytest.mark.parametrize("refused", [0, 3])
def test_what_airflow_does_not_take_is_a_worker_s(world: World, go_on: Callable[..., Any], refused: int) -> None:
    def refuse(number: int) -> None:
        if number == refused:
            raise RuntimeError

    one = deferred(AirflowTask(LONG))
    event, _ = go_on(one, before_push=refuse)
    assert event["outcome"] == "success"
    assert resume(one, event)["EXIT"] == "0"


class TestClear:
    """A trigger cannot record the end in the store; a later clear runs a new SOPS task all the same."""

    @pytest.mark.parametrize("store", [True, False])
    @pytest.mark.parametrize("run_has_ended", [True, False])
    def test_it_runs_a_new_one(self, world: World, go_on: Callable[..., Any], store: bool, run_has_ended: bool) -> None:
        task = AirflowTask(LONG, store=Store() if store else None)
        assert go_on(deferred(task))[0] == "success"
        task.clear(run_has_ended=run_has_ended)
        assert task.run(deferrable=False).outcome["EXIT"] == "0"
        assert len(world.started()) == 2
        assert set(world.states().values()) == {"FINISHED"}

    def test_it_does_also_after_retries_was_edited(self, world: World, go_on: Callable[..., Any]) -> None:
        task = AirflowTask(LONG, store=Store(), retries=2)
        assert go_on(deferred(task))[0] == "success"
        task.retries = 1  # so that Airflow's numbers are those of a retry
        task.clear(run_has_ended=False)
        assert task.max_tries == 2
        assert task.run(deferrable=False).outcome["EXIT"] == "0"
        assert len(world.started()) == 2

    def test_a_further_clear_too(self, world: World, go_on: Callable[..., Any]) -> None:
        task = AirflowTask(LONG, store=Store(), retries=3)
        for tries in (1, 2, 3):
            assert go_on(deferred(task))[0] == "success"
            assert len(world.started()) == tries
            task.retries -= 1
            task.clear(run_has_ended=False)
            assert task.max_tries == 3

    def test_reattached_it_takes_up_the_one_there_is(self, world: World, go_on: Callable[..., Any]) -> None:
        task = AirflowTask({**LONG, "on_clear": "reattach"}, store=Store())
        assert go_on(deferred(task))[0] == "success"
        task.clear(run_has_ended=False)
        assert task.run(deferrable=False).outcome["EXIT"] == "0"
        assert len(world.started()) == 1


class TestRetry:
    """A retry never takes the end that was left to a trigger for one that a user has cleared."""

    def test_after_a_worker_has_died(self, world: World, go_on: Callable[..., Any]) -> None:
        """Airflow could not store the XComs, the worker has gone on and died, and ``retries`` was edited meanwhile."""

        def refuse(number: int) -> None:
            raise RuntimeError

        task = AirflowTask(LONG, store=Store(), retries=2)
        one = deferred(task)
        event, _ = go_on(one, before_push=refuse)
        world.fake.deny("get_task_detail")  # so that this leg fails
        with pytest.raises(Exception, match="get_task_detail"):
            resume(one, event)
        world.fake.grant("get_task_detail")
        task.retries = 1
        assert task.run(deferrable=False).outcome["EXIT"] == "0"
        assert len(world.started()) == 1

    def test_while_the_sops_task_runs(self, world: World) -> None:
        task = AirflowTask(LONG, store=Store(), retries=2)
        deferred(task)
        task.retries = 1
        assert task.run(deferrable=False).outcome["EXIT"] == "0"
        assert len(world.started()) == 1


class Full(Store):
    """A store that takes nothing any more."""

    full = False

    def set(self, key: str, value: Any) -> None:
        if self.full or value.get("left_to_trigger"):
            raise OSError("full")
        super().set(key, value)


def test_where_it_cannot_be_recorded_a_worker_ends_it(world: World, go_on: Callable[..., Any]) -> None:
    one = deferred(AirflowTask(LONG, store=Full()))
    assert sum("so a worker will end this task: full" in line for line in one.lines) == 1
    event, _ = go_on(one)
    assert event["outcome"] == "success"
    assert resume(one, event)["EXIT"] == "0"


def test_a_store_that_a_worker_s_success_empties(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    one = deferred(AirflowTask(LONG, store=Store()))
    assert isinstance(one.error, TaskDeferred)
    assert one.error.trigger.serialize()[1]["end_from_trigger"] is False
    assert sum("clear_on_success is on" in line for line in one.lines) == 1


def test_a_reason_against_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {**LONG, "on_success_callback": lambda context: None}
    with pytest.raises(ValueError, match="its on_success_callback"):
        AirflowTask(arguments).next_try(deferrable=True, end_from_trigger=True)
    monkeypatch.setenv("AIRFLOW__SOPS__END_FROM_TRIGGER", "True")
    one = deferred(AirflowTask(arguments, store=Store()), end_from_trigger=None)
    assert isinstance(one.error, TaskDeferred)
    assert one.error.trigger.serialize()[1]["end_from_trigger"] is False
    assert (
        sum("A worker will end this task, not its trigger: its on_success_callback" in line for line in one.lines) == 1
    )
    assert deferred(AirflowTask(LONG), end_from_trigger=None).error.trigger.serialize()[1]["end_from_trigger"] is True  # type: ignore[union-attr]
