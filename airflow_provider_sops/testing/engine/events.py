# SPDX-License-Identifier: Apache-2.0
"""What is going to happen to a task, and when."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Events:
    """The coming events of a task, in the order of their times."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()

    def add(self, at: float, handle: Callable[[float], None]) -> None:
        """Let something happen at a time.

        :param handle: is called with the time.
        """
        heapq.heappush(self._heap, (at, next(self._numbers), handle))

    def run(self, now: float) -> None:
        """Handle all events that are due."""
        while self._heap and self._heap[0][0] <= now:
            at, _, handle = heapq.heappop(self._heap)
            handle(at)

    def clear(self) -> None:
        """Nothing happens any more."""
        self._heap.clear()
