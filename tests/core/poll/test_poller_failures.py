# SPDX-License-Identifier: Apache-2.0
"""A server that fails, or refuses requests for their number."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.models import readers
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import read_status
from tests.core.poll.site import CRASHED, INTERVAL, REFUSALS, Site, batches, run, states, until

FAILURES: dict[str, dict[str, Any]] = {
    "502": {"kind": "status", "status": 502, "code": 1650201},
    "429": {"kind": "status", "status": 429, "code": 1642902},
    "html": {"kind": "html"},
    "not json": {"kind": "not_json"},
    "reset": {"kind": "drop"},
    "truncated": {"kind": "truncate"},
    "redirect": {"kind": "redirect"},
}


def test_a_lost_request_is_made_up_for_sooner_than_after_an_interval(site: Site) -> None:
    async def test() -> None:
        site.poller = Poller(site.connect, Project(site.fake.bk_biz_id), min_interval=900.0)
        site.fake.faults.add(kind="drop")
        async with site.waiting(site.fake.create_task("Long sleep")) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})

    run(test)


def test_questions_that_are_refused_for_their_number_are_not_asked_again_at_once(site: Site) -> None:
    async def test() -> None:
        task_id = site.fake.create_task("Long sleep")
        refused = site.fake.faults.add(
            "get_task_status", kind="status", status=429, code=1642902, retry_after=1, times=None
        )
        async with site.waiting(task_id) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            for other_id in (task_id, task_id, task_id + 1):
                with pytest.raises(errors.SopsRateLimitError, match=f"SOPS task {other_id}:.*1642902") as caught:
                    await site.poller.run(read_status(site.poller.project, other_id, site.poller.permissions, []))
                assert (caught.value.task_id, caught.value.retry_after) == (other_id, 1)
            assert refused.hits == 1
            site.fake.faults.clear()
            while True:
                with suppress(errors.SopsRateLimitError):
                    await site.poller.run(read_status(site.poller.project, task_id, site.poller.permissions, []))
                    break
                await asyncio.sleep(0.05)

    run(test)


@pytest.mark.parametrize("answer", [(200, "<html>log in</html>"), *REFUSALS.values()], ids=["html", *REFUSALS])
def test_single_reads_slow_down_too(site: Site, answer: tuple[int, Any]) -> None:
    async def test() -> None:
        site.fake.deny("get_tasks_status")
        ids = [site.fake.create_task("Long sleep") for _ in range(80)]
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            refused = site.fake.faults.add(kind="function", times=None, function=lambda request: answer)
            await until(lambda: all(subscription.error is not None for subscription in subscriptions))
            begun, hits = time.monotonic(), refused.hits
            await until(lambda: refused.hits >= hits + 64)
            assert refused.hits - hits < 0.5 * 80 * (time.monotonic() - begun) / INTERVAL
            site.fake.faults.clear()
            await until(lambda: all(subscription.error is None for subscription in subscriptions))

    run(test)


def test_read_singly_one_bad_task_does_not_hold_up_the_others(site: Site) -> None:
    async def test() -> None:
        site.fake.deny("get_tasks_status")
        ids = [site.fake.create_task("Long sleep") for _ in range(8)]
        site.fake.faults.add("get_task_status", kind="status", status=500, body=CRASHED, task_id=ids[0], times=None)
        async with site.waiting(*ids) as (bad, *good):
            await until(lambda: bad.error is not None and states(good) == {TaskState.RUNNING})
            for task_id in ids[1:]:
                site.fake.operate(task_id, "pause")
            await until(lambda: states(good) == {TaskState.SUSPENDED})
            assert {subscription.error for subscription in good} == {None}

    run(test)


def test_one_lost_request_is_told_to_the_waits_of_its_chunk_alone(site: Site) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(200)]
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            lost = site.fake.faults.add("get_tasks_status", kind="drop", times=1)
            await until(lambda: lost.hits == 1 and any(subscription.error for subscription in subscriptions))
            site.fake.clear_requests()
            told = {subscription.task_id for subscription in subscriptions if subscription.error}
            await until(lambda: len(batches(site)) >= 8)
            assert len(told) <= 50
            assert not any(subscription.error for subscription in subscriptions)

    run(test)


@pytest.mark.parametrize("fault", FAILURES.values(), ids=FAILURES)
def test_a_failing_server_is_asked_less_and_never_given_up(site: Site, fault: dict[str, Any]) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(200)]
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            set_fault = site.fake.faults.add(times=None, **fault)
            await until(lambda: all(subscription.error is not None for subscription in subscriptions))
            site.fake.clear_requests()
            begun = time.monotonic()
            await until(lambda: set_fault.hits >= 6)
            healthy = 4 * (time.monotonic() - begun) / INTERVAL  # requests of a healthy server in that time
            assert site.fake.count() < healthy * 0.75
            site.fake.faults.clear()
            await until(lambda: all(subscription.error is None for subscription in subscriptions))
            assert states(subscriptions) == {TaskState.RUNNING}

    run(test)


def test_retry_after_is_honoured(site: Site) -> None:
    async def test() -> None:
        async with site.waiting(site.fake.create_task("Long sleep")) as (subscription,):
            await until(lambda: subscription.status is not None)
            site.fake.faults.add(kind="status", status=429, code=1642902, retry_after=2, times=1)
            await until(lambda: subscription.error is not None)
            refused = next(request for request in site.fake.requests if request.status == 429)
            await until(lambda: subscription.error is None)
            answered = next(request for request in site.fake.requests if request.number > refused.number)
            assert answered.time - refused.time >= 2

    run(test)


def test_a_fault_of_the_provider_ends_as_everyones_error_and_reading_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(3)]
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            with monkeypatch.context() as broken:
                broken.setattr(readers, "tasks_status_items", lambda answer: answer["no such key"])
                await until(lambda: all(subscription.error is not None for subscription in subscriptions))
                told = subscriptions[0].error
            assert told is not None
            assert "reading the states failed inside the provider: TypeError: " in str(told)
            assert isinstance(told.__cause__, TypeError)
            await until(lambda: all(subscription.error is None for subscription in subscriptions))

    run(test)
