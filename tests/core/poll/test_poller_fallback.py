# SPDX-License-Identifier: Apache-2.0
"""Where batches, or single statuses too, are denied: the poller falls back, and tries again."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_sops.core.poll import pace, permissions
from airflow_provider_sops.core.poll.permissions import NO_BATCH_NOTICE
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.policy import WaitPolicy
from airflow_provider_sops.core.wait.task_wait import TaskWait
from tests.core.poll.site import INTERVAL, Site, run, states, until


def test_without_batches_each_task_is_read_singly_and_it_is_said_once(either_site: Site) -> None:
    async def test() -> None:
        either_site.fake.deny("get_tasks_status")
        ids = [either_site.fake.create_task("Long sleep") for _ in range(4)]
        async with either_site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            await until(lambda: either_site.fake.count("get_task_status") >= 12)
            assert either_site.fake.count("get_tasks_status") == 1
            for subscription in subscriptions:
                assert [NO_BATCH_NOTICE in notice for notice in subscription.notices] == [True]
            (late,) = either_site.wait_for(ids[0])
            assert late.notices == (NO_BATCH_NOTICE,)
            either_site.poller.unsubscribe(late)

    run(test)


def test_an_old_site_without_batches_falls_back_too(either_site: Site) -> None:
    async def test() -> None:
        either_site.fake.remove_api("get_tasks_status")
        async with either_site.waiting(either_site.fake.create_task("Long sleep")) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING} or subscriptions[0].error is not None)
            assert states(subscriptions) == {TaskState.RUNNING}

    run(test)


def test_with_details_alone_it_reads_details(either_site: Site) -> None:
    async def test() -> None:
        either_site.fake.deny("get_tasks_status", "get_task_status")
        task_id = either_site.fake.create_task()
        either_site.fake.advance(60)
        async with either_site.waiting(task_id) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.FINISHED})
            assert any("get_task_detail alone" in notice for notice in subscriptions[0].notices)

    run(test)


def test_the_better_way_is_tried_again_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "BATCH_RETRY", 1.0)

    async def test() -> None:
        site.fake.deny("get_tasks_status")
        async with site.waiting(site.fake.create_task("Long sleep")) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            site.fake.grant("get_tasks_status")
            site.fake.clear_requests()
            await until(lambda: site.fake.count("get_tasks_status") >= 3)
            singles = site.fake.count("get_task_status")
            await until(lambda: site.fake.count("get_tasks_status") >= 6)
            assert site.fake.count("get_task_status") == singles

    run(test)


def test_a_refusal_that_lasts_is_told_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "BATCH_RETRY", 0.5)
    monkeypatch.setattr(pace, "DETAIL_CACHE_SECONDS", INTERVAL)

    async def test() -> None:
        site.fake.deny("get_tasks_status", "get_task_status")
        ids = [site.fake.create_task("Long sleep") for _ in range(20)]
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: site.fake.count("get_tasks_status") >= 3)
            await until(lambda: site.fake.count("get_tasks_status") >= 4)
            for subscription in subscriptions:
                assert sum(NO_BATCH_NOTICE in notice for notice in subscription.notices) == 1
                assert sum("get_task_detail alone" in notice for notice in subscription.notices) == 1

    run(test)


def test_all_better_ways_are_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "BATCH_RETRY", 1.0)
    monkeypatch.setattr(pace, "DETAIL_CACHE_SECONDS", 0.4)

    async def test() -> None:
        site.fake.deny("get_tasks_status", "get_task_status")
        async with site.waiting(site.fake.create_task("Always fails")) as subscriptions:
            await until(lambda: subscriptions[0].status is not None)
            await until(lambda: site.poller._pace.interval == 0.4)
            site.fake.advance(3600)
            site.fake.grant("get_task_status")
            await until(lambda: states(subscriptions) == {TaskState.FAILED})  # no detail tells that
            assert site.poller.permissions.status
            assert site.poller._pace.interval == INTERVAL

    run(test)


def test_batches_without_single_statuses(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "BATCH_RETRY", 1.0)

    async def test() -> None:
        site.fake.deny("get_task_status")
        task_id = site.fake.create_task("Long sleep")
        async with site.waiting(task_id) as (subscription,):
            await until(lambda: subscription.status is not None)
            task_wait = TaskWait(task_id, site.poller.project, WaitPolicy(), permissions=site.poller.permissions)
            assert await site.poller.run(task_wait.read_progress(time.time())) == []
            assert not site.poller.permissions.status
            assert site.poller._pace.interval == INTERVAL  # batches tell the state as before
            site.fake.grant("get_task_status")
            await until(lambda: site.poller.permissions.status)
            assert len(await site.poller.run(task_wait.read_progress(time.time()))) == 1

    run(test)


def test_an_address_where_nobody_answers_is_no_reason_to_do_without_batches(site: Site) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(20)]
        away: dict[str, Any] = {"kind": "html", "status": 404, "times": None}
        site.fake.faults.add(**away)
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: all(subscription.error is not None for subscription in subscriptions))
            site.fake.faults.clear()
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            site.fake.faults.add(**away)
            await until(lambda: all(subscription.error is not None for subscription in subscriptions))
            site.fake.faults.clear()
            await until(lambda: all(subscription.error is None for subscription in subscriptions))
            site.fake.clear_requests()
            await until(lambda: site.fake.count() >= 3)
            assert {request.api for request in site.fake.requests} == {"get_tasks_status"}
            assert [notice for subscription in subscriptions for notice in subscription.notices] == []

    run(test)
