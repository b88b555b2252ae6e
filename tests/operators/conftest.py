# SPDX-License-Identifier: Apache-2.0
"""A fake SOPS whose time is moved by the operator's own sleeping."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airflow_provider_sops.testing import FakeSops
from tests.clients import secret_sops
from tests.times import MovedTime, move_time

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


@pytest.fixture
def make_world(monkeypatch: pytest.MonkeyPatch, connect: Callable[..., None]) -> Iterator[Callable[..., World]]:
    """Make a fake SOPS, and let the provider live in its time and connect to it."""
    made: list[FakeSops] = []

    def make(**arguments: object) -> World:
        fake = secret_sops(**{"caches": True, **arguments}).start()
        made.append(fake)
        world = World(fake)
        connect(fake)
        import airflow_provider_sops.operators.sops  # so that its time is moved too

        assert airflow_provider_sops.operators.sops
        moved = MovedTime(world.sleep)
        moved.now = world.now
        move_time(monkeypatch, moved)
        return world

    yield make
    for fake in made:
        fake.stop()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A fake SOPS with all its caches."""
    return make_world()
