# SPDX-License-Identifier: Apache-2.0
"""The ends that a watch has seen: to be read, to be announced, and announced but perhaps not stored. No I/O.

Airflow stores an event some moments after it was fired, and what a watch remembers must not overtake it. So an
announced end counts as stored only when Airflow has answered a question at two later looks: it has then handled what
the triggerer had sent before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_provider_sops.core.ended_task import json_bytes
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.watch.watch_memory import WatchMemory

#: Most ended tasks, and most bytes of them, in one event; the others come with the next one.
MOST_IN_EVENT = 500
MOST_BYTES_IN_EVENT = 1024 * 1024
#: Looks at which Airflow must have answered before an event is taken for stored.
ANSWERS_TO_STORE = 2


@dataclass(eq=False, slots=True)
class End:
    """One end.

    :param watched_since: since when the task was watched (seconds since the epoch).
    :param ended_at: seconds since the epoch, by our clock, at which it ended.
    """

    status: TaskStatus
    watched_since: float
    ended_at: float
    #: what is announced, once it was read
    ended_task: dict[str, Any] | None = None
    announced: bool = False
    #: looks since then at which Airflow has answered
    answers: int = 0


@dataclass(slots=True)
class Announcements:
    """All ends that Airflow has not surely stored yet."""

    ends: list[End] = field(default_factory=list)

    def add(self, end: End) -> None:
        """Take an end that was just seen."""
        self.ends.append(end)

    @property
    def unread(self) -> list[End]:
        """The ends of which it was not read yet what is announced."""
        return [end for end in self.ends if end.ended_task is None]

    @property
    def ready(self) -> list[End]:
        """The ends that can be announced, the oldest first."""
        ready = [end for end in self.ends if end.ended_task is not None and not end.announced]
        return sorted(ready, key=lambda end: end.ended_at)

    @property
    def wait_for_airflow(self) -> bool:
        """Whether Airflow is to be asked, so that ends can be taken for stored."""
        return any(end.announced for end in self.ends)

    def take(self) -> list[dict[str, Any]]:
        """Announce as many as one event carries."""
        taken: list[dict[str, Any]] = []
        size = 0
        for end in self.ready:
            assert end.ended_task is not None
            size += json_bytes(end.ended_task)
            if taken and (len(taken) >= MOST_IN_EVENT or size > MOST_BYTES_IN_EVENT):
                break
            taken.append(end.ended_task)
            end.announced = True
        return taken

    def unstored(self) -> list[End]:
        """Return the ends that Airflow may not have stored yet: a restart must announce them again."""
        return [end for end in self.ends if not end.announced or end.answers < ANSWERS_TO_STORE]

    def note_answer(self) -> None:
        """Note that Airflow has answered a question after the announcements up to now."""
        for end in self.ends:
            end.answers += end.announced

    def oldest(self) -> float | None:
        """Return when the oldest end that is not announced yet has ended (seconds since the epoch)."""
        return min((end.ended_at for end in self.ends if not end.announced), default=None)


def snapshot(memory: WatchMemory, unstored: list[End]) -> dict[str, Any]:
    """Return what is to be remembered as long as these ends are not stored."""
    return memory.snapshot(
        {end.status.task_id: end.watched_since for end in unstored},
        [end.status.task_id for end in unstored if end.status.state is TaskState.FAILED],
    )
