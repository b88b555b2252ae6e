# SPDX-License-Identifier: Apache-2.0
"""The fake's time."""

from __future__ import annotations

import time


class Clock:
    """The wall clock plus what a test has jumped over."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._stopped: float | None = None

    def now(self) -> float:
        """Seconds since the epoch."""
        return (time.time() if self._stopped is None else self._stopped) + self._offset

    def stop(self) -> None:
        """Stand still from now on: only :meth:`advance` moves the time."""
        self._stopped = time.time()

    def advance(self, seconds: float) -> None:
        """Jump ahead."""
        self._offset += seconds
