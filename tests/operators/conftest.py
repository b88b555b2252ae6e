# SPDX-License-Identifier: Apache-2.0
"""A fake SOPS whose time is moved by the operator's own sleeping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from airflow_provider_sops.core.poll import poller
from airflow_provider_sops.testing import FakeSops
from tests.clients import secret_sops
from tests.operators.airflow_task import Triggerer
from tests.times import MovedTime, move_time
from tests.triggers.test_verdict_cases import busy, in_triggerer  # noqa: F401 (a fixture)

assert poller  # loaded, so that its time is moved too

#: What happens while the operator sleeps: seconds since it was set, and what.
Event = tuple[float, Callable[[], object]]


class Died(BaseException):
    """The worker process is gone."""


def die() -> None:
    """Let the worker process die here."""
    raise Died


class World:
    """A fake SOPS in a time that stands still but for the operator's sleeping."""

    def __init__(self, fake: FakeSops) -> None:
        self.fake = fake
        self._events: list[Event] = []
        fake.clock.stop()

    @property
    def now(self) -> float:
        return self.fake.clock.now()

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Let something happen so many seconds from now, while the operator sleeps."""
        self._events.append((self.now + seconds, act))
        self._events.sort(key=lambda event: event[0])

    def sleep(self, seconds: float) -> None:
        """What the operator's sleeping comes to."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            at, act = self._events.pop(0)
            self.fake.advance(max(0.0, at - self.now))
            act()
        self.fake.advance(max(0.0, until - self.now))

    def started(self) -> list[int]:
        """Ids of the tasks that were started; each of them once."""
        tasks = [task for task in self.fake.tasks if task.starts and not task.is_child]
        assert all(len(task.starts) == 1 for task in tasks), [(task.id, task.starts) for task in tasks]
        return [task.id for task in tasks]

    def states(self) -> dict[int, str]:
        """The tasks and their states."""
        return {task.id: task.state for task in self.fake.tasks}


class WorldTime(MovedTime):
    """The time of a world, as the module :mod:`time` tells it."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def time(self) -> float:
        return self.world.now

    def monotonic(self) -> float:
        return self.world.now

    def sleep(self, seconds: float) -> None:
        self.world.sleep(seconds)


@pytest.fixture
def make_world(monkeypatch: pytest.MonkeyPatch, connect: Callable[..., None]) -> Iterator[Callable[..., World]]:
    """Make a fake SOPS, and let the provider live in its time and connect to it."""
    made: list[FakeSops] = []

    def make(**arguments: object) -> World:
        fake = secret_sops(**{"caches": True, **arguments}).start()
        made.append(fake)
        world = World(fake)
        connect(fake)
        move_time(monkeypatch, WorldTime(world))
        return world

    yield make
    for fake in made:
        fake.stop()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A fake SOPS with all its caches."""
    return make_world()


@pytest.fixture
def triggerer(world: World, busy: list[int]) -> Triggerer:  # noqa: F811
    """A triggerer whose event loop lives in the world's time."""
    return lambda row, lines: in_triggerer(SimpleNamespace(world=world, lines=lines), row, busy)
