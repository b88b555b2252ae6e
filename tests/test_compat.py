# SPDX-License-Identifier: Apache-2.0
"""How a trigger asks Airflow: over a channel that belongs to its own event loop and that no question leaves half."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from airflow_provider_sops.compat import HAS_ASSETS, ask_airflow, resumed_context, xcom_in_airflow
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.triggers import shared_pollers


class Channel:
    """The way to the supervisor as a triggerer of Airflow 3.0 and 3.1 has it: one answer after the other, one loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.lock = asyncio.Lock()
        self.answers: asyncio.Queue[int] = asyncio.Queue()
        self.first_asked = asyncio.Event()
        self.asked = self.foreign = 0

    def send(self, message: object) -> None:
        async_to_sync(self.asend)(message)

    async def asend(self, message: object) -> None:
        if asyncio.get_running_loop() is not self.loop:
            self.foreign += 1
            self.first_asked.set()
            return
        async with self.lock:
            self.asked += 1
            number = self.asked
            self.first_asked.set()
            self.loop.call_later(0.05, self.answers.put_nowait, number)
            got = await self.answers.get()
            assert got == number, f"answer {got} read out of order for question {number}"


def test_it_asks_from_the_trigger_s_own_event_loop() -> None:
    async def ask() -> tuple[int, int]:
        channel = Channel()
        await ask_airflow(channel.send, "state")
        return channel.asked, channel.foreign

    assert asyncio.run(ask()) == (1, 0)


def test_a_question_that_nobody_waits_for_any_more_is_answered_all_the_same() -> None:
    async def ask() -> int:
        channel = Channel()
        asking = [asyncio.create_task(ask_airflow(channel.send, number)) for number in range(5)]
        await channel.first_asked.wait()
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        await ask_airflow(channel.send, "one more")
        return channel.asked

    assert asyncio.run(ask()) == 6


def test_what_it_raises_is_raised() -> None:
    def fail() -> None:
        raise RuntimeError("no such task")

    with pytest.raises(RuntimeError, match="no such task"):
        asyncio.run(ask_airflow(fail))


def test_connecting_asks_over_the_channel_alone(
    sops: FakeSops, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masking the connection's secrets goes to the supervisor too."""
    task_runner = pytest.importorskip("airflow.sdk.execution_time.task_runner", reason="Airflow 2 has no supervisor")
    connect(sops)

    async def ask() -> Any:
        channel = Channel()
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", channel, raising=False)
        await shared_pollers.connect("sops_default")
        return channel

    channel = asyncio.run(ask())
    assert channel.asked
    assert channel.foreign == 0


def test_where_no_task_runs_none_is_resumed() -> None:
    assert resumed_context() is None


@pytest.mark.skipif(not HAS_ASSETS, reason="Airflow 2 has no supervisor")
def test_a_trigger_reads_an_xcom_of_a_task_instance_that_it_knows_by_its_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.execution_time import comms, task_runner

    asked: list[Any] = []

    class Supervisor:
        def send(self, msg: Any) -> Any:
            asked.append(msg)
            return comms.XComResult(key=msg.key, value=50001)

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
    ti = SimpleNamespace(dag_id="deploy", task_id="wait", run_id="run", map_index=3)
    assert xcom_in_airflow(ti, "sops_task_id") == 50001
    (msg,) = asked
    assert (msg.key, msg.dag_id, msg.task_id, msg.run_id, msg.map_index) == ("sops_task_id", "deploy", "wait", "run", 3)
