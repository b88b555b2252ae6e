# SPDX-License-Identifier: Apache-2.0
"""What a watch remembers over restarts: which tasks it has seen, and which of them have not ended yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

VERSION = 1
#: Seconds after which a newer id surely hides no older one that SOPS has yet to commit.
SETTLE = 120.0
#: Seconds after which an unfinished task is watched no more.
LONGEST_WATCH = 30 * 86400.0
#: Most unfinished tasks that are watched; the oldest are forgotten first.
MOST_WATCHED = 20_000
_DAY = 86400


@dataclass(slots=True)
class WatchMemory:
    """Ids of tasks; all times are seconds since the epoch by our clock.

    SOPS numbers its tasks in the order in which they are created, so one number, the horizon, stands for all older
    ones. A task above it that was seen is in ``recent``; of the seen ones, ``watched`` have not ended yet.
    """

    horizon: int = 0
    #: when each was seen first
    recent: dict[int, float] = field(default_factory=dict)
    #: since when each is watched
    watched: dict[int, float] = field(default_factory=dict)
    #: watched ones that were announced as failed
    failed: set[int] = field(default_factory=set)
    #: watched ones that were there before the watch, and whose state was not read yet
    old: set[int] = field(default_factory=set)
    #: since when ends are announced, by SOPS' clock
    since: float = 0.0

    def is_known(self, task_id: int) -> bool:
        """Return whether a task was seen before."""
        return task_id <= self.horizon or task_id in self.recent

    def note_listed(self, task_ids: Iterable[int], now: float) -> None:
        """Note the tasks of a whole listing as seen, and let the horizon follow."""
        for task_id in task_ids:
            if task_id > self.horizon:
                self.recent.setdefault(task_id, now)
        settled = [task_id for task_id, seen in self.recent.items() if now - seen >= SETTLE]
        if settled:
            self.horizon = max(settled)
            self.recent = {task_id: seen for task_id, seen in self.recent.items() if task_id > self.horizon}

    def watch(self, task_id: int, now: float) -> None:
        """Watch a task that has not ended yet."""
        self.watched.setdefault(task_id, now)

    def drop(self, task_id: int) -> None:
        """Watch a task no more."""
        self.watched.pop(task_id, None)
        self.failed.discard(task_id)
        self.old.discard(task_id)

    def forget_old(self, now: float) -> list[int]:
        """Forget tasks that have not ended for very long, and the oldest of too many.

        :return: their ids.
        """
        by_age = sorted(self.watched, key=lambda task_id: (self.watched[task_id], task_id))
        too_many = set(by_age[: max(0, len(by_age) - MOST_WATCHED)])
        old = [one for one in by_age if one in too_many or now - self.watched[one] > LONGEST_WATCH]
        for task_id in old:
            self.drop(task_id)
        return old

    def snapshot(self, unstored: Mapping[int, float], unstored_failures: Collection[int]) -> dict[str, Any]:
        """Return it as JSON.

        :param unstored: tasks whose end was announced, but perhaps not yet stored by Airflow, with since when they
            were watched: a restart must announce them again.
        :param unstored_failures: the same of tasks that have failed.
        """
        days: dict[str, list[int]] = {}
        for task_id, since in sorted({**unstored, **self.watched}.items()):
            days.setdefault(str(int(since // _DAY)), []).append(task_id)
        return {
            "version": VERSION,
            "horizon": self.horizon,
            "recent": sorted(self.recent),
            "watched_since_day": days,
            "failed": sorted(self.failed - set(unstored_failures)),
            "old": sorted(self.old),
            "since": self.since,
        }


def restore_memory(data: object, now: float) -> WatchMemory | None:
    """Make a memory of what was stored.

    :param data: a snapshot, or anything else that stands in its place.
    :return: ``None`` for what is no snapshot of this version.
    """
    if not isinstance(data, Mapping) or data.get("version") != VERSION:
        return None
    try:
        watched = {
            int(task_id): float(day) * _DAY
            for day, ids in data["watched_since_day"].items()
            for task_id in map(int, ids)
        }
        return WatchMemory(
            horizon=int(data["horizon"]),
            recent={int(task_id): now for task_id in data["recent"]},
            watched=watched,
            failed={int(task_id) for task_id in data["failed"]} & set(watched),
            old={int(task_id) for task_id in data["old"]} & set(watched),
            since=float(data["since"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
