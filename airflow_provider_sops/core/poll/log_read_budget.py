# SPDX-License-Identifier: Apache-2.0
"""The budget of log-only reads, which only make a task's log richer: all waits of a poller share it."""

from __future__ import annotations

import heapq

from airflow_provider_sops.core.poll.subscription import Subscription

#: So many reads one after the other, and then one every so many seconds.
_BURST = 10
_GAP = 5.0
#: Seconds between two of them at least: side by side they would open connections of their own.
_PAUSE = 0.25


class LogReadBudget:
    """Gives each wait a slot for its next log-only read. Times are seconds since the epoch, and the caller's."""

    def __init__(self) -> None:
        #: up to when the budget is spent; it lies in the past while reads are few
        self._spent_until = 0.0
        self._last_slot = 0.0
        self._given_back: list[float] = []

    def may_read(self, subscription: Subscription, now: float) -> bool:
        """Allow one read once the wait's slot has come; a wait without a slot is given one."""
        if subscription.log_read_at is None:
            subscription.log_read_at = self._next_slot(now)
        if subscription.log_read_at > now:
            return False
        subscription.log_read_at = None
        return True

    def give_back(self, subscription: Subscription) -> None:
        """Let another wait have the slot of one that has ended."""
        if subscription.log_read_at is not None:
            heapq.heappush(self._given_back, subscription.log_read_at)
            subscription.log_read_at = None

    def _next_slot(self, now: float) -> float:
        while self._given_back:
            slot = heapq.heappop(self._given_back)
            if slot > now:
                return slot
        self._spent_until = max(self._spent_until, now - _BURST * _GAP) + _GAP
        self._last_slot = max(now, self._spent_until, self._last_slot + _PAUSE)
        return self._last_slot
