# SPDX-License-Identifier: Apache-2.0
"""Running a SOPS task deferred: when it defers, its deadlines, being killed, and the same words as in a worker."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_sops.compat import KILLS_REACH_TRIGGERS
from airflow_provider_sops.exceptions import (
    SopsConfigException,
    SopsTimedOutException,
)
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.triggers import on_kill
from airflow_provider_sops.triggers.sops import SopsTaskTrigger
from tests.operators.airflow_task import AirflowTask, Instance, Store, Triggerer, Try
from tests.operators.conftest import World
from tests.secrets import MARKS
from tests.tasks import _Lines

LONG = {"template_id": 103}
FAILS = {"template_id": 106}


def collect_lines(trigger: SopsTaskTrigger) -> list[str]:
    """What a trigger writes into its task's log."""
    lines: list[str] = []
    logger = logging.Logger("trigger")  # noqa: LOG001 (in no tree)
    logger.addHandler(_Lines(lines))
    # a plain logger takes its lines too
    trigger._log = logger  # type: ignore[assignment]
    return lines


def deferral(one: Try) -> TaskDeferred:
    """What a try deferred with."""
    assert isinstance(one.error, TaskDeferred), one.error
    return one.error


def test_it_defers_with_ids_and_numbers_only(world: World) -> None:
    one = AirflowTask({**LONG, "constants": {"IP": "10.0.0.77"}}).run(deferrable=True)
    path, row = deferral(one).trigger.serialize()
    text = json.dumps([path, row, deferral(one).kwargs])
    assert not [mark for mark in (*MARKS, "10.0.0.77") if mark in text]
    assert row["sops_task_id"] == one.ti.xcoms["sops_task_id"] == world.fake.tasks[0].id
    assert one.ti.xcoms["sops_task_url"]
    assert row["revoke_on_kill"] is True
    assert row["deadline"] is None


def test_it_does_not_defer_for_a_task_that_has_ended(world: World) -> None:
    task = AirflowTask({**LONG, "constants": {"seconds": "1"}})
    deferral(task.run(deferrable=True))
    world.fake.advance(60)
    assert task.run(deferrable=True).outcome["EXIT"] == "0"


def test_the_log_says_whether_a_kill_reaches_it(world: World) -> None:
    one = AirflowTask(LONG).run(deferrable=True)
    assert ("Before Airflow 3.3 nothing runs when a deferred task is killed" in one.log) is not KILLS_REACH_TRIGGERS


def test_certificates_that_the_triggerer_lacks_are_a_wrong_connection_and_a_retry_goes_on(
    world: World, triggerer: Triggerer, connect: Callable[..., None]
) -> None:
    def lacking(row: Any, lines: list[str]) -> Any:
        connect(world.fake, verify="/nowhere/ca.pem")
        event = triggerer(row, lines)
        connect(world.fake)
        return event

    task = AirflowTask(LONG, triggerer=lacking)
    error = task.run().error
    assert isinstance(error, SopsConfigException)
    assert error.field == "verify"
    assert error.problem.endswith("(found by the triggerer)")
    task.triggerer = triggerer
    assert task.run().outcome["EXIT"] == "0"
    assert list(world.states().values()) == ["FINISHED"]


def test_it_pushes_its_outputs_when_it_is_resumed(world: World, triggerer: Triggerer) -> None:
    one = AirflowTask({**LONG, "constants": {"seconds": "100"}}, triggerer=triggerer).run()
    assert one.outcome == {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}
    assert one.ti.xcoms["${IP}"] == one.ti.xcoms["IP"] == "127.0.0.1"


@pytest.mark.parametrize("denied", [[], ["get_tasks_status"]])
@pytest.mark.parametrize("deferred", [True, False])
def test_a_pause_is_told_with_the_link(world: World, triggerer: Triggerer, deferred: bool, denied: list[str]) -> None:
    world.fake.deny(*denied)
    world.later(30, lambda: world.fake.operate(world.started()[0], "pause"))
    world.later(100, lambda: world.fake.operate(world.started()[0], "resume"))
    task = AirflowTask({**LONG, "constants": {"seconds": "200"}}, triggerer=triggerer if deferred else None)
    one = task.run()
    assert one.outcome["EXIT"] == "0"
    told = [line for line in one.lines if "SUSPENDED" in line]
    assert told
    assert all(line.endswith(f"instance_id={world.started()[0]}") for line in told)


