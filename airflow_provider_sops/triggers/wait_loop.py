# SPDX-License-Identifier: Apache-2.0
"""The loop of one deferred wait: what a shared poller reads is evaluated and logged, until the wait is over."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.task_wait import TaskWait
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.task_log import log_lines
from airflow_provider_sops.trigger_events import Outcome, make_event
from airflow_provider_sops.triggers.shared_pollers import subscribe_to_poller, unsubscribe_from_poller

if TYPE_CHECKING:
    from airflow_provider_sops.core.models import TaskStatus
    from airflow_provider_sops.core.wait.observation import Observation
    from airflow_provider_sops.wait_spec import WaitSpec

#: Seconds after which a wait whose task has failed or cannot be read evaluates it again, and after which any other
#: does, though the poller has nothing new.
_RECHECK = 30.0
_LONGEST_SLEEP = 3600.0
#: Seconds that a wait whose time is over takes for a first reading: its task may have ended in time while no triggerer
#: ran. Less than the margin after which Airflow itself ends the wait.
_FIRST_READ = 30.0
#: Seconds after which a wait that its trigger has started surely had an answer, unless a triggerer was away.
_START_DELAY = 60.0
#: Seconds between two reads of how far a task's nodes are, while its state does not change.
_PROGRESS_INTERVAL = 600.0


class Waiter(Protocol):
    """Who waits: the trigger."""

    @property
    def spec(self) -> WaitSpec:
        """The order for the wait."""

    @property
    def log(self) -> Any:
        """The task's log."""

    def note_start(self) -> None:
        """Note that the SOPS task was seen to have started."""

    async def show_link(self, url: str) -> None:
        """Make the address of the task's page known."""


def begin_wait(waiter: Waiter) -> WaitLoop:
    """Begin to wait as ordered; :meth:`WaitLoop.close` ends it."""
    spec = waiter.spec
    subscription = Subscription(spec.sops_task_id, spec.poll_interval)
    poller = subscribe_to_poller(spec.sops_conn_id, spec.project, subscription)
    try:
        return make_loop(waiter, poller, subscription)
    except BaseException:
        unsubscribe_from_poller(poller, subscription)
        raise


def make_loop(waiter: Waiter, poller: Poller, subscription: Subscription) -> WaitLoop:
    """Make the loop of a wait that begins now."""
    now, spec = time.time(), waiter.spec
    had_answer = _had_answer(spec, now)
    task_wait = TaskWait(
        spec.sops_task_id, poller.project, spec.policy, had_answer=had_answer, permissions=poller.permissions
    )
    task_wait.task_url = spec.task_url
    return WaitLoop(waiter, poller, subscription, task_wait, first_read_by=now + _FIRST_READ)


def _had_answer(spec: WaitSpec, now: float) -> bool:
    """Return whether SOPS has answered this wait before: a worker, or else a triggerer that was there before this."""
    if spec.timeout is None or spec.deadline is None:
        return True
    return now > spec.deadline - spec.timeout + _START_DELAY


