# SPDX-License-Identifier: Apache-2.0
"""What a watch costs: the requests of a thousand unfinished tasks, and memory over ten thousand ends.

The watch runs here, in an event loop of its own, against the fake SOPS in another process. Prints a table with what was
to be reached. It takes five minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
import tempfile
import time
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.testing import FakeSopsClient
from airflow_provider_sops.triggers import shared_pollers
from airflow_provider_sops.triggers.watch_log import WatchLog
from airflow_provider_sops.triggers.watch_loop import WatchLoop
from airflow_provider_sops.watch_spec import make_watch_spec
from tests.live.fake import connection_json, fake_process

#: Tasks that end in one go of the second part.
AT_ONCE = 500


class Store:
    """Stands for Airflow's store."""

    value: Any = None

    async def read(self) -> Any:
        """Return what was written last."""
        return self.value

    async def write(self, value: Any) -> None:
        """Keep a value, as long as Airflow would."""
        self.value = json.loads(json.dumps(value))


class Watch:
    """A watch, and how many ends it has announced."""

    def __init__(self, interval: float | None = None) -> None:
        spec = make_watch_spec(name="bench", bk_biz_id=2, scope="cmdb_biz")
        self.spec = spec if interval is None else spec._replace(poll_interval=interval)
        self.announced = 0

    async def __aenter__(self) -> Watch:
        self.loop = WatchLoop(self.spec, Project(2), Store(), WatchLog(logging.getLogger("bench"), "bench"))
        self.task = asyncio.create_task(self._count())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.loop.close()

    async def _count(self) -> None:
        async for payload in self.loop.events():
            self.announced += len(payload["ended_tasks"])


async def requests_a_minute(fake: FakeSopsClient, tasks: int, seconds: float) -> float:
    """Watch unfinished tasks, and count what SOPS is asked."""
    await asyncio.to_thread(fake.create_tasks, tasks, "Long sleep", constants={"seconds": "360000"})
    async with Watch() as watch:
        await asyncio.sleep(30)
        assert len(watch.loop._watched) == tasks
        before, began = fake.count(), time.monotonic()
        await asyncio.sleep(seconds)
        return 60.0 * (fake.count() - before) / (time.monotonic() - began)


async def memory_over_ends(fake: FakeSopsClient, ends: int) -> tuple[float, float]:
    """Let tasks end, and measure what is held after a tenth of them, and after all.

    :return: KiB, by Python's own count.
    """
    held: list[float] = []
    async with Watch(0.2) as watch:
        await asyncio.sleep(2)
        tracemalloc.start()
        for done in range(0, ends, AT_ONCE):
            await asyncio.to_thread(fake.create_tasks, AT_ONCE)
            fake.advance(200)  # past the time in which an older id may still appear
            while watch.announced < done + AT_ONCE or watch.loop._announcements.ends:
                assert not watch.task.done(), watch.task.exception()
                await asyncio.sleep(0.1)
            if done + AT_ONCE in (ends // 10, ends):
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0] / 1024.0)
        tracemalloc.stop()
    return held[0], held[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000, help="unfinished tasks")
    parser.add_argument("--seconds", type=float, default=120.0, help="for which they are watched")
    parser.add_argument("--ends", type=int, default=10_000, help="a multiple of 5,000")
    args = parser.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, fake_process(Path(folder)) as fake:
        os.environ["AIRFLOW_CONN_SOPS_DEFAULT"] = connection_json(fake)
        rate = asyncio.run(requests_a_minute(fake, args.tasks, args.seconds))
    with tempfile.TemporaryDirectory() as folder, fake_process(Path(folder)) as fake:
        os.environ["AIRFLOW_CONN_SOPS_DEFAULT"] = connection_json(fake)
        shared_pollers.Poller = partial(Poller, min_interval=0.2)  # type: ignore[assignment, attr-defined]
        first, last = asyncio.run(memory_over_ends(fake, args.ends))
    print("| goal | at most | measured | |\n| --- | ---: | ---: | --- |")
    verdict = "reached" if rate <= 130 else "MISSED"
    print(f"| {args.tasks:,} watched unfinished tasks: requests a minute | 130 | {rate:.0f} | {verdict} |")
    growth = last - first
    print(
        f"| memory after {args.ends:,} ends, beyond that after {args.ends // 10:,}, KiB | bounded | {growth:,.0f} | |"
    )


if __name__ == "__main__":
    main()
