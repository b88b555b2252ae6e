# SPDX-License-Identifier: Apache-2.0
"""Who takes part: each makes, for the id of a task, a coroutine that returns when that task's end was seen.

All look at every task about every :data:`INTERVAL` seconds. Modules are imported in the constructor, as a triggerer has
long imported what it runs.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

#: Freshness: seconds between two looks at a task. SOPS' cache allows no less.
INTERVAL = 10.0

Wait = Coroutine[Any, Any, None]


def set_connection(conn_id: str, **fields: Any) -> str:
    """Let Airflow find a connection in the environment; give its id."""
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)
    return conn_id


async def run_trigger(trigger: Any) -> None:
    """Run a trigger up to its event, as a triggerer does."""
    async for event in trigger.run():
        payload = event.payload
        good = payload.get("outcome", payload.get("status")) == "success" if isinstance(payload, dict) else payload
        if good is not True:
            raise RuntimeError(f"{type(trigger).__name__} did not wait to the end but said {payload!r}")
        return
    raise RuntimeError(f"{type(trigger).__name__} ended without an event")


class Idle:
    """Nobody waits: what the process costs by itself."""

    def __init__(self, port: int, interval: float) -> None:
        return

    def wait(self, task_id: int) -> Wait:
        return asyncio.sleep(3600.0)


class Sops:
    """This provider's trigger, with all that it does beside waiting.

    Reads of a task's nodes and questions whether somebody must confirm come when a wait is minutes old. Here they
    come at once, so that the minute that is measured holds as many of them as any minute may.
    """

    def __init__(self, port: int, interval: float) -> None:
        import airflow_provider_sops.hooks.sops  # noqa: F401 (the others' triggers import their hooks themselves)
        from airflow_provider_sops.core.wait import progress
        from airflow_provider_sops.triggers import wait_loop
        from airflow_provider_sops.triggers.sops import SopsTaskTrigger

        progress.INTERVENTION_AFTER = 1.0
        wait_loop._PROGRESS_INTERVAL = 1.0
        self.trigger = SopsTaskTrigger
        self.interval = interval
        self.conn_id = set_connection(
            "sops_bench",
            conn_type="sops",
            host=f"https://127.0.0.1:{port}/api/bk-sops/prod",
            login="bench",
            password="bench-secret",
            extra={"bk_username": "bench"},
        )

    def wait(self, task_id: int) -> Wait:
        return run_trigger(
            self.trigger(
                sops_task_id=task_id,
                bk_biz_id=2,
                scope="cmdb_biz",
                sops_conn_id=self.conn_id,
                poll_interval=self.interval,
            )
        )


class DbtCloud:
    """``DbtCloudRunJobTrigger`` as it is."""

    def __init__(self, port: int, interval: float) -> None:
        from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

        self.trigger = DbtCloudRunJobTrigger
        self.interval = interval
        self.conn_id = set_connection(
            "dbt_bench", conn_type="dbt_cloud", host=f"127.0.0.1:{port}", login="1", password="bench-secret"
        )

    def wait(self, task_id: int) -> Wait:
        return run_trigger(
            self.trigger(conn_id=self.conn_id, run_id=task_id, end_time=4e9, poll_interval=self.interval, account_id=1)
        )


class Http:
    """``HttpSensorTrigger``: asks an address until it is no longer a 404."""

    def __init__(self, port: int, interval: float) -> None:
        from airflow.providers.http.triggers.http import HttpSensorTrigger

        self.trigger = HttpSensorTrigger
        self.interval = interval
        self.conn_id = set_connection("http_bench", conn_type="http", host=f"https://127.0.0.1:{port}")

    def wait(self, task_id: int) -> Wait:
        return run_trigger(
            self.trigger(endpoint=f"jobs/{task_id}", http_conn_id=self.conn_id, poke_interval=self.interval)
        )


class Bare:
    """The limit: a poller written for this benchmark alone, that asks for fifty and forgives nothing.

    No connection look-up, no errors, no log, no fall-back, no times: a dict of futures and one loop.
    """

    def __init__(self, port: int, interval: float) -> None:
        import httpx

        self.url = f"https://127.0.0.1:{port}/api/bk-sops/prod/get_tasks_status/2/"
        self.interval = 1.01 * interval  # as soon as the cache ends, the next answer would be the last one again
        self.client = httpx.AsyncClient(
            headers={"X-Bkapi-Authorization": json.dumps({"bk_app_code": "bench", "bk_username": "bench"})}
        )
        self.futures: dict[int, asyncio.Future[None]] = {}
        self.loop: asyncio.Task[None] | None = None

    async def wait(self, task_id: int) -> None:
        if self.loop is None:
            self.loop = asyncio.create_task(self.poll())
        future = self.futures[task_id] = asyncio.get_running_loop().create_future()
        await future

    async def poll(self) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(0.25)
        while self.futures:
            ids = sorted(self.futures)
            chunks = [ids[start : start + 50] for start in range(0, len(ids), 50)]
            began = clock()
            for number, chunk in enumerate(chunks, 1):
                response = await self.client.post(self.url, json={"task_id_list": chunk})
                for row in response.json()["data"]:
                    if row["status"]["state"] == "FINISHED":
                        self.futures.pop(row["id"]).set_result(None)
                await asyncio.sleep(max(0.0, began + self.interval * number / len(chunks) - clock()))


Contestant = Idle | Sops | DbtCloud | Http | Bare

#: By name on the command line; all by the same server, ``fallback`` by one that refuses batches.
CONTESTANTS: dict[str, Callable[[int, float], Contestant]] = {
    "idle": Idle,
    "sops": Sops,
    "fallback": Sops,
    "dbt": DbtCloud,
    "http": Http,
    "bare": Bare,
}


async def start(contestant: Contestant, ids: Iterable[int]) -> dict[int, asyncio.Task[None]]:
    """Start waits all at once, as a triggerer does: it lets the event loop turn twice for each."""
    waits = {}
    for task_id in ids:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waits[task_id] = asyncio.create_task(contestant.wait(task_id))
    return waits