class TestSameText:
    """A task that ends badly is explained in the same words, whatever the mode: here it is one task, seen by two."""

    def texts(self, world: World, triggerer: Triggerer, arguments: dict[str, Any], act: Any = None) -> list[str]:
        task = AirflowTask(arguments)
        deferred = task.run(deferrable=True)
        went = deferral(deferred)
        if act is not None:
            world.later(100, lambda: act(world.fake, deferred.ti.xcoms["sops_task_id"]))
        worker = task.run(deferrable=False)
        assert worker.error is not None
        event = triggerer(went.trigger.serialize(), [])
        kwargs = {**(went.kwargs or {}), "event": event}
        with pytest.raises(type(worker.error)) as caught:
            deferred.anew().resume_execution("execute_complete", kwargs, deferred.context)
        assert type(caught.value) is type(worker.error)
        assert len(world.fake.tasks) - sum(len(one.child_ids) for one in world.fake.tasks) == 1
        return [str(worker.error), str(caught.value)]

    @pytest.mark.parametrize("template", [106, 108, 115, 119, 122, 114])
    def test_of_a_failed_task(self, world: World, triggerer: Triggerer, template: int) -> None:
        in_worker, deferred = self.texts(world, triggerer, {"template_id": template})
        assert in_worker == deferred
        assert "has FAILED." in in_worker
        assert "  Node " in in_worker
        assert "Task page: http" in in_worker

    @pytest.mark.parametrize("denied", [[], ["get_tasks_status"]])
    @pytest.mark.parametrize("act", ["revoke", "delete", "expire"])
    def test_of_one_that_a_person_has_stopped(
        self, world: World, triggerer: Triggerer, act: str, denied: list[str]
    ) -> None:
        world.fake.deny(*denied)

        def stop(fake: FakeSops, task_id: int) -> None:
            {
                "revoke": lambda: fake.operate(task_id, "revoke"),
                "delete": lambda: fake.delete_task(task_id),
                "expire": lambda: fake.expire_task(task_id),
            }[act]()

        in_worker, deferred = self.texts(world, triggerer, LONG, stop)
        assert in_worker == deferred
        assert "instance_id=" in in_worker

    def test_of_one_that_is_paused(self, world: World, triggerer: Triggerer) -> None:
        def pause(fake: FakeSops, task_id: int) -> None:
            fake.operate(task_id, "pause")

        in_worker, deferred = self.texts(world, triggerer, {**LONG, "on_suspended": "fail"}, pause)
        assert in_worker == deferred

    def test_of_one_that_does_not_start(self, world: World, triggerer: Triggerer) -> None:
        world.fake.start_delay = None
        in_worker, deferred = self.texts(world, triggerer, {**LONG, "start_timeout": 90})
        assert in_worker == deferred


class TestStart:
    def test_one_that_starts_in_time(self, world: World, triggerer: Triggerer) -> None:
        world.fake.start_delay = 40
        one = AirflowTask({**LONG, "constants": {"seconds": "10"}, "start_timeout": 60}, triggerer=triggerer).run()
        assert one.outcome["EXIT"] == "0"

    def test_one_that_starts_in_the_last_moment(self, world: World, triggerer: Triggerer) -> None:
        """The triggerer has not seen it yet, the resumed task has."""
        world.fake.start_delay = None
        calls: list[Any] = []

        def late(row: Any, lines: list[str]) -> Any:
            event = triggerer(row, lines)
            if not calls:
                world.fake.revive_worker()
                world.fake.advance(1)
            calls.append(event)
            return event

        one = AirflowTask({**LONG, "constants": {"seconds": "10"}, "start_timeout": 60}, triggerer=late).run()
        assert one.outcome["EXIT"] == "0"
        assert [event["outcome"] for event in calls] == ["not_started", "success"]


