# SPDX-License-Identifier: Apache-2.0
"""How many posts are looked at: others are refused before they cost anything. No I/O; times are monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Rate:
    """Allows something so many times a second, and that many at once.

    :param per_second: how often.
    """

    per_second: float
    _left: float = field(init=False)
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._left = self.per_second

    def allows(self, now: float) -> bool:
        """Take one, if there is one left."""
        self._left = min(self.per_second, self._left + (now - self._at) * self.per_second)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
