# SPDX-License-Identifier: Apache-2.0
"""Batches that are refused, and what they leave out."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.poll import chunk_reader, polled_task
from airflow_provider_sops.core.poll.polled_task import PolledTask
from airflow_provider_sops.core.states import TaskState
from tests.core.poll.site import CRASHED, INTERVAL, REFUSALS, Site, batches, run, states, until


def test_a_refused_batch_is_split_until_only_the_culprit_is_left(site: Site) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(50)]
        site.fake.faults.add(kind="poison", api="get_tasks_status", task_id=ids[17], times=None)
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: all(subscription.status or subscription.error for subscription in subscriptions))
            assert states(subscriptions) == {TaskState.RUNNING}  # the culprit was read singly
            assert site.fake.count() < 20
            site.fake.clear_requests()
            await until(lambda: site.fake.count("get_tasks_status") >= 4)
            assert all(
                request.result is not False for request in site.fake.requests
            )  # it is not asked for in a batch again

    run(test)


def test_culprits_in_both_halves_leave_the_others_alone(either_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "sample", lambda population, k: list(population))

    async def test() -> None:
        ids = [either_site.fake.create_task("Long sleep") for _ in range(50)]
        for culprit in (ids[0], ids[30]):
            either_site.fake.faults.add(kind="poison", api="get_tasks_status", task_id=culprit, times=None)
        async with either_site.waiting(*ids) as subscriptions:
            await until(lambda: all(subscription.status or subscription.error for subscription in subscriptions))
            assert states(subscriptions) == {TaskState.RUNNING}

    run(test)


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_a_refusal_of_the_only_batch_is_of_single_tasks(site: Site, tasks: int) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(tasks)]
        for task_id in ids:
            site.fake.faults.add(kind="poison", api="get_tasks_status", task_id=task_id, times=None)
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            site.fake.clear_requests()
            await until(lambda: site.fake.count("get_task_status") >= 3 * tasks)
            assert site.fake.count("get_tasks_status") == 0

    run(test)


def test_a_crash_because_of_one_task_is_split_too(either_site: Site) -> None:
    async def test() -> None:
        ids = [either_site.fake.create_task("Long sleep") for _ in range(110)]

        def crash(request: Any) -> tuple[int, Any] | None:
            if request.api == "get_tasks_status" and ids[17] not in request.task_ids:
                return None
            return None if request.api != "get_tasks_status" else (500, CRASHED)

        either_site.fake.faults.add(kind="function", times=None, function=crash)
        async with either_site.waiting(*ids) as subscriptions:
            await until(lambda: all(subscription.status is not None for subscription in subscriptions))
            assert states(subscriptions) == {TaskState.RUNNING}
            assert {subscription.error for subscription in subscriptions} == {None}

    run(test)


def test_a_refused_batch_is_no_definite_word_about_any_task(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_reader, "SPLIT_EVERY", 1000)  # while SOPS is not well, it is not split
    delivered: list[errors.SopsError] = []
    deliver_error = PolledTask.deliver_error

    def record(task: PolledTask, error: errors.SopsError) -> None:
        delivered.append(error)
        deliver_error(task, error)

    monkeypatch.setattr(PolledTask, "deliver_error", record)

    missing = {"result": False, "code": 3540400, "message": "TaskFlowInstance matching query does not exist."}

    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(120)]
        site.fake.faults.add("get_tasks_status", kind="status", status=502)
        refused = site.fake.faults.add(
            "get_tasks_status", kind="function", after=1, times=3, function=lambda request: (200, missing)
        )
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
        assert refused.hits == 3
        of_the_batch = [error for error in delivered if isinstance(error, errors.SopsApiError)]
        assert {type(error) for error in of_the_batch} == {errors.SopsApiError}
        assert "matching query" in str(of_the_batch[0])
        assert of_the_batch[0].code == 3540400

    run(test)


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_for_everyone_is_a_failed_read(site: Site, refusal: tuple[int, Any]) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(400)]
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            refused = site.fake.faults.add(kind="function", times=None, function=lambda request: refusal)
            await until(lambda: all(subscription.error is not None for subscription in subscriptions))
            site.fake.clear_requests()
            begun, hits = time.monotonic(), refused.hits
            await until(lambda: refused.hits >= hits + 40)
            assert site.fake.count() < 0.75 * 8 * (time.monotonic() - begun) / INTERVAL
            site.fake.faults.clear()
            site.fake.clear_requests()
            begun = time.monotonic()
            await until(lambda: all(subscription.error is None for subscription in subscriptions))
            # each batch once, and the usual ones for as long as this machine takes to see it
            assert site.fake.count() < 20 + 8 * (time.monotonic() - begun) / INTERVAL
            # no task is thought to be to blame: once all that was under way is over, none is asked for alone
            for _ in range(2):
                site.fake.clear_requests()
                await until(lambda: site.fake.count("get_tasks_status") >= 8)
            assert site.fake.count("get_task_status") == 0

    run(test)


def test_a_culprit_is_asked_for_with_the_others_again_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polled_task, "CULPRIT_RETRY", 1.0)

    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(10)]
        site.fake.faults.add(kind="poison", api="get_tasks_status", task_id=ids[3], times=None)
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            site.fake.faults.clear()
            site.fake.clear_requests()
            await until(lambda: any(ids[3] in batch.task_ids for batch in batches(site)))
            await until(lambda: len(batches(site)[-1].task_ids) == 10)

    run(test)


def test_tasks_that_are_read_alone_keep_nobody_waiting(site: Site) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(50)]
        for culprit in ids[:26]:  # more than are read in a row
            site.fake.faults.add(kind="poison", api="get_tasks_status", task_id=culprit, times=None)
        clock = site.fake.create_task("Long sleep")  # of a poller of its own, where none is read alone

        def reads(task_id: int) -> int:
            return sum(task_id in batch.task_ids for batch in batches(site))

        async with site.waiting(*ids) as subscriptions, Site(site.fake, site.api_type).waiting(clock):
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            await until(lambda: any(set(batch.task_ids) == set(ids[26:]) for batch in batches(site)))
            site.fake.clear_requests()
            await until(lambda: reads(ids[49]) >= 10)
            assert reads(clock) <= 20

    run(test)


def test_what_a_batch_leaves_out_is_not_read_through_refusals(site: Site) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(20)]
        unknown = range(900_000, 900_020)
        refused = site.fake.faults.add("get_task_status", kind="status", status=429, code=1642902, times=None)
        async with site.waiting(*ids, *unknown) as subscriptions:
            await until(lambda: all(subscription.status or subscription.error for subscription in subscriptions))
            assert refused.hits < 5
            assert states(subscriptions[:20]) == {TaskState.RUNNING}
            assert {subscription.error for subscription in subscriptions[:20]} == {None}
            assert {type(subscription.error) for subscription in subscriptions[20:]} == {errors.SopsRateLimitError}
            site.fake.faults.clear()
            await until(
                lambda: all(
                    isinstance(subscription.error, errors.SopsNotFoundError) for subscription in subscriptions[20:]
                )
            )

    run(test)