class TestDeadline:
    TASK = {**LONG, "execution_timeout": timedelta(minutes=10)}  # noqa: RUF012

    def test_it_comes_before_airflow_s(self, world: World) -> None:
        for seconds, margin in ((600, 10), (20, 2)):
            began = world.now
            one = AirflowTask({**LONG, "execution_timeout": timedelta(seconds=seconds)}).run(deferrable=True)
            assert deferral(one).trigger.deadline == pytest.approx(began + seconds - margin, abs=1)
            assert deferral(one).timeout > timedelta(seconds=seconds)

    @pytest.mark.parametrize("store", [None, Store()])
    def test_it_revokes_and_a_retry_runs_a_new_one(
        self, world: World, triggerer: Triggerer, store: Store | None
    ) -> None:
        task = AirflowTask({**self.TASK, "constants": {"seconds": "300"}}, triggerer=triggerer, store=store)
        world.later(30, lambda: world.fake.operate(world.started()[0], "pause"))
        began = world.now
        with pytest.raises(SopsTimedOutException) as caught:
            task.run().outcome  # noqa: B018
        assert 580 <= world.now - began <= 600
        first, second = world.fake.tasks
        assert str(caught.value) == (
            f"SOPS task {first.id} has not ended within 600 s (execution_timeout): it is SUSPENDED; it was revoked."
        )
        assert (first.state, second.state) == ("REVOKED", "CREATED")
        assert task.run().outcome["EXIT"] == "0"
        assert world.started() == [first.id, second.id]

    def test_without_a_retry_left_none_is_created(self, world: World, triggerer: Triggerer) -> None:
        assert isinstance(AirflowTask(self.TASK, triggerer=triggerer, retries=0).run().error, SopsTimedOutException)
        assert list(world.states().values()) == ["REVOKED"]

    def test_switched_off_it_revokes_nothing(self, world: World, triggerer: Triggerer) -> None:
        one = AirflowTask({**self.TASK, "revoke_on_kill": False}, triggerer=triggerer).run()
        assert "left running, as revoke_on_kill is off" in str(one.error)
        assert list(world.states().values()) == ["RUNNING"]

    def test_what_cannot_be_revoked_is_said(self, world: World, triggerer: Triggerer) -> None:
        world.fake.deny("operate_task")
        one = AirflowTask(self.TASK, triggerer=triggerer).run()
        assert isinstance(one.error, SopsTimedOutException)
        assert "it could not be revoked and may still run" in str(one.error)

    def test_where_no_triggerer_runs_airflow_s_own_end_revokes_too(self, world: World) -> None:
        task = AirflowTask(self.TASK)
        one = task.run(deferrable=True)
        deferral(one)
        world.fake.advance(1)
        words = "Trigger/execution timeout" if airflow.__version__.startswith("2.") else "Trigger timeout"
        with pytest.raises(SopsTimedOutException, match="no triggerer ran its trigger; it was revoked"):
            one.anew().resume_execution("__fail__", {"error": words}, one.context)
        first, second = world.fake.tasks
        assert (first.state, second.state) == ("REVOKED", "CREATED")

    def test_what_is_revoked_then_is_what_was_waited_for(self, world: World) -> None:
        """Not the newer one, which an earlier try has created and not started."""
        task = AirflowTask({**FAILS, "execution_timeout": timedelta(minutes=10)})
        task.run(deferrable=False)
        world.fake.deny("operate_task")
        task.run(deferrable=False)
        first, second = (one.id for one in world.fake.tasks)
        world.fake.grant("operate_task")
        world.fake.operate(first, "pause")
        world.fake.operate_node(first, "call", "retry")  # it waits for the task, which has not failed now
        one = task.run(deferrable=True)
        deferral(one)
        assert one.ti.xcoms["sops_task_id"] == first
        words = "Trigger/execution timeout" if airflow.__version__.startswith("2.") else "Trigger timeout"
        with pytest.raises(SopsTimedOutException, match=f"SOPS task {first} has not ended"):
            one.anew().resume_execution("__fail__", {"error": words}, one.context)
        assert world.fake.task(second).starts == []

    def test_other_ends_of_a_trigger_stay_what_they_are(self, world: World) -> None:
        one = AirflowTask(self.TASK).run(deferrable=True)
        world.fake.advance(1)
        with pytest.raises(Exception, match="broken") as caught:
            one.anew().resume_execution("__fail__", {"error": "broken"}, one.context)
        assert not isinstance(caught.value, SopsTimedOutException)
        assert list(world.states().values()) == ["RUNNING"]


