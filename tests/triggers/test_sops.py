# SPDX-License-Identifier: Apache-2.0
"""The trigger: what it fires, what it writes into its task's log, and what it carries."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.core.wait import verdict
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.trigger_events import Outcome, read_event
from airflow_provider_sops.triggers import shared_pollers, wait_loop
from airflow_provider_sops.triggers.sops import SopsTaskTrigger
from tests import secrets

INTERVAL = 0.2


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll faster than SOPS' cache, which the fake goes without here, and look again sooner."""
    monkeypatch.setattr(shared_pollers, "Poller", partial(Poller, min_interval=INTERVAL))
    monkeypatch.setattr(wait_loop, "_RECHECK", INTERVAL)


@pytest.fixture
def connected(sops: FakeSops, connect: Callable[..., None]) -> FakeSops:
    connect(sops)
    return sops


def trigger(task_id: int, **arguments: Any) -> SopsTaskTrigger:
    one = SopsTaskTrigger(
        **{
            "sops_task_id": task_id,
            "bk_biz_id": 2,
            "scope": "cmdb_biz",
            "sops_conn_id": "sops_default",
            "poll_interval": INTERVAL,
        }
        | arguments
    )
    # where Airflow writes a trigger's log differs between its versions
    one._log = logging.getLogger("airflow.task")  # type: ignore[assignment]
    return one


def again(one: SopsTaskTrigger) -> SopsTaskTrigger:
    """Make a trigger anew as a restarted triggerer does, from what stands in the database."""
    path, arguments = one.serialize()
    assert path == "airflow_provider_sops.triggers.sops.SopsTaskTrigger"
    return SopsTaskTrigger(**json.loads(json.dumps(arguments)))


async def event_of(one: SopsTaskTrigger) -> dict[str, Any]:
    async for event in one.run():
        payload: dict[str, Any] = event.payload
        return payload
    raise AssertionError("no event")


def fire(one: SopsTaskTrigger, meanwhile: Callable[[], Any] | None = None) -> dict[str, Any]:
    """Run a trigger, in another event loop than the last one, as ``dag.test`` does too."""

    async def run() -> dict[str, Any]:
        waiting = asyncio.create_task(event_of(one))
        if meanwhile is not None:
            await asyncio.to_thread(meanwhile)
        return await asyncio.wait_for(waiting, 60)

    return asyncio.run(run())


def read_until(fake: FakeSops, count: int) -> Callable[[], None]:
    def wait() -> None:
        for _ in range(3000):
            if fake.count() >= count:
                return
            time.sleep(0.01)
        raise AssertionError(f"{fake.count()} requests")

    return wait


def test_it_fires_when_the_task_has_ended(connected: FakeSops) -> None:
    task_id = connected.create_task("Long sleep")

    def end() -> None:
        read_until(connected, 2)()
        connected.advance(3600)

    event = fire(trigger(task_id), end)
    ended = read_event(task_id, json.loads(json.dumps(event)))
    assert ended.outcome is Outcome.SUCCESS
    assert ended.observation.status is not None
    assert ended.observation.status.finish_time is not None
    assert event["status"]["task_name"] == "Long sleep"
    assert event["status"]["end_time"].endswith("+08:00")
    assert len(json.dumps(event)) < 1000


def test_it_carries_plain_values_and_no_secret(connected: FakeSops) -> None:
    _, arguments = trigger(5, deadline=time.time()).serialize()
    assert all(isinstance(value, int | float | str | bool | list | None) for value in arguments.values())
    for text in (repr(trigger(5)), json.dumps(arguments)):
        assert secrets.APP_SECRET not in text


def test_the_deadline_survives_a_restart(connected: FakeSops) -> None:
    task_id = connected.create_task("Long sleep")
    one = trigger(task_id, deadline=time.time() + 1.5)

    async def killed() -> None:
        waiting = asyncio.create_task(event_of(one))
        await asyncio.to_thread(read_until(connected, 2))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(killed())
    event = fire(again(one))
    assert one.spec.deadline is not None
    assert time.time() >= one.spec.deadline
    assert event["outcome"] == "timeout"
    assert event["status"]["state"] == "RUNNING"
    assert connected.task(task_id).operations == []  # nothing was done to it


