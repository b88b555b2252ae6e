# SPDX-License-Identifier: Apache-2.0
"""The waiting process of the benchmark: one contestant, so many waits, measured from inside. Prints one JSON object.

No measurement disturbs another: first so many seconds of waiting, in which CPU and requests are counted; then three
intervals, in the first of which some tasks end, with a heartbeat that notices when the event loop stands still. The
start, with that heartbeat, and memory are measured in processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import sys
import time
import tracemalloc
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio.lowlevel
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contestants import CONTESTANTS, INTERVAL, Contestant, start

#: Seconds between two beats.
BEAT = 0.001
#: Tasks that end while they are watched; at most half of them all.
MOST_ENDS = 200
FIRST_ID = 100_000


class Heartbeat:
    """Notices how long the event loop lets a task wait that wants to run every millisecond."""

    def __init__(self) -> None:
        #: longest time between two beats beyond what was asked for, in seconds
        self.longest_stall = 0.0
        #: longest computing of the loop's thread between two beats, in seconds: what other processes take is not in it
        self.longest_computing = 0.0

    async def __aenter__(self) -> Heartbeat:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(20 * BEAT)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()

    async def _beat(self) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(BEAT)
            wall_now, cpu_now = time.perf_counter(), time.thread_time()
            self.longest_stall = max(self.longest_stall, wall_now - wall - BEAT)
            self.longest_computing = max(self.longest_computing, cpu_now - cpu)
            wall, cpu = wall_now, cpu_now


async def control(port: int, path: str, body: Any = None) -> dict[str, Any]:
    """Ask the server's control plane; it does not count these requests."""
    data = None if body is None else json.dumps(body).encode()

    def ask() -> Any:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/bench/{path}", data, timeout=60) as response:
            return json.load(response)

    counts: dict[str, Any] = await asyncio.to_thread(ask)
    return counts


def check(waits: dict[int, asyncio.Task[None]]) -> None:
    """Stop the benchmark when a wait has failed or ended too early."""
    for task_id, wait in waits.items():
        if wait.done():
            wait.result()
            raise RuntimeError(f"the wait for {task_id} has ended before its task")


async def time_ends(port: int, waits: dict[int, asyncio.Task[None]]) -> Sequence[float]:
    """Let some tasks end in the course of one interval, and give the seconds from each end to its event, sorted."""
    chosen = random.sample(sorted(waits), min(MOST_ENDS, len(waits) // 2))
    if not chosen:
        return []
    now = time.time()
    ends = {task_id: now + 1.0 + INTERVAL * index / len(chosen) for index, task_id in enumerate(chosen)}
    seen: dict[int, float] = {}

    def note(task_id: int, _: object) -> None:
        seen.setdefault(task_id, time.time())

    for task_id in chosen:
        waits[task_id].add_done_callback(partial(note, task_id))
    await control(port, "ends", ends)
    await asyncio.sleep(3 * INTERVAL)
    # a contestant that is too slow for the interval gets the time that it needs
    await asyncio.wait([waits[task_id] for task_id in chosen], timeout=12 * INTERVAL)
    for task_id in chosen:
        waits.pop(task_id).result()
    return sorted(seen[task_id] - ends[task_id] for task_id in chosen)


def percentile(values: Sequence[float], percent: int) -> float | None:
    return values[min(len(values) - 1, len(values) * percent // 100)] if values else None


async def measure(contestant: Contestant, port: int, ids: range, seconds: float) -> dict[str, Any]:
    """Measure one contestant; all times in seconds, memory in bytes."""
    process = psutil.Process()
    gc.collect()
    memory = process.memory_info().rss
    waits = await start(contestant, ids)
    await asyncio.sleep(2.5 * INTERVAL)  # until what happens only at the start has happened
    check(waits)

    counts, wall, cpu = await control(port, "counts"), time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    cpu, minutes = time.process_time() - cpu, (time.monotonic() - wall) / 60.0
    later = await control(port, "counts")
    memory = process.memory_info().rss - memory
    check(waits)

    async with Heartbeat() as heartbeat:
        delays = await time_ends(port, waits)
    check(waits)
    requests = {name: (count - counts["requests"].get(name, 0)) / minutes for name, count in later["requests"].items()}
    return {
        "requests": sum(requests.values()),
        "requests_by_name": requests,
        "connections": later["connections"],
        "new_connections": (later["connections"] - counts["connections"]) / minutes,
        "cpu": cpu / minutes,
        "rss": memory / len(ids),
        "stall": heartbeat.longest_stall,
        "computing": heartbeat.longest_computing,
        "p50": percentile(delays, 50),
        "p95": percentile(delays, 95),
    }


async def measure_start(contestant: Contestant, ids: range) -> dict[str, Any]:
    """Let all start at once, and watch until each was read."""
    await anyio.lowlevel.checkpoint()  # loads what a triggerer's loop has long loaded
    gc.collect()
    async with Heartbeat() as heartbeat:
        waits = await start(contestant, ids)
        await asyncio.sleep(1.1 * INTERVAL)
    check(waits)
    return {"stall_at_start": heartbeat.longest_stall, "computing_at_start": heartbeat.longest_computing}


async def measure_memory(contestant: Contestant, ids: range, interval: float) -> dict[str, Any]:
    """Return the bytes that Python holds for one wait that was read once, what all share (one wait more) left out."""
    tracemalloc.start()
    first = await start(contestant, [ids.start - 1])
    await asyncio.sleep(3.0)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    waits = await start(contestant, ids)
    await asyncio.sleep(0.97 * interval)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    check(first | waits)
    return {"memory": (after - before) / len(ids)}


def prepare() -> None:
    """Be like a triggerer's process: what it has imported, its log as JSON to a supervisor, many files."""
    import airflow.jobs.triggerer_job_runner  # noqa: F401
    from airflow.sdk.log import configure_logging, reset_logging

    reset_logging()  # type: ignore[no-untyped-call]
    nowhere = open(os.devnull, "wb", buffering=0)  # noqa: SIM115 (for as long as the process lives)
    configure_logging(json_output=True, output=nowhere, sending_to_supervisor=True)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("port", type=int)
    parser.add_argument("waits", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--start", action="store_true", help="measure the start alone")
    parser.add_argument("--memory", action="store_true", help="measure memory alone")
    args = parser.parse_args()
    prepare()
    ids = range(FIRST_ID, FIRST_ID + args.waits)
    if args.memory:
        # counting allocations makes all slower: everybody gets the time to read each task once
        interval = INTERVAL + 0.01 * args.waits
        result = asyncio.run(measure_memory(CONTESTANTS[args.contestant](args.port, interval), ids, interval))
    elif args.start:
        result = asyncio.run(measure_start(CONTESTANTS[args.contestant](args.port, INTERVAL), ids))
    else:
        contestant = CONTESTANTS[args.contestant](args.port, INTERVAL)
        result = asyncio.run(measure(contestant, args.port, ids, args.seconds))
    print(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # thousands of waits need not be cancelled one by one


if __name__ == "__main__":
    main()
