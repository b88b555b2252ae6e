# SPDX-License-Identifier: Apache-2.0
"""What the pages' reader asks SOPS for, and when it asks anew; SOPS' caches work."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.web.task_page_airflow import TaskInstance
from airflow_provider_sops.web.task_page_reader import Reader
from tests.web.task_page.test_shared_reads import Clock

ARGUMENTS = {"sops_conn_id": "sops_default", "bk_biz_id": None}
INSTANCE = TaskInstance("dag", "run", "task", -1, "running", ARGUMENTS, {})


@pytest.fixture
def cached(make_sops: Callable[..., FakeSops], connect: Callable[..., None]) -> FakeSops:
    """A fake SOPS with its caches."""
    sops = make_sops(caches=True)
    connect(sops)
    return sops


def calls(sops: FakeSops) -> Counter[str]:
    found = Counter(request.api for request in sops.requests)
    sops.clear_requests()
    return found


def test_a_task_through_its_life(cached: FakeSops) -> None:
    task_id = cached.create_task("Long sleep", constants={"seconds": "100"}, start=False)

    async def test() -> None:
        clock = Clock()
        reader = Reader(clock)
        project = await reader.project(INSTANCE)

        async def look(seconds: float, api_calls: dict[str, int]) -> TaskState:
            clock.now += seconds
            cached.advance(seconds)
            view = await reader.task(INSTANCE, project, task_id)
            assert calls(cached) == api_calls
            assert view.detail is not None
            assert bool(view.detail.start_time) == (view.status.state is not TaskState.CREATED)
            assert bool(view.detail.outputs) == (view.status.state is TaskState.FINISHED)
            return view.status.state

        both = {"get_task_status": 1, "get_task_detail": 1}
        assert await look(0, both) is TaskState.CREATED
        assert await look(5, {}) is TaskState.CREATED
        assert await look(5, {"get_task_status": 1}) is TaskState.CREATED
        cached.start_task(task_id)
        # the detail is read past SOPS' cache, as it was read before the start
        assert await look(10, both) is TaskState.RUNNING
        assert await look(10, {"get_task_status": 1}) is TaskState.RUNNING
        assert await look(50, both) is TaskState.RUNNING
        # and the end is not hidden by what was read a moment ago
        assert await look(50, both) is TaskState.FINISHED
        assert await look(59, {}) is TaskState.FINISHED
        assert await look(1, {"get_task_status": 1}) is TaskState.FINISHED

    asyncio.run(test())


def test_a_site_that_is_away_is_not_asked_by_each_page(cached: FakeSops) -> None:
    task_id = cached.create_task()
    cached.faults.add(kind="status", status=502, times=None)

    async def test() -> None:
        clock = Clock()
        reader = Reader(clock)
        project = await reader.project(INSTANCE)
        for seconds, count in ((0, 1), (9, 0), (1, 1)):
            clock.now += seconds
            for _ in range(3):
                with pytest.raises(errors.SopsGatewayUnavailableError):
                    await reader.task(INSTANCE, project, task_id)
            assert sum(calls(cached).values()) == count

    asyncio.run(test())


def test_a_connection_that_is_not_there_is_not_looked_up_by_each_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_sops.web import task_page_reader

    looked_up: list[str] = []

    def look_up(conn_id: str, team: str) -> None:
        looked_up.append(conn_id)
        raise ValueError("no such connection")

    monkeypatch.setattr(task_page_reader, "read_site", look_up)

    async def test() -> None:
        clock = Clock()
        reader = Reader(clock)
        for seconds, count in ((0, 1), (9, 1), (1, 2)):
            clock.now += seconds
            for _ in range(3):
                with pytest.raises(errors.SopsError, match="cannot be used"):
                    await reader.project(INSTANCE)
            assert len(looked_up) == count

    asyncio.run(test())