def test_a_deadline_that_has_passed_while_nobody_ran_it_fires_after_one_reading(connected: FakeSops) -> None:
    event = fire(trigger(connected.create_task("Long sleep"), deadline=time.time() - 1000))
    assert event["outcome"] == "timeout"
    assert event["status"]["state"] == "RUNNING"
    assert connected.count() == 1


def test_a_task_that_ended_while_nobody_ran_the_trigger_has_not_run_out_of_time(connected: FakeSops) -> None:
    task_id = connected.create_task()
    connected.advance(60)
    assert fire(trigger(task_id, deadline=time.time() - 100))["outcome"] == "success"


def test_a_deadline_that_has_passed_needs_no_answer(connected: FakeSops, monkeypatch: pytest.MonkeyPatch) -> None:
    connected.faults.add(kind="drop", times=None)
    assert fire(trigger(connected.create_task("Long sleep"), deadline=time.time() - 100))["outcome"] == "timeout"
    monkeypatch.setattr(wait_loop, "_FIRST_READ", 0.3)
    connected.faults.clear()
    connected.faults.add(kind="latency", seconds=20)
    assert fire(trigger(connected.create_task("Long sleep"), deadline=time.time() - 100))["outcome"] == "timeout"


def test_what_became_due_in_a_long_turn_is_due_at_once(connected: FakeSops) -> None:
    async def sleep() -> float:
        begun = time.time() - 90.0
        one, subscription = trigger(1, deadline=begun + 20.0), Subscription(1, INTERVAL)
        subscription.error = errors.SopsError("no answer")
        poller = shared_pollers.subscribe_to_poller("sops_default", one.spec.project, subscription)
        try:
            loop = wait_loop.make_loop(one, poller, subscription)
            loop.first_read_by, loop.stepped_at = 0.0, begun
            return loop.seconds_to_sleep()
        finally:
            shared_pollers.unsubscribe_from_poller(poller, subscription)

    assert asyncio.run(sleep()) == 0.05


def test_a_task_that_does_not_start_in_time(connected: FakeSops) -> None:
    task_id = connected.create_task(start=False)
    event = fire(trigger(task_id, start_deadline=time.time() + 0.5))
    assert event["outcome"] == "not_started"
    assert event["status"]["state"] == "CREATED"


def test_a_task_that_started_has_no_start_deadline_any_more(connected: FakeSops) -> None:
    task_id = connected.create_task("Long sleep")
    connected.advance(1)
    now = time.time()
    event = fire(trigger(task_id, start_deadline=now + 0.5, deadline=now + 1.5))
    assert event["outcome"] == "timeout"


def test_changes_of_state_stand_in_the_log_once(connected: FakeSops, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    task_id = connected.create_task("Long sleep")

    def live() -> None:
        read_until(connected, 4)()
        connected.operate(task_id, "pause")
        read_until(connected, 9)()
        connected.operate(task_id, "resume")
        read_until(connected, 14)()
        connected.operate(task_id, "revoke")

    fire(trigger(task_id), live)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("SOPS task")]
    states = [line.split(": ", 1)[1].split(",")[0].split(".")[0] for line in lines]
    assert states[0] == "RUNNING"
    assert {"RUNNING", "SUSPENDED", "REVOKED"} == set(states)
    assert len(lines) <= 7  # a line for each change, with its nodes; not one for each of some fifteen polls
    assert any(line.endswith(f"instance_id={task_id}") for line in lines if "SUSPENDED" in line)


def test_a_failed_task_is_asked_once_whether_it_retries_by_itself(connected: FakeSops) -> None:
    task_id = connected.create_task("Always fails")
    connected.advance(3600)
    event = fire(trigger(task_id))
    assert event["outcome"] == "failure"
    assert event["status"]["state"] == "FAILED"
    assert connected.count("get_task_status") == 1


