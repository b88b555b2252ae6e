# SPDX-License-Identifier: Apache-2.0
"""The table of situations once more, deferred and resumed: the sensor, its trigger, its event, the sensor again.

The event loop lives in the time of a case's world: where nothing is left to do but wait, time moves.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import logging
import selectors
from collections.abc import Callable
from typing import Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from airflow_provider_sops import exceptions
from airflow_provider_sops.core.http import async_client
from airflow_provider_sops.core.poll import poller
from airflow_provider_sops.trigger_events import Outcome, make_event
from airflow_provider_sops.triggers import shared_pollers, task_end, wait_start
from tests.sensors.test_sops import BAD, Run, check, start  # noqa: F401 (a fixture)
from tests.tasks import _Lines
from tests.verdict_cases import CASES, HOUR, Case, World, fault, heal, operate

assert poller  # loaded, so that its time is moved too


class WorldSelector(selectors.DefaultSelector):
    """Waits for sockets in real time, and for timers in the world's."""

    def __init__(self, world: World, busy: list[int]) -> None:
        super().__init__()
        self.world, self.busy = world, busy

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if self.busy[0] or timeout is None:  # an answer or a thread is on its way
            return super().select(0.02)
        self.world.sleep(timeout)
        return []


class WorldLoop(asyncio.SelectorEventLoop):
    """An event loop in the time of a case's world."""

    def __init__(self, world: World, busy: list[int]) -> None:
        super().__init__(WorldSelector(world, busy))
        self.world = world
        self._clock_resolution = 0.001  # a finer one would be lost in the size of the time

    def time(self) -> float:
        return self.world.now


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many answers are on their way in a triggerer: the world's time stands still meanwhile."""
    busy = [0]

    def counted(function: Any) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            busy[0] += 1
            try:
                return await function(*args, **kwargs)
            finally:
                busy[0] -= 1

        return call

    monkeypatch.setattr(async_client.AsyncSopsClient, "_send_once", counted(async_client.AsyncSopsClient._send_once))
    monkeypatch.setattr(shared_pollers, "connect", counted(shared_pollers.connect))
    monkeypatch.setattr(wait_start, "look_up_site", counted(shared_pollers.look_up_site))
    for module in (task_end, wait_start):
        monkeypatch.setattr(module, "ask_airflow", counted(module.ask_airflow))
    return busy


@pytest.fixture
def defer(busy: list[int]) -> Callable[..., None]:
    """Wait deferred: as far as the deferral, then in a trigger made anew from its row, then resumed by its event."""

    def defer(run: Run, **arguments: Any) -> None:
        run.pokes = 2  # two processes, of which each tells what it has to
        try:
            run.result = run.sensor(deferrable=True, **arguments).execute(run.ti.context)
        except TaskDeferred as deferral:
            run.lines += run.lines_of_sensor
            try:
                event = in_triggerer(run, deferral.trigger.serialize(), busy)
                sensor = run.sensor(deferrable=True, **arguments)
                run.result = sensor.resume_execution(deferral.method_name, {"event": event}, run.ti.context)
            except Exception as error:
                run.error = error
        except Exception as error:
            run.error = error
        run.lines += run.lines_of_sensor

    return defer


def in_triggerer(
    run: Any,
    row: tuple[str, dict[str, Any]],
    busy: list[int],
    trigger_id: int | None = None,
    task_instance: Any = None,
    *,
    prepare: Callable[[Any], object] = lambda trigger: None,
) -> Any:
    """Run a trigger from what stands in the database, and hand its event through JSON.

    :param trigger_id: what a real triggerer gives it, and ``dag.test()`` does not.
    :param task_instance: the same.
    :param prepare: what else a triggerer does with a trigger before it runs.
    :return: the event's payload; ``success`` when it ends the task.
    """
    path, arguments = row
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    trigger.trigger_id = trigger_id
    if task_instance is not None:
        trigger.task_instance = task_instance
    trigger._log = logging.Logger("trigger")  # noqa: LOG001 (in no tree)
    trigger._log.addHandler(_Lines(run.lines))
    prepare(trigger)

    async def fire() -> Any:
        async for event in trigger.run():
            assert getattr(event, "xcoms", None) is None  # Airflow would commit the end before them
            return event.payload

    loop = WorldLoop(run.world, busy)
    try:
        payload = loop.run_until_complete(fire())
        busy[0] += 1  # time stands still while the poller ends
        loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
        busy[0] -= 1
        return json.loads(json.dumps(payload))
    finally:
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_deferred_and_resumed(case: Case, start: Callable[..., Run], defer: Callable[..., None]) -> None:  # noqa: F811
    run = start(case)
    defer(run)
    check(run)


@pytest.mark.parametrize("case", BAD, ids=str)
def test_soft_fail_does_the_same_deferred(
    case: Case,
    start: Callable[..., Run],  # noqa: F811
    defer: Callable[..., None],
) -> None:
    run = start(case)
    defer(run, soft_fail=True)
    expected = AirflowSkipException if case.expected == "failure" else getattr(exceptions, case.exception)
    assert type(run.error) is expected, run.error


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_timeout(start: Callable[..., Run], defer: Callable[..., None], soft_fail: bool) -> None:  # noqa: F811
    run = start(Case("long", "wait", "Long sleep", within=HOUR))
    defer(run, timeout=300, soft_fail=soft_fail)
    assert type(run.error) is (AirflowSkipException if soft_fail else AirflowSensorTimeout)
    assert "has not ended within 300 s: it is RUNNING" in str(run.error)
    assert 300 <= run.world.elapsed <= 330


