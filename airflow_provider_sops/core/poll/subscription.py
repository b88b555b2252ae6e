# SPDX-License-Identifier: Apache-2.0
"""One wait's subscription to a poller: where news arrives, and how the wait sleeps until then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.models import TaskStatus


@dataclass(eq=False, slots=True)
class Subscription:
    """One wait for one task. The newest status or error stays here until the wait takes it.

    :param task_id: the SOPS task.
    :param interval: seconds between two reads that the wait asks for.
    :param with_nodes: it is about a node, so that the states of the task's nodes are read, too, and a change of one is
        news.
    """

    task_id: int
    interval: float
    with_nodes: bool = False
    status: TaskStatus | None = None
    #: why the status cannot be read at present
    error: errors.SopsError | None = None
    #: seconds since the epoch of its slot for a log-only read, if it was given one,
    #: see :class:`~airflow_provider_sops.core.poll.log_read_budget.LogReadBudget`
    log_read_at: float | None = None
    #: for the wait's own log, each kind once
    notices: tuple[str, ...] = ()
    notice_kinds: frozenset[str] = frozenset()
    _wake: asyncio.Future[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _notified: bool = False

    def notify(self) -> None:
        """Wake the wait; if it is not asleep, its next sleep ends at once."""
        if self._wake is None or self._wake.done():
            self._notified = True
        else:
            self._wake.set_result(None)

    def add_notice(self, kind: str, notice: str) -> bool:
        """Add a notice for the log, unless one of its kind was added before.

        :return: whether it was added.
        """
        if kind in self.notice_kinds:
            return False
        self.notice_kinds |= {kind}
        self.notices += (notice,)
        return True

    def sleep(self, seconds: float) -> asyncio.Future[None]:
        """Return a future to await: it is done on the next :meth:`notify`, and after ``seconds`` at the latest.

        Thousands of waits sleep nearly always, so this is no coroutine, which each of them would hold.
        """
        self.cancel_timer()
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        if self._notified:
            self._notified = False
            self._wake.set_result(None)
        else:
            self._timer = loop.call_later(max(0.0, seconds), self.notify)
        return self._wake

    def cancel_timer(self) -> None:
        """Forget when to wake up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