@dataclass(slots=True)
class WaitLoop:
    """One wait in a triggerer: steps and sleeps in turn. All times are seconds since the epoch."""

    waiter: Waiter
    poller: Poller
    subscription: Subscription
    task_wait: TaskWait
    #: up to when a deadline waits for the first reading
    first_read_by: float
    #: when the last step began
    stepped_at: float = 0.0
    #: when the task's nodes are to be read for the log
    progress_due: float = float("inf")
    #: the last state read
    state: TaskState | None = None
    shown_url: str = ""

    def close(self) -> None:
        """End the wait."""
        unsubscribe_from_poller(self.poller, self.subscription)

    def sleep(self) -> asyncio.Future[None]:
        """Return a future to await until there is something to do."""
        return self.subscription.sleep(self.seconds_to_sleep())

    async def step(self, now: float) -> dict[str, Any] | None:
        """Take what the poller has delivered.

        :return: the event to fire when the wait is over, see :func:`~airflow_provider_sops.trigger_events.make_event`.
        """
        self.stepped_at = now
        self._log_notices()
        observation = await self._observe(now)
        if observation is not None:
            log_lines(self.waiter.log, observation.lines)
            await self._show_link()
            if observation.next is not Next.WAIT:
                outcome = Outcome.SUCCESS if observation.next is Next.SUCCESS else Outcome.FAILURE
                return make_event(self.waiter.spec.sops_task_id, outcome, observation)
            if observation.status is not None:
                self._note_state(observation.status, now)
        if outcome_by_time := self._outcome_by_time(now):
            return make_event(self.waiter.spec.sops_task_id, outcome_by_time, observation)
        if self._may_read_progress(now):
            await self._log_progress(now)
            if self.task_wait.final is not None:  # it was deleted, which a batch may never say
                return await self.step(now)
        return None

    async def _show_link(self) -> None:
        url = self.task_wait.task_url
        if url != self.shown_url:
            self.shown_url = url
            await self.waiter.show_link(url)

    def _log_notices(self) -> None:
        notices, self.subscription.notices = self.subscription.notices, ()
        for notice in notices:
            self.waiter.log.warning("%s", notice)

    async def _observe(self, now: float) -> Observation | None:
        """Evaluate what the poller delivered last; ``None`` while it has delivered nothing."""
        subscription = self.subscription
        if subscription.error is not None:
            return self.task_wait.failed_read(subscription.error, now)
        if subscription.status is None:
            return None
        may_read_for_log = partial(self.poller.may_read_for_log, subscription)
        try:
            return await self.poller.run(
                self.task_wait.evaluate(subscription.status, now, may_read_for_log=may_read_for_log)
            )
        except errors.SopsError as error:
            return self.task_wait.failed_read(error, now)

    def _note_state(self, status: TaskStatus, now: float) -> None:
        if status.state is self.state:
            return
        # the first reading of a thousand restarted waits must not become a thousand single reads
        self.progress_due = now + (_PROGRESS_INTERVAL if self.state is None else 0.0)
        self.state = status.state
        if status.state is not TaskState.CREATED:
            self.waiter.note_start()

    def _outcome_by_time(self, now: float) -> Outcome | None:
        """Say whether the task's time is over: to end, or to start."""
        deadline = self._deadline()
        if deadline is not None and now >= deadline:
            return Outcome.TIMEOUT
        start_deadline = self.waiter.spec.start_deadline
        if start_deadline is not None and now >= start_deadline and self.state is TaskState.CREATED:
            return Outcome.NOT_STARTED
        return None

    def _deadline(self) -> float | None:
        deadline, subscription = self.waiter.spec.deadline, self.subscription
        if deadline is None or subscription.status is not None or subscription.error is not None:
            return deadline
        return max(deadline, self.first_read_by)

    def _may_read_progress(self, now: float) -> bool:
        readable = self.subscription.error is None and self.task_wait.permissions.status
        return now >= self.progress_due and readable and self.poller.may_read_for_log(self.subscription)

    async def _log_progress(self, now: float) -> None:
        self.progress_due = now + _PROGRESS_INTERVAL
        with suppress(errors.SopsError):
            log_lines(self.waiter.log, await self.poller.run(self.task_wait.read_progress(now)))

    def seconds_to_sleep(self) -> float:
        """Return the seconds after which there is something to do although the poller has nothing new: often many.

        What became due since the last step began is due at once.
        """
        now = self.stepped_at
        task_wait, wait_state, grace = self.task_wait, self.task_wait.wait_state, self.task_wait.policy.grace
        moments = [self._deadline(), self.waiter.spec.start_deadline, now + _LONGEST_SLEEP]
        if task_wait.outage_since is not None:
            moments.append(task_wait.outage_since + self.waiter.spec.max_outage)
        if wait_state.failed is not None and grace is not None:
            moments.append(wait_state.failed + grace)
        if task_wait.must_be_kept or wait_state.failed is not None:
            moments.append(now + _RECHECK)
        # log-only reads may have to wait for their budget
        moments += [
            max(due, self.subscription.log_read_at or 0.0)
            for due in (self.progress_due, task_wait.progress_log.intervention_due)
            if due is not None
        ]
        return max(0.05, min(moment for moment in moments if moment is not None and moment > now) - time.time())