class TestKilled:
    """What Airflow 3.3 calls when a user kills a deferred task."""

    @pytest.fixture
    def trigger(self, sops: FakeSops, connect: Callable[..., None]) -> SopsTaskTrigger:
        connect(sops)
        task_id = sops.create_task("Long sleep")
        sops.advance(10)
        trigger = SopsTaskTrigger(task_id, sops.bk_biz_id, "cmdb_biz", "sops_default", 10.0, revoke_on_kill=True)
        trigger.task_instance = Instance()  # type: ignore[assignment]
        self.lines = collect_lines(trigger)
        return trigger

    def state(self, sops: FakeSops) -> str:
        return sops.tasks[0].state

    @pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", None])
    def test_ended_or_cleared_by_a_user_it_is_revoked_once(
        self, sops: FakeSops, trigger: SopsTaskTrigger, state: str | None
    ) -> None:
        trigger.task_instance.state = state  # type: ignore[union-attr]
        asyncio.run(trigger.on_kill())
        assert self.state(sops) == "REVOKED"
        assert sops.count("operate_task") == 1
        assert f"This Airflow task was killed: revoked SOPS task {trigger.spec.sops_task_id}." in "\n".join(self.lines)

    def test_a_deleted_run_has_ended_too(self, sops: FakeSops, trigger: SopsTaskTrigger) -> None:
        trigger.task_instance.get_task_states = lambda **which: {}  # type: ignore[union-attr]
        asyncio.run(trigger.on_kill())
        assert self.state(sops) == "REVOKED"

    @pytest.mark.parametrize("state", ["deferred", "scheduled", "queued", "running", "up_for_retry"])
    def test_where_nobody_is_known_to_have_acted_nothing_is_revoked(
        self, sops: FakeSops, trigger: SopsTaskTrigger, state: str
    ) -> None:
        """Another triggerer has taken the trigger over, or Airflow has resumed the task; or a clear was quick."""
        trigger.task_instance.state = state  # type: ignore[union-attr]
        asyncio.run(trigger.on_kill())
        assert self.state(sops) == "RUNNING"
        assert sops.count("operate_task") == 0
        assert f"SOPS task {trigger.spec.sops_task_id} is left running" in "\n".join(self.lines)
        assert f"says that the task is {state}" in "\n".join(self.lines)

    def test_the_look_at_the_state_comes_last(self, sops: FakeSops, trigger: SopsTaskTrigger) -> None:
        """What was true before the connection was looked up may not be so any more."""
        asked: list[int] = []
        trigger.task_instance.get_task_states = lambda **which: asked.append(sops.count()) or {}  # type: ignore[union-attr, func-returns-value]
        trigger.task_instance.state = "failed"  # type: ignore[union-attr]
        asyncio.run(trigger.on_kill())
        assert asked == [0]
        assert [request.api for request in sops.requests] == ["get_task_status", "operate_task"]

    def test_what_it_has_seen_running_is_not_looked_at_again(self, sops: FakeSops, trigger: SopsTaskTrigger) -> None:
        trigger.task_instance.state = "failed"  # type: ignore[union-attr]

        async def kill() -> None:
            waiting = asyncio.ensure_future(anext(trigger.run()))
            while not any("RUNNING" in line for line in self.lines):  # noqa: ASYNC110 (of a log nobody tells)
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            sops.clear_requests()
            await trigger.on_kill()

        asyncio.run(kill())
        assert [request.api for request in sops.requests] == ["operate_task"]
        assert self.state(sops) == "REVOKED"

    def test_a_wait_that_has_ended_by_itself_is_not_a_user_s_end(
        self, sops: FakeSops, trigger: SopsTaskTrigger
    ) -> None:
        """Another triggerer has seen the wait to a bad end while this one stood still."""
        trigger.task_instance.state = "failed"  # type: ignore[union-attr]
        trigger.task_instance.xcoms["sops_wait_ended"] = trigger.spec.sops_task_id  # type: ignore[union-attr]
        asyncio.run(trigger.on_kill())
        assert self.state(sops) == "RUNNING"
        assert "had ended before, by no user's hand" in "\n".join(self.lines)

    def test_a_task_that_has_returned_its_outputs_was_not_marked_by_a_user(
        self, sops: FakeSops, trigger: SopsTaskTrigger
    ) -> None:
        """`dag.test()` leaves a trigger behind, which a triggerer ends; the id may be another task's meanwhile."""
        trigger.task_instance.state = "success"  # type: ignore[union-attr]
        trigger.task_instance.xcoms["return_value"] = {}  # type: ignore[union-attr]
        asyncio.run(trigger.on_kill())
        assert self.state(sops) == "RUNNING"
        assert sops.count("operate_task") == 0
        assert "had ended before, by no user's hand" in "\n".join(self.lines)

    def test_what_a_later_try_runs_is_not_its_concern(self, sops: FakeSops, trigger: SopsTaskTrigger) -> None:
        trigger.task_instance.state = "failed"  # type: ignore[union-attr]
        trigger.task_instance.xcoms["sops_task_id"] = trigger.spec.sops_task_id + 1  # type: ignore[union-attr]
        asyncio.run(trigger.on_kill())
        assert self.state(sops) == "RUNNING"
        assert f"has gone on with SOPS task {trigger.spec.sops_task_id + 1}" in "\n".join(self.lines)

    def test_switched_off_it_does_not(self, sops: FakeSops, trigger: SopsTaskTrigger) -> None:
        trigger.spec = trigger.spec._replace(revoke_on_kill=False)
        asyncio.run(trigger.on_kill())
        assert self.state(sops) == "RUNNING"

    @pytest.mark.parametrize(
        ("state", "expected"),
        [(None, "RUNNING"), ("scheduled", "RUNNING"), ("failed", "REVOKED"), ("success", "REVOKED")],
    )
    def test_reattaching_it_keeps_what_is_cleared(
        self, sops: FakeSops, trigger: SopsTaskTrigger, state: str | None, expected: str
    ) -> None:
        trigger.spec = trigger.spec._replace(keep_when_cleared=True)
        trigger.task_instance.state = state  # type: ignore[union-attr]
        asyncio.run(trigger.on_kill())
        assert self.state(sops) == expected

    @pytest.mark.parametrize("keep_when_cleared", [False, True])
    def test_where_airflow_does_not_say_why_nothing_is_revoked(
        self, sops: FakeSops, trigger: SopsTaskTrigger, keep_when_cleared: bool
    ) -> None:
        trigger.spec = trigger.spec._replace(keep_when_cleared=keep_when_cleared)
        trigger.task_instance = None
        asyncio.run(trigger.on_kill())
        assert self.state(sops) == "RUNNING"
        assert "Airflow does not answer what it wants" in "\n".join(self.lines)

    def test_one_attempt_and_no_more(self, sops: FakeSops, trigger: SopsTaskTrigger) -> None:
        trigger.task_instance.state = "failed"  # type: ignore[union-attr]
        sops.faults.add("operate_task", kind="drop", times=None)
        asyncio.run(trigger.on_kill())
        assert sops.count("operate_task") == 1
        assert "could not be revoked, it may still run" in "\n".join(self.lines)

    def test_it_takes_less_than_airflow_gives_it(
        self,
        sops: FakeSops,
        trigger: SopsTaskTrigger,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert on_kill.KILL_SECONDS == 25.0
        monkeypatch.setattr(on_kill, "KILL_SECONDS", 1.0)
        trigger.task_instance.state = "failed"  # type: ignore[union-attr]
        answered = threading.Event()
        sops.on_request = lambda when, request: answered.wait(30)
        asyncio.run(trigger.on_kill())
        answered.set()
        assert "was revoked is not known: no answer in time" in "\n".join(self.lines)

    def test_it_is_seen_through_though_airflow_cancels_it_at_each_of_its_rounds(
        self, sops: FakeSops, trigger: SopsTaskTrigger
    ) -> None:
        trigger.task_instance.state = "failed"  # type: ignore[union-attr]
        asked, answered = threading.Event(), threading.Event()

        def hang(when: str, request: object) -> None:
            asked.set()
            answered.wait(30)

        sops.on_request = hang

        async def kill() -> None:
            killing = asyncio.ensure_future(trigger.on_kill())
            await asyncio.to_thread(asked.wait, 30)
            for _ in range(3):
                killing.cancel("user-action")
                await asyncio.sleep(0)
            answered.set()
            await killing

        asyncio.run(kill())
        assert self.state(sops) == "REVOKED"
        assert f"revoked SOPS task {trigger.spec.sops_task_id}." in "\n".join(self.lines)

    def test_a_cancelled_wait_revokes_nothing(self, sops: FakeSops, trigger: SopsTaskTrigger) -> None:
        """A triggerer that restarts cancels its triggers, and cleans them up."""

        asked = threading.Event()
        sops.on_request = lambda when, request: asked.set()

        async def restart() -> None:
            waiting = asyncio.ensure_future(anext(trigger.run()))
            await asyncio.to_thread(asked.wait, 30)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await trigger.cleanup()

        asyncio.run(restart())
        assert self.state(sops) == "RUNNING"
        assert sops.count("operate_task") == 0
