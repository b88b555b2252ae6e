# SPDX-License-Identifier: Apache-2.0
"""The poller: many waits, few requests, and no wait's trouble reaching another."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from airflow_provider_sops.connection import parse_connection
from airflow_provider_sops.sops import errors, poller
from airflow_provider_sops.sops.async_client import AsyncSopsClient
from airflow_provider_sops.sops.poller import Poller, Waiter
from airflow_provider_sops.sops.states import TaskState
from airflow_provider_sops.sops.watch import Place
from airflow_provider_sops.testing import FakeSops

INTERVAL = 0.2


class Site:
    """A fake SOPS, and a poller of its tasks that counts the look-ups of the connection."""

    def __init__(self, fake: FakeSops, api_type: str) -> None:
        self.fake, self.api_type, self.lookups = fake, api_type, 0
        self.poller = Poller(self.connect, Place(fake.bk_biz_id), min_interval=INTERVAL)

    async def connect(self) -> AsyncSopsClient:
        self.lookups += 1
        fields = self.fake.connection(self.api_type)
        site = parse_connection(
            host=fields["host"], login=fields["login"], password=fields["password"], extra=fields["extra"]
        )
        return AsyncSopsClient(site.door, settings=site.settings)

    def wait_for(self, *task_ids: int) -> list[Waiter]:
        waiters = [Waiter(task_id, INTERVAL) for task_id in task_ids]
        for waiter in waiters:
            self.poller.join(waiter)
        return waiters

    @asynccontextmanager
    async def waiting(self, *task_ids: int) -> AsyncIterator[list[Waiter]]:
        waiters = self.wait_for(*task_ids)
        try:
            yield waiters
        finally:
            for waiter in waiters:
                self.poller.leave(waiter)
            await ended(self.poller)


async def ended(poller: Poller) -> None:
    task = poller._loop_task
    assert task is not None
    await asyncio.wait([task], timeout=10)
    assert task.done()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true, for long enough on a slow machine."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


def run(test: Callable[[], Awaitable[Any]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


@pytest.fixture
def site(sops: FakeSops) -> Site:
    return Site(sops, "apigw")


@pytest.fixture
def either_site(sops: FakeSops, api_type: str) -> Site:
    return Site(sops, api_type)


def states(waiters: list[Waiter]) -> set[TaskState | None]:
    return {waiter.status.state if waiter.status else None for waiter in waiters}


def test_many_waits_share_requests_a_connection_and_a_lookup(either_site: Site) -> None:
    async def test() -> None:
        ids = [either_site.fake.create_task("Long sleep") for _ in range(120)]
        async with either_site.waiting(*ids) as waiters:
            await until(lambda: states(waiters) == {TaskState.RUNNING})
            assert either_site.fake.count() == either_site.fake.count("get_tasks_status") == 3
            assert max(len(request.task_ids) for request in either_site.fake.requests) == 50
            assert either_site.lookups == 1
            assert either_site.fake.connections <= 3
            await until(lambda: either_site.fake.count() >= 9)
            assert either_site.fake.count("get_task_status") == 0

    run(test)


def test_an_end_is_told_to_every_wait_for_the_task(site: Site) -> None:
    async def test() -> None:
        task_id = site.fake.create_task()
        async with site.waiting(task_id, task_id) as waiters:
            await until(lambda: states(waiters) == {TaskState.RUNNING})
            site.fake.advance(60)
            await until(lambda: states(waiters) == {TaskState.FINISHED})
            assert waiters[0].status is not None
            assert waiters[0].status.finish_time is not None
            assert waiters[0].status.task_url.endswith(f"instance_id={task_id}")

    run(test)


def test_a_wait_is_woken_by_changes_alone(site: Site) -> None:
    async def test() -> None:
        task_id = site.fake.create_task("Long sleep")
        async with site.waiting(task_id) as (waiter,):
            await waiter.sleep(30)
            assert states([waiter]) == {TaskState.RUNNING}
            read = site.fake.count()
            woken = asyncio.create_task(waiter.sleep(30))
            await until(lambda: site.fake.count() >= read + 4)
            assert not woken.done()
            site.fake.operate(task_id, "pause")
            await woken
            assert states([waiter]) == {TaskState.SUSPENDED}

    run(test)


def test_what_is_told_before_the_sleep_is_not_slept_through() -> None:
    async def test() -> None:
        waiter = Waiter(1, INTERVAL)
        waiter.tell()
        await waiter.sleep(1000)

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
        async with site.waiting(task_id) as (waiter,):
            await until(lambda: waiter.status is not None)
            assert waiter.status is not None
            assert waiter.status.is_deleted

    run(test)


def test_a_refused_batch_is_split_until_only_the_culprit_is_left(site: Site) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(50)]
        site.fake.faults.add(kind="poison", api="get_tasks_status", task_id=ids[17], times=None)
        async with site.waiting(*ids) as waiters:
            await until(lambda: all(waiter.status or waiter.error for waiter in waiters))
            assert states(waiters) == {TaskState.RUNNING}  # the culprit was read singly
            assert site.fake.count() < 20
            site.fake.clear_requests()
            await until(lambda: site.fake.count("get_tasks_status") >= 4)
            assert all(
                request.result is not False for request in site.fake.requests
            )  # it is not asked for in a batch again

    run(test)


def test_without_batches_each_task_is_read_singly_and_it_is_said_once(either_site: Site) -> None:
    async def test() -> None:
        either_site.fake.deny("get_tasks_status")
        ids = [either_site.fake.create_task("Long sleep") for _ in range(4)]
        async with either_site.waiting(*ids) as waiters:
            await until(lambda: states(waiters) == {TaskState.RUNNING})
            await until(lambda: either_site.fake.count("get_task_status") >= 12)
            assert either_site.fake.count("get_tasks_status") == 1
            for waiter in waiters:
                assert [poller.NO_BATCH_NOTICE in notice for notice in waiter.notices] == [True]
            (late,) = either_site.wait_for(ids[0])
            assert late.notices == [poller.NO_BATCH_NOTICE]
            either_site.poller.leave(late)

    run(test)


def test_an_old_site_without_batches_falls_back_too(either_site: Site) -> None:
    async def test() -> None:
        either_site.fake.remove_api("get_tasks_status")
        async with either_site.waiting(either_site.fake.create_task("Long sleep")) as waiters:
            await until(lambda: states(waiters) == {TaskState.RUNNING} or waiters[0].error is not None)
            assert states(waiters) == {TaskState.RUNNING}

    run(test)


def test_with_details_alone_it_reads_details(either_site: Site) -> None:
    async def test() -> None:
        either_site.fake.deny("get_tasks_status", "get_task_status")
        task_id = either_site.fake.create_task()
        either_site.fake.advance(60)
        async with either_site.waiting(task_id) as waiters:
            await until(lambda: states(waiters) == {TaskState.FINISHED})
            assert any("get_task_detail alone" in notice for notice in waiters[0].notices)

    run(test)


def test_the_better_way_is_tried_again_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "BATCH_RETRY", 1.0)

    async def test() -> None:
        site.fake.deny("get_tasks_status")
        async with site.waiting(site.fake.create_task("Long sleep")) as waiters:
            await until(lambda: states(waiters) == {TaskState.RUNNING})
            site.fake.grant("get_tasks_status")
            site.fake.clear_requests()
            await until(lambda: site.fake.count("get_tasks_status") >= 3)
            singles = site.fake.count("get_task_status")
            await until(lambda: site.fake.count("get_tasks_status") >= 6)
            assert site.fake.count("get_task_status") == singles

    run(test)


FAILURES: dict[str, dict[str, Any]] = {
    "502": {"kind": "status", "status": 502, "code": 1650201},
    "429": {"kind": "status", "status": 429, "code": 1642902},
    "html": {"kind": "html"},
    "not json": {"kind": "not_json"},
    "reset": {"kind": "drop"},
    "truncated": {"kind": "truncate"},
    "redirect": {"kind": "redirect"},
}


@pytest.mark.parametrize("fault", FAILURES.values(), ids=FAILURES)
def test_a_failing_server_is_asked_less_and_never_given_up(site: Site, fault: dict[str, Any]) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(200)]
        async with site.waiting(*ids) as waiters:
            await until(lambda: states(waiters) == {TaskState.RUNNING})
            set_fault = site.fake.faults.add(times=None, **fault)
            await until(lambda: all(waiter.error is not None for waiter in waiters))
            site.fake.clear_requests()
            begun = time.monotonic()
            await until(lambda: set_fault.hits >= 6)
            healthy = 4 * (time.monotonic() - begun) / INTERVAL  # requests of a healthy server in that time
            assert site.fake.count() < healthy * 0.75
            site.fake.faults.clear()
            await until(lambda: all(waiter.error is None for waiter in waiters))
            assert states(waiters) == {TaskState.RUNNING}

    run(test)


def test_retry_after_is_honoured(site: Site) -> None:
    async def test() -> None:
        async with site.waiting(site.fake.create_task("Long sleep")) as (waiter,):
            await until(lambda: waiter.status is not None)
            site.fake.faults.add(kind="status", status=429, code=1642902, retry_after=2, times=1)
            await until(lambda: waiter.error is not None)
            refused = next(request for request in site.fake.requests if request.status == 429)
            await until(lambda: waiter.error is None)
            answered = next(request for request in site.fake.requests if request.number > refused.number)
            assert answered.time - refused.time >= 2

    run(test)


def test_changed_secrets_are_looked_up_again(either_site: Site) -> None:
    async def test() -> None:
        async with either_site.waiting(either_site.fake.create_task("Long sleep")) as (waiter,):
            await until(lambda: waiter.status is not None)
            either_site.fake.apps = {either_site.fake.app_code: "rotated-secret"}
            either_site.fake.app_secret = "rotated-secret"
            either_site.fake.clear_requests()
            await until(lambda: any(request.result for request in either_site.fake.requests))
            assert waiter.error is None  # nobody noticed
            assert either_site.lookups == 2

    run(test)


def test_secrets_that_are_wrong_reach_the_waits(site: Site) -> None:
    async def test() -> None:
        async with site.waiting(site.fake.create_task("Long sleep")) as (waiter,):
            await until(lambda: waiter.status is not None)
            site.fake.apps = {site.fake.app_code: "another"}
            await until(lambda: waiter.error is not None)
            assert isinstance(waiter.error, errors.SopsAuthenticationError)

    run(test)


def test_the_connection_is_looked_up_again_after_a_while(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "CONNECTION_LIFETIME", 0.5)

    async def test() -> None:
        async with site.waiting(site.fake.create_task("Long sleep")) as (waiter,):
            await until(lambda: site.lookups >= 3)
            await until(lambda: waiter.status is not None)
            assert waiter.error is None

    run(test)


def test_a_look_up_that_fails_later_does_no_harm(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "CONNECTION_LIFETIME", 0.5)

    async def test() -> None:
        async with site.waiting(site.fake.create_task("Long sleep")) as (waiter,):
            await until(lambda: waiter.status is not None)
            failed = []

            async def no_database() -> AsyncSopsClient:
                failed.append(1)
                raise RuntimeError("the metadata database is away")

            site.poller._connect = no_database
            site.fake.clear_requests()
            await until(lambda: len(failed) >= 2 and site.fake.count() >= 3)
            assert waiter.error is None

    run(test)


def test_a_connection_that_cannot_be_used_is_everyones_error(sops: FakeSops) -> None:
    async def test() -> None:
        async def nothing() -> AsyncSopsClient:
            raise errors.SopsConfigError("host", "is empty")

        shared = Poller(nothing, Place(2), min_interval=INTERVAL)
        waiter = Waiter(1, INTERVAL)
        shared.join(waiter)
        await until(lambda: waiter.error is not None)
        assert "host: is empty" in str(waiter.error)
        shared.leave(waiter)
        await ended(shared)

    run(test)


def test_it_starts_in_an_empty_context_and_ends_with_the_last_wait(site: Site) -> None:
    async def test() -> None:
        mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")
        mark.set("of the first wait")
        seen: list[str] = []
        connect = site.poller._connect

        async def spy() -> AsyncSopsClient:
            seen.append(mark.get())
            return await connect()

        site.poller._connect = spy
        first, second = site.wait_for(site.fake.create_task("Long sleep"), site.fake.create_task("Long sleep"))
        await until(lambda: first.status is not None and second.status is not None)
        assert seen == ["none"]
        site.poller.leave(first)
        read = site.fake.count()
        await until(lambda: site.fake.count() > read)  # it goes on for the second
        site.poller.leave(second)
        assert site.poller.idle
        await ended(site.poller)
        client = site.poller._client
        assert client is not None
        assert client._session is None

    run(test)


def test_a_cancelled_wait_leaves_the_others_alone(site: Site) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(3)]
        async with site.waiting(*ids) as waiters:
            sleepers = [asyncio.create_task(waiter.sleep(60)) for waiter in waiters]
            await asyncio.sleep(0)
            sleepers[0].cancel()
            site.poller.leave(waiters[0])
            await asyncio.gather(*sleepers[1:])
            assert states(waiters[1:]) == {TaskState.RUNNING}
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


def test_courtesy_reads_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(poller.time, "time", lambda: now)

    async def connect() -> AsyncSopsClient:
        raise AssertionError("nothing is read")

    async def test() -> None:
        nonlocal now
        shared = Poller(connect, Place(2))
        waiters = [Waiter(number, INTERVAL) for number in range(100)]
        taken = [shared.take_courtesy(waiter) for waiter in waiters]
        assert taken == [True] + [False] * 99  # one after the other
        now += 4
        taken = [shared.take_courtesy(waiter) for waiter in waiters[1:]]
        assert taken == [True] * 9 + [False] * 90  # ten soon
        now += 60
        taken = [shared.take_courtesy(waiter) for waiter in waiters[10:]]
        assert taken == [True] * 12 + [False] * 78  # then twelve a minute, in their turn

    run(test)
