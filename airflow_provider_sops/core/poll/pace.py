# SPDX-License-Identifier: Apache-2.0
"""How fast a poller reads: the interval, the spacing of chunks within it, and the back-off after errors."""

from __future__ import annotations

import random
from collections import Counter
from math import ceil

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.catalogue import DETAIL_CACHE_SECONDS
from airflow_provider_sops.core.http.retry import backoff

#: Longest ``Retry-After`` that is honoured, in seconds.
LONGEST_RETRY_AFTER = 300.0
#: Seconds to wait after the first error in a row.
_FIRST_BACKOFF = 1.0
#: The part of an interval over which its chunks are spread: the rest is for those that are late.
_SPREAD = 0.9


def asked_to_wait(error: errors.SopsError) -> float:
    """Return the seconds that the server asked to wait, as far as that is honoured."""
    return min(error.retry_after or 0.0, LONGEST_RETRY_AFTER)


class Pace:
    """When a poller may read. Times are monotonic, in seconds, and the caller's.

    :param min_interval: seconds between two reads of a task at least.
    """

    def __init__(self, min_interval: float) -> None:
        self._min_interval = min_interval
        self._asked_intervals: Counter[float] = Counter()
        #: whether tasks are read by their details alone, which come from a cache of their own
        self.details_alone = False
        #: failed reads since the last good one
        self.failures = 0
        #: nothing is read before this time, as the last answer was an error
        self._not_before = 0.0
        self._last_chunk_at = float("-inf")
        #: the most tasks in this interval, since when it lasts, and the most in the one before
        self._most, self._most_since, self._most_before = 0, 0.0, 0

    @property
    def interval(self) -> float:
        """Seconds between two reads of a task: the shortest that a wait asks for and that a cache does not defeat."""
        least = max(self._min_interval, float(DETAIL_CACHE_SECONDS)) if self.details_alone else self._min_interval
        return max(least, min(self._asked_intervals, default=least))

    def add_interval(self, interval: float) -> None:
        """Take into account the interval that one more wait asks for."""
        self._asked_intervals[interval] += 1

    def remove_interval(self, interval: float) -> None:
        """Leave out the interval of a wait that has ended."""
        self._asked_intervals[interval] -= 1
        if not self._asked_intervals[interval]:
            del self._asked_intervals[interval]

    def spacing(self, now: float, tasks: int, chunk_size: int) -> float:
        """Return the seconds between two chunks, such that all reads of an interval are spread over it.

        The pace follows at once when tasks join, and one interval late when they end: those that end together are
        often many, and the last of them must not wait longer than the first.
        """
        interval = self.interval
        if now - self._most_since >= interval:
            self._most, self._most_since, self._most_before = tasks, now, self._most
        else:
            self._most = max(self._most, tasks)
        return _SPREAD * interval / max(1, ceil(max(self._most, self._most_before) / chunk_size))

    def next_chunk_at(self, now: float, tasks: int, chunk_size: int) -> float:
        """Return the time before which no chunk may be read; it changes when tasks join or end."""
        return max(self._not_before, self._last_chunk_at + self.spacing(now, tasks, chunk_size))

    def note_chunk(self, now: float) -> None:
        """Let the next chunk keep its distance from this one."""
        self._last_chunk_at = now

    def next_read_of_task(self, now: float) -> float:
        """Return the time of the next read of a task that was read now.

        It is a little later than the cache lives, or the next answer would be the last one again.
        """
        return now + self.interval * random.uniform(1.0, 1.02)  # noqa: S311 (no secret)

    def slow_down(self, now: float, error: errors.SopsError) -> float:
        """Read nothing for some seconds, or as long as the server asks to wait; give how long."""
        delay = max(backoff(max(1, self.failures), _FIRST_BACKOFF, self.interval), asked_to_wait(error))
        self._not_before = max(self._not_before, now + delay)
        self._last_chunk_at = float("-inf")  # failures have a pace of their own
        return delay

    def note_failure(self, now: float, error: errors.SopsError) -> float:
        """Slow down after a failed read, the more the more there are in a row; give the seconds."""
        self.failures += 1
        return self.slow_down(now, error)

    def note_success(self) -> None:
        """Forget the failures."""
        self.failures = 0
