# SPDX-License-Identifier: Apache-2.0
"""The sensor, poked and rescheduled: the table of situations, its log, its result, its limits."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    BaseSensorOperator,
)

from airflow_provider_sops import exceptions
from airflow_provider_sops.exceptions import SopsException, SopsTaskFailedException
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from tests.tasks import TaskInstance, collect_log
from tests.times import MovedTime, move_time
from tests.verdict_cases import CASES, HOUR, Case, StillWaiting, World

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:
    from airflow.exceptions import AirflowRescheduleException

AIRFLOWS_SENSOR = sys.modules[BaseSensorOperator.__module__]


@dataclass
class Run:
    """A sensor's run over its whole wait, whatever its mode."""

    world: World
    ti: TaskInstance = field(default_factory=TaskInstance)
    lines: list[str] = field(default_factory=list)
    pokes: int = 0
    result: Any = None
    error: BaseException | None = None

    def sensor(self, **arguments: Any) -> SopsTaskSensor:
        wanted = {"task_id": "wait", "sops_task_id": self.world.task_id, **self.world.case.arguments}
        sensor = SopsTaskSensor(**{"timeout": 24 * HOUR, **wanted, **arguments})
        self.lines_of_sensor = collect_log(sensor)
        return sensor

    def poke(self, **arguments: Any) -> None:
        """Wait in one process, as ``mode="poke"`` does."""
        sensor = self.sensor(**arguments)
        try:
            self.result = sensor.execute(self.ti.context)
        except Exception as error:
            self.error = error
        self.lines += self.lines_of_sensor

    def reschedule(self, **arguments: Any) -> None:
        """Wait in a new process for each poke, as ``mode="reschedule"`` does."""
        begin = datetime.datetime.fromtimestamp(self.world.now, datetime.UTC)
        while True:
            self.pokes += 1
            sensor = self.sensor(mode="reschedule", **arguments)
            try:
                self.result = sensor.execute(self.ti.context)
            except AirflowRescheduleException as later:
                self.lines += self.lines_of_sensor
                self.ti.first_poke = begin
                try:
                    self.world.sleep(later.reschedule_date.timestamp() - self.world.now)
                except StillWaiting as error:
                    self.error = error
                    return
                continue
            except Exception as error:
                self.error = error
            self.lines += self.lines_of_sensor
            return


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, connect: Callable[..., None]) -> Iterator[Callable[..., Run]]:
    """Make the world of a case, and let the sensor live in its time."""
    worlds: list[World] = []

    def start(case: Case, api_type: str = "apigw") -> Run:
        world = World(case).__enter__()
        worlds.append(world)
        connect(world.fake, api_type)
        run = Run(world)
        moved = WorldTime(world)
        move_time(monkeypatch, moved, AIRFLOWS_SENSOR.__name__)
        monkeypatch.setattr(AIRFLOWS_SENSOR, "timezone", moved)
        if hasattr(AIRFLOWS_SENSOR, "_orig_start_date"):  # Airflow 2 asks its database
            monkeypatch.setattr(AIRFLOWS_SENSOR, "_orig_start_date", lambda **ti: run.ti.first_poke)
        return run

    yield start
    for world in worlds:
        world.__exit__()


class WorldTime(MovedTime):
    """The time of a world, as the modules :mod:`time` and Airflow's ``timezone`` tell it."""

    def __init__(self, world: World) -> None:
        super().__init__(world.sleep)
        self.world = world

    def time(self) -> float:
        return self.world.now

    def monotonic(self) -> float:
        return self.world.now

    def utcnow(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.world.now, datetime.UTC)


def check(run: Run) -> None:
    """Compare what a run came to with what its case expects."""
    case, error = run.world.case, run.error
    if case.expected == "success":
        assert error is None
        assert run.result["state"] == case.state
        assert run.result["sops_task_id"] == run.world.task_id
        assert run.ti.xcoms["sops_task_url"].startswith(f"{run.world.fake.url}/taskflow/execute/7/?instance_id=")
        times = [datetime.datetime.fromisoformat(run.result[name]) for name in ("start_time", "end_time")]
        assert all(time.utcoffset() is not None for time in times)
    elif case.expected == "wait":
        assert isinstance(error, StillWaiting)
    else:
        assert type(error) is getattr(exceptions, case.exception), error
        for words in case.says:
            assert words in str(error)
        if case.expected == "failure":
            assert isinstance(error, SopsTaskFailedException)
            assert error.sops_task_id == run.world.task_id
            assert case.state in ("", error.state)
        else:
            assert isinstance(error, SopsException)
    if case.expected != "wait":
        assert run.world.elapsed >= case.not_before - 0.001
    for words in case.logs:
        told = sum(words in line for line in run.lines)
        # a process does not know exactly what the one before it has told
        assert told == 1 or (told == 2 and run.pokes > 1), run.lines


@pytest.mark.parametrize("case", CASES, ids=str)
def test_poked(case: Case, start: Callable[..., Run]) -> None:
    run = start(case)
    run.poke()
    check(run)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rescheduled(case: Case, start: Callable[..., Run]) -> None:
    run = start(case, "esb")
    run.reschedule()
    check(run)