def test_an_automatic_retry_is_waited_for(connected: FakeSops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "AUTO_RETRY_RECHECK", INTERVAL)
    task_id = connected.create_task("Retries by itself")

    def live() -> None:
        for _ in range(40):
            connected.advance(1)
            time.sleep(0.05)

    assert fire(trigger(task_id), live)["outcome"] == "success"


def test_an_outage_that_ends_in_time_is_ridden_out(connected: FakeSops, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    task_id = connected.create_task("Long sleep")

    def live() -> None:
        read_until(connected, 2)()
        fault = connected.faults.add(kind="drop", times=None)
        while fault.hits < 3:
            time.sleep(0.01)
        connected.faults.clear()
        read_until(connected, connected.count() + 2)()
        connected.advance(3600)

    assert fire(trigger(task_id), live)["outcome"] == "success"
    assert "Cannot read the status of SOPS task" in caplog.text
    assert "SOPS answers again" in caplog.text


def test_an_outage_beyond_the_budget_ends_the_wait_as_what_it_is(connected: FakeSops) -> None:
    task_id = connected.create_task("Long sleep")
    connected.faults.add(kind="status", status=502, code=1650201, times=None)
    event = fire(trigger(task_id, max_outage=1.0))
    assert (event["outcome"], event["outage"]) == ("failure", True)
    assert event["error"]["kind"] == "SopsGatewayUnavailableError"
    assert "could not be read" in event["reason"]
    assert connected.task(task_id).operations == []


def test_certificates_that_this_machine_lacks_are_named(sops: FakeSops, connect: Callable[..., None]) -> None:
    task_id = sops.create_task("Long sleep")
    connect(sops, verify="/nowhere/ca.pem")  # the worker had it, and deferred
    event = fire(trigger(task_id, max_outage=600))
    assert (event["outcome"], event["outage"]) == ("failure", False)
    assert event["reason"].startswith("verify: '/nowhere/ca.pem' is not there: ")
    assert sops.count() == 0


def test_an_unknown_task_fails_clearly(connected: FakeSops) -> None:
    event = fire(trigger(999_999))
    assert event["outcome"] == "failure"
    assert event["error"]["kind"] == "SopsNotFoundError"
    assert "999999" in event["error"]["message"]


def test_triggers_of_one_project_share_a_poller(connected: FakeSops) -> None:
    ids = [connected.create_task("Long sleep") for _ in range(60)]

    async def run() -> list[dict[str, Any]]:
        waits = [asyncio.create_task(event_of(trigger(task_id))) for task_id in ids]
        await asyncio.to_thread(read_until(connected, 2))
        (pollers,) = [found for loop, found in shared_pollers._pollers.items() if loop is asyncio.get_running_loop()]
        assert len(pollers) == 1
        connected.advance(3600)
        events = await asyncio.wait_for(asyncio.gather(*waits), 60)
        assert pollers == {}
        return events

    assert {event["outcome"] for event in asyncio.run(run())} == {"success"}
    assert connected.count() < 30
    assert connected.connections <= 4


def test_a_task_that_waits_for_a_person_says_so(
    connected: FakeSops, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_sops.core.wait.progress.INTERVENTION_AFTER", 0.5)
    caplog.set_level(logging.INFO)
    task_id = connected.create_task("Pause for a person")
    connected.advance(30)

    def live() -> None:
        for _ in range(3000):
            if connected.count("get_tasks_manual_intervention_state"):
                break
            time.sleep(0.01)
        connected.operate(task_id, "revoke")

    fire(trigger(task_id), live)
    assert f"SOPS task {task_id} waits for a person to confirm." in caplog.text
    assert connected.count("get_tasks_manual_intervention_state") == 1


def test_two_stale_replicas_confuse_nobody(make_sops: Callable[..., FakeSops], connect: Callable[..., None]) -> None:
    fake = make_sops(replicas=2)
    connect(fake)
    task_id = fake.create_task("Long sleep")

    def live() -> None:
        read_until(fake, 2)()
        fake.faults.add(kind="end_race", api="get_tasks_status", reads=1)
        fake.advance(3600)
        fake.faults.add(kind="stale", api="get_tasks_status", times=3, after=1)

    assert fire(trigger(task_id), live)["outcome"] == "success"
