# SPDX-License-Identifier: Apache-2.0
"""The poller: many waits, few requests, and no wait's trouble reaching another."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.http.async_client import MAX_CONNECTIONS, AsyncSopsClient
from airflow_provider_sops.core.poll.notify_subscriptions import NEWS_AT_ONCE
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.core.poll.task_queue import chunk_size
from airflow_provider_sops.core.states import TaskState
from tests.core.poll.site import INTERVAL, Site, ended, run, states, until


def test_many_waits_share_requests_a_connection_and_a_lookup(either_site: Site) -> None:
    async def test() -> None:
        # a round that is long enough not to begin again before it has ended, when the machine stands still for a moment
        either_site.poller = Poller(either_site.connect, Project(either_site.fake.bk_biz_id), min_interval=2.0)
        ids = [either_site.fake.create_task("Long sleep") for _ in range(120)]
        async with either_site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            first = either_site.fake.requests[:3]
            assert {task_id for request in first for task_id in request.task_ids} == set(ids)
            assert {request.api for request in either_site.fake.requests} == {"get_tasks_status"}
            assert max(len(request.task_ids) for request in either_site.fake.requests) == 50
            assert either_site.lookups == 1
            assert either_site.fake.connections <= 3
            await until(lambda: either_site.fake.count() >= 9)
            assert either_site.fake.count("get_task_status") == 0

    run(test)


def test_many_that_join_do_not_wait_for_the_pace_of_the_few(site: Site) -> None:
    async def test() -> None:
        site.poller = Poller(site.connect, Project(site.fake.bk_biz_id), min_interval=60.0)
        ids = [site.fake.create_task("Long sleep") for _ in range(1000)]
        async with site.waiting(ids[0]) as first:
            await until(lambda: states(first) == {TaskState.RUNNING})
            many = site.wait_for(*ids[1:])
            await until(lambda: TaskState.RUNNING in states(many))  # alone, the first one would be read once a minute
            for subscription in many:
                site.poller.unsubscribe(subscription)

    run(test)


def test_those_that_end_together_do_not_slow_the_others_down(site: Site) -> None:
    async def test() -> None:
        now = time.monotonic()

        def spacing(now: float) -> float:
            return site.poller._pace.spacing(now, len(site.poller._queue), chunk_size(batches=True))

        subscriptions = site.wait_for(*range(1, 1001))
        before = spacing(now)
        for subscription in subscriptions[:990]:
            site.poller.unsubscribe(subscription)
        assert spacing(now + 0.9 * INTERVAL) == before
        assert spacing(now + 1.5 * INTERVAL) == before
        assert spacing(now + 2.6 * INTERVAL) == 20 * before
        for subscription in subscriptions[990:]:
            site.poller.unsubscribe(subscription)

    run(test)


def test_steps_that_ask_nothing_wait_for_nothing(site: Site) -> None:
    def silent() -> Flow[str]:
        return "nothing to ask"
        yield

    async def test() -> None:
        async with site.waiting(site.fake.create_task("Long sleep")) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            async with AsyncExitStack() as slots:
                for _ in range(MAX_CONNECTIONS):
                    await slots.enter_async_context(site.poller._slots)
                assert await site.poller.run(silent()) == "nothing to ask"

    run(test)


def test_an_end_is_told_to_every_wait_for_the_task(site: Site) -> None:
    async def test() -> None:
        task_id = site.fake.create_task()
        async with site.waiting(task_id, task_id) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            site.fake.advance(60)
            await until(lambda: states(subscriptions) == {TaskState.FINISHED})
            assert subscriptions[0].status is not None
            assert subscriptions[0].status.finish_time is not None
            assert subscriptions[0].status.task_url.endswith(f"instance_id={task_id}")

    run(test)


def test_a_wait_is_woken_by_changes_alone(site: Site) -> None:
    async def test() -> None:
        task_id = site.fake.create_task("Long sleep")
        async with site.waiting(task_id) as (subscription,):
            await subscription.sleep(30)
            assert states([subscription]) == {TaskState.RUNNING}
            read = site.fake.count()
            woken = asyncio.ensure_future(subscription.sleep(30))
            await until(lambda: site.fake.count() >= read + 4)
            assert not woken.done()
            site.fake.operate(task_id, "pause")
            await woken
            assert states([subscription]) == {TaskState.SUSPENDED}

    run(test)


def test_unknown_and_foreign_tasks_fail_alone(either_site: Site) -> None:
    async def test() -> None:
        good = either_site.fake.create_task("Long sleep")
        foreign = either_site.fake.create_task(130, project_id=either_site.fake.other_project_id)
        async with either_site.waiting(good, foreign, 999_999) as (waiting, elsewhere, unknown):
            await until(lambda: unknown.error is not None and elsewhere.error is not None)
            assert isinstance(unknown.error, errors.SopsNotFoundError)
            assert isinstance(elsewhere.error, errors.SopsNotFoundError)
            assert unknown.error.task_id == 999_999
            assert waiting.error is None
            assert states([waiting]) == {TaskState.RUNNING}

    run(test)


def test_a_deleted_task_is_told_as_deleted(site: Site) -> None:
    async def test() -> None:
        task_id = site.fake.create_task("Long sleep")
        site.fake.delete_task(task_id)
        async with site.waiting(task_id) as (subscription,):
            await until(lambda: subscription.status is not None)
            assert subscription.status is not None
            assert subscription.status.is_deleted

    run(test)


@pytest.mark.parametrize("news", ["an error", "a notice"])
def test_news_for_all_do_not_wake_all_at_once(site: Site, news: str) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(200)]
        turns = 0
        woken: Counter[int] = Counter()

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def sleep(subscription: Subscription) -> None:
            while subscription.error is None and not subscription.notices:
                await subscription.sleep(60)
                woken[turns] += 1

        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            counter = asyncio.create_task(count_turns())
            sleepers = [asyncio.create_task(sleep(subscription)) for subscription in subscriptions]
            if news == "an error":
                site.fake.faults.add(kind="drop", times=None)
            else:
                site.fake.deny("get_tasks_status")
            await asyncio.gather(*sleepers)
            counter.cancel()
            # several reads may have news at the same time
            assert max(count for turn, count in woken.items() if turn > 10) <= 4 * NEWS_AT_ONCE

    run(test)


def test_it_starts_in_an_empty_context_and_ends_with_the_last_wait(site: Site) -> None:
    async def test() -> None:
        mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")
        mark.set("of the first wait")
        seen: list[str] = []
        connect = site.poller._lease._connect

        async def spy() -> AsyncSopsClient:
            seen.append(mark.get())
            return await connect()

        site.poller._lease._connect = spy
        first, second = site.wait_for(site.fake.create_task("Long sleep"), site.fake.create_task("Long sleep"))
        await until(lambda: first.status is not None and second.status is not None)
        assert seen == ["none"]
        site.poller.unsubscribe(first)
        read = site.fake.count()
        await until(lambda: site.fake.count() > read)  # it goes on for the second
        site.poller.unsubscribe(second)
        assert site.poller.idle
        await ended(site.poller)
        client = site.poller._lease._client
        assert client is not None
        assert client._session is None

    run(test)


def test_a_cancelled_wait_leaves_the_others_alone(site: Site) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(3)]
        async with site.waiting(*ids) as subscriptions:
            sleepers = [asyncio.ensure_future(subscription.sleep(60)) for subscription in subscriptions]
            await asyncio.sleep(0)
            sleepers[0].cancel()
            site.poller.unsubscribe(subscriptions[0])
            await asyncio.gather(*sleepers[1:])
            assert states(subscriptions[1:]) == {TaskState.RUNNING}
            read = site.fake.count()
            await until(lambda: site.fake.count() > read)
            assert ids[0] not in site.fake.requests[-1].task_ids

    run(test)


def test_wrong_types_for_one_task_reach_no_other(site: Site) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(2)]

        def number_as_state(request: Any) -> tuple[int, dict[str, Any]] | None:
            item = {"name": "n", "is_deleted": False, "status": {"state": "RUNNING"}}
            return 200, {
                "result": True,
                "code": 0,
                "data": [{**item, "id": ids[0]}, {**item, "id": ids[1], "status": {"state": 5}}],
            }

        site.fake.faults.add(kind="function", api="get_tasks_status", times=None, function=number_as_state)
        async with site.waiting(*ids) as (good, bad):
            await until(lambda: bad.error is not None and good.status is not None)
            assert isinstance(bad.error, errors.SopsInvalidAnswerError)
            assert good.error is None

    run(test)


def test_log_only_reads_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)

    async def connect() -> AsyncSopsClient:
        raise AssertionError("nothing is read")

    async def test() -> None:
        nonlocal now
        shared = Poller(connect, Project(2))
        subscriptions = [Subscription(number, INTERVAL) for number in range(100)]
        taken = [shared.may_read_for_log(subscription) for subscription in subscriptions]
        assert taken == [True] + [False] * 99  # one after the other
        now += 4
        taken = [shared.may_read_for_log(subscription) for subscription in subscriptions[1:]]
        assert taken == [True] * 9 + [False] * 90  # ten soon
        now += 60
        taken = [shared.may_read_for_log(subscription) for subscription in subscriptions[10:]]
        assert taken == [True] * 12 + [False] * 78  # then twelve a minute, in their turn

    run(test)


def test_a_wait_that_leaves_gives_its_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)

    async def connect() -> AsyncSopsClient:
        raise errors.SopsConfigError("host", "is empty")

    async def test() -> None:
        nonlocal now
        shared = Poller(connect, Project(2))
        for generation in range(50):  # a busy site: waits come, want to be read, and end
            subscriptions = [Subscription(1 + 100 * generation + number, INTERVAL) for number in range(100)]
            for subscription in subscriptions:
                shared.subscribe(subscription)
                shared.may_read_for_log(subscription)
            last = max(subscription.log_read_at or 0.0 for subscription in subscriptions)
            for subscription in subscriptions:
                shared.unsubscribe(subscription)
            now += 1
            assert last - now < 100 * 5 + 10
        await asyncio.sleep(0)

    run(test)
