# SPDX-License-Identifier: Apache-2.0
"""A fake SOPS, a poller of its tasks, and what the poller's tests do with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from airflow_provider_sops.connection import parse_connection
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.http.async_client import AsyncSopsClient
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.testing import FakeSops

INTERVAL = 0.2


class Site:
    """A fake SOPS, and a poller of its tasks that counts the look-ups of the connection."""

    def __init__(self, fake: FakeSops, api_type: str) -> None:
        self.fake, self.api_type, self.lookups = fake, api_type, 0
        self.poller = Poller(self.connect, Project(fake.bk_biz_id), min_interval=INTERVAL)

    async def connect(self) -> AsyncSopsClient:
        self.lookups += 1
        fields = self.fake.connection(self.api_type)
        site = parse_connection(
            host=fields["host"], login=fields["login"], password=fields["password"], extra=fields["extra"]
        )
        return AsyncSopsClient(site.endpoint, settings=site.settings)

    def wait_for(self, *task_ids: int) -> list[Subscription]:
        subscriptions = [Subscription(task_id, INTERVAL) for task_id in task_ids]
        for subscription in subscriptions:
            self.poller.subscribe(subscription)
        return subscriptions

    @asynccontextmanager
    async def waiting(self, *task_ids: int) -> AsyncIterator[list[Subscription]]:
        subscriptions = self.wait_for(*task_ids)
        try:
            yield subscriptions
        finally:
            for subscription in subscriptions:
                self.poller.unsubscribe(subscription)
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


def run(test: Callable[[], Coroutine[Any, Any, object]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def batches(site: Site) -> list[Any]:
    return [request for request in site.fake.requests if request.api == "get_tasks_status"]


CRASHED = {"result": False, "code": "50000", "message": "系统异常", "data": None}


def states(subscriptions: list[Subscription]) -> set[TaskState | None]:
    return {subscription.status.state if subscription.status else None for subscription in subscriptions}


REFUSALS: dict[str, tuple[int, Any]] = {
    "no": (200, {"result": False, "code": 3599999, "message": "(2003, 'cannot connect to MySQL')"}),
    "crash": (500, CRASHED),
}