def test_a_failure_that_only_a_batch_tells_of(start: Callable[..., Run], defer: Callable[..., None]) -> None:  # noqa: F811
    run = start(Case("fails", "failure", "Always fails", fake={"granted": ["get_task_detail", "get_tasks_status"]}))
    defer(run)
    assert type(run.error) is exceptions.SopsTaskFailedException
    assert sum("it is decided by get_tasks_status alone" in line for line in run.lines) == 1


def test_a_failure_before_a_pause_that_only_a_batch_tells_of(
    start: Callable[..., Run],  # noqa: F811
    defer: Callable[..., None],
) -> None:
    granted = {"granted": ["get_task_detail", "get_tasks_status"]}
    run = start(Case("fails", "failure", "Always fails", fake=granted, before=operate("pause")))
    defer(run)
    assert type(run.error) is exceptions.SopsTaskFailedException
    assert run.error.state == "FAILED"
    assert 0 < run.world.elapsed <= 60


def test_a_pause_is_read_with_the_nodes_of_its_batch(start: Callable[..., Run], defer: Callable[..., None]) -> None:  # noqa: F811
    """Only the nodes say whether a paused task has failed; it costs no further requests."""
    events = ((100.0, operate("pause")), (500.0, operate("resume")))
    run = start(Case("paused", "success", "Long sleep", events=events, within=HOUR))
    defer(run)
    asked = [request for request in run.world.fake.requests if request.api == "get_tasks_status"]
    with_nodes = [request.time - run.world.begin for request in asked if "include_children_status" in request.params]
    assert 100 <= min(with_nodes) <= 130
    assert 500 <= max(with_nodes) <= 530
    assert run.world.fake.count("get_task_status") <= 4


def test_that_a_batch_decides_alone_is_told_once(start: Callable[..., Run], defer: Callable[..., None]) -> None:  # noqa: F811
    granted = {"granted": ["get_task_detail", "get_tasks_status"]}
    arguments = {"on_failed": "wait", "failed_grace": 2 * HOUR}
    run = start(Case("fails", "failure", "Always fails", arguments=arguments, fake=granted, within=3 * HOUR))
    defer(run)
    assert type(run.error) is exceptions.SopsTaskFailedException
    assert sum("it is decided by get_tasks_status alone" in line for line in run.lines) == 1


def test_progress_is_read_at_a_change_of_state_and_else_every_ten_minutes(
    start: Callable[..., Run],  # noqa: F811
    defer: Callable[..., None],
) -> None:
    events = ((300.0, operate("pause")), (4000.0, operate("resume")))
    run = start(Case("paused", "success", "Long sleep", events=events, within=2 * HOUR))
    defer(run)
    assert run.result["state"] == "FINISHED"
    asked = [request.time - run.world.begin for request in run.world.fake.requests if request.api == "get_task_status"]
    before_deferring, paused, *unchanged = asked
    assert before_deferring == 0
    assert 300 <= paused <= 320
    between = [after - before for before, after in itertools.pairwise([paused, *unchanged])]
    assert len(between) == 6  # in an hour
    assert all(600 <= gap < 620 for gap in between)
    assert run.world.fake.count("get_tasks_status") > 300


def test_no_progress_is_read_while_the_state_cannot_be(start: Callable[..., Run], defer: Callable[..., None]) -> None:  # noqa: F811
    events = ((250.0, fault("drop", times=None)), (2000.0, heal))
    case = Case("out", "success", "Long sleep", arguments={"max_outage": HOUR}, events=events, within=2 * HOUR)
    run = start(case)
    defer(run, timeout=3000)
    away = [request for request in run.world.fake.requests if 250 < request.time - run.world.begin < 2000]
    assert {request.api for request in away} == {"get_tasks_status"}


def test_a_sensor_does_not_know_of_a_start_in_time(start: Callable[..., Run]) -> None:  # noqa: F811
    run = start(Case("long", "wait", "Long sleep"))
    event = make_event(run.world.task_id, Outcome.NOT_STARTED, None)
    with pytest.raises(exceptions.SopsTriggerEventException, match="has sent 'not_started', which no sensor asks for"):
        run.sensor(deferrable=True).resume_execution("execute_complete", {"event": event}, run.ti.context)


def test_airflows_own_timeout_is_a_timeout_too(start: Callable[..., Run]) -> None:  # noqa: F811
    run = start(Case("long", "wait", "Long sleep"))
    # as the scheduler writes it
    error = {"error": "Trigger/execution timeout" if airflow.__version__.startswith("2.") else "Trigger timeout"}
    with pytest.raises(AirflowSensorTimeout, match="no triggerer ran its trigger"):
        run.sensor(deferrable=True).resume_execution("__fail__", error, run.ti.context)
    with pytest.raises(AirflowSkipException):
        run.sensor(deferrable=True, soft_fail=True).resume_execution("__fail__", error, run.ti.context)
