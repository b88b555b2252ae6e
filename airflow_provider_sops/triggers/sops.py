# SPDX-License-Identifier: Apache-2.0
"""The trigger that waits for a SOPS task without a worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_sops.compat import state_in_airflow
from airflow_provider_sops.operators.killing import ASK_SECONDS, KILL_SECONDS
from airflow_provider_sops.sops import errors
from airflow_provider_sops.sops.calls import parse_scope
from airflow_provider_sops.sops.models import TaskState
from airflow_provider_sops.sops.operate import revoke
from airflow_provider_sops.sops.poller import Poller, Waiter
from airflow_provider_sops.sops.verdict import Next, WaitPolicy
from airflow_provider_sops.sops.watch import Look, Place, Watch
from airflow_provider_sops.waiting import Outcome, log_lines, make_event, make_policy

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_sops.connection import Site
    from airflow_provider_sops.sops.async_client import AsyncSopsClient

#: Seconds after which a wait looks again though nothing was told: when its task has failed or cannot be read, and else.
_RECHECK = 30.0
_LONGEST_SLEEP = 3600.0
#: Seconds between two reads of how far a task's nodes are, while its state does not change.
_PROGRESS_INTERVAL = 600.0
#: States of an Airflow task that a user has marked, so that it does not go on.
_ENDED = ("failed", "success", "skipped", "upstream_failed", "removed")

PollerKey = tuple[str, Place]
_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[PollerKey, Poller]] = WeakKeyDictionary()


async def connect(sops_conn_id: str) -> AsyncSopsClient:
    """Look a connection up and make a client of it, without blocking the event loop.

    :raises SopsConfigError: names the field of the connection that is wrong.
    """
    from airflow_provider_sops.sops.async_client import AsyncSopsClient

    site_of = await asyncio.to_thread(_import_site_of)
    connection = await get_async_connection(sops_conn_id)
    extra = await get_async_extra_dejson(connection)
    # masking the secrets asks Airflow's supervisor, which blocks
    site = await asyncio.to_thread(site_of, connection, extra)
    return AsyncSopsClient(site.door, settings=site.settings)


def _import_site_of() -> Callable[[Connection, Mapping[str, Any]], Site]:
    """Import the hook, and what Airflow imports to look a connection up; in a thread: an event loop would feel it."""
    import asgiref.sync  # noqa: F401

    from airflow_provider_sops.hooks.sops import site_of

    return site_of


def join_poller(sops_conn_id: str, place: Place, waiter: Waiter) -> Poller:
    """Let a wait join the poller that this event loop's waits of the same connection and place share."""
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get((sops_conn_id, place))
    if poller is None:
        poller = pollers[(sops_conn_id, place)] = Poller(lambda: connect(sops_conn_id), place)
    poller.join(waiter)
    return poller


def leave_poller(sops_conn_id: str, place: Place, poller: Poller, waiter: Waiter) -> None:
    """Let a wait leave; the last one ends the poller."""
    poller.leave(waiter)
    pollers = _pollers.get(asyncio.get_running_loop(), {})
    if poller.idle and pollers.get((sops_conn_id, place)) is poller:
        del pollers[(sops_conn_id, place)]


class SopsTaskTrigger(BaseTrigger):
    """Wait until a SOPS task has ended; all triggers of one connection and business share one poll.

    It carries ids and plain values only, no secret. It fires one event, see
    :func:`airflow_provider_sops.waiting.make_event`.

    :param sops_task_id: id of the SOPS task.
    :param bk_biz_id: its business (or project, see ``scope``).
    :param scope: ``cmdb_biz`` or ``project``.
    :param sops_conn_id: id of the connection.
    :param poll_interval: seconds between two reads; never less than SOPS' cache of 10 seconds.
    :param deadline: seconds since the epoch at which the wait ends; ``None``: never.
    :param allowed_states: final states that count as success.
    :param on_failed: ``fail`` or ``wait``.
    :param failed_grace: seconds that the task may stay FAILED; ``None``: the default of ``on_failed``.
    :param on_suspended: ``wait`` or ``fail``.
    :param max_outage: seconds for which failed reads are tolerated.
    :param assume_finished: take an end whose state cannot be read for FINISHED.
    :param revoke_on_kill: revoke the SOPS task when a user kills the waiting Airflow task (Airflow 3.3 and newer).
    :param start_deadline: seconds since the epoch at which the task must have started; ``None``: any time.
    :param keep_when_cleared: do not revoke when the kill is a clear, as the cleared Airflow task takes it up again.
    """

    def __init__(
        self,
        sops_task_id: int,
        bk_biz_id: int,
        scope: str,
        sops_conn_id: str,
        poll_interval: float,
        deadline: float | None = None,
        allowed_states: Sequence[str] = (TaskState.FINISHED.value,),
        on_failed: str = "fail",
        failed_grace: float | None = None,
        on_suspended: str = "wait",
        max_outage: float = 600.0,
        assume_finished: bool = False,
        revoke_on_kill: bool = False,
        start_deadline: float | None = None,
        keep_when_cleared: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sops_task_id = sops_task_id
        self.bk_biz_id = bk_biz_id
        self.scope = scope
        self.sops_conn_id = sops_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.allowed_states = list(allowed_states)
        self.on_failed = on_failed
        self.failed_grace = failed_grace
        self.on_suspended = on_suspended
        self.max_outage = max_outage
        self.assume_finished = assume_finished
        self.revoke_on_kill = revoke_on_kill
        self.start_deadline = start_deadline
        self.keep_when_cleared = keep_when_cleared

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what the trigger is made of again in a triggerer."""
        names = (
            "sops_task_id",
            "bk_biz_id",
            "scope",
            "sops_conn_id",
            "poll_interval",
            "deadline",
            "allowed_states",
            "on_failed",
            "failed_grace",
            "on_suspended",
            "max_outage",
            "assume_finished",
            "revoke_on_kill",
            "start_deadline",
            "keep_when_cleared",
        )
        return f"{__name__}.SopsTaskTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, writing changes of state into the task's log, and fire one event."""
        place = _place(self.bk_biz_id, self.scope)
        policy = _policy(
            tuple(self.allowed_states),
            self.on_failed,
            self.failed_grace,
            self.on_suspended,
            self.max_outage,
            self.assume_finished,
        )
        waiter = Waiter(self.sops_task_id, self.poll_interval)
        poller = join_poller(self.sops_conn_id, place, waiter)
        try:
            watch = Watch(self.sops_task_id, place, policy, had_answer=True, grants=poller.grants)
            event = await self._wait(poller, waiter, watch)
        finally:
            leave_poller(self.sops_conn_id, place, poller, waiter)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Revoke the SOPS task, in one attempt: a user has marked the waiting Airflow task, or cleared it.

        Airflow calls it from 3.3 on, and not when a triggerer restarts or the wait's time is over.
        """
        task_id = self.sops_task_id
        if not self.revoke_on_kill:
            return
        if self.keep_when_cleared and await self._was_cleared():
            self.log.info("SOPS task %s is left running: the cleared Airflow task takes it up again.", task_id)
            return
        try:
            async with asyncio.timeout(KILL_SECONDS), await connect(self.sops_conn_id) as client:
                revocation = await client.run(revoke(_place(self.bk_biz_id, self.scope), task_id))
        except TimeoutError:
            self.log.error("Whether SOPS task %s was revoked is not known: no answer in time.", task_id)
        except (errors.SopsError, errors.SopsConfigError) as error:
            self.log.error("SOPS task %s could not be revoked, it may still run. %s", task_id, error)
        else:
            log_lines(self.log, [revocation.line(task_id)])

    async def _was_cleared(self) -> bool:
        """Ask Airflow whether the task goes on; where it does not say, it does not."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                state = await asyncio.to_thread(state_in_airflow, self.task_instance)
        except Exception:
            return False
        return state not in _ENDED

    async def _wait(self, poller: Poller, waiter: Waiter, watch: Watch) -> dict[str, Any]:
        progress_due = float("inf")
        state: TaskState | None = None
        while True:
            while waiter.notices:
                self.log.warning("%s", waiter.notices.pop(0))
            now = time.time()
            look = await self._look(poller, waiter, watch, now)
            if look is not None:
                log_lines(self.log, look.lines)
                if look.next is not Next.WAIT:
                    outcome = Outcome.SUCCESS if look.next is Next.SUCCESS else Outcome.FAILURE
                    return make_event(self.sops_task_id, outcome, look)
                if look.status is not None and look.status.state is not state:
                    # the first reading of a thousand restarted waits must not become a thousand single reads
                    progress_due = now + (_PROGRESS_INTERVAL if state is None else 0.0)
                    state = look.status.state
            if self.deadline is not None and now >= self.deadline:
                return make_event(self.sops_task_id, Outcome.TIMEOUT, look)
            if self.start_deadline is not None and now >= self.start_deadline and state is TaskState.CREATED:
                return make_event(self.sops_task_id, Outcome.NOT_STARTED, look)
            if now >= progress_due and watch.grants.status and poller.take_courtesy(waiter):
                progress_due = now + _PROGRESS_INTERVAL
                with suppress(errors.SopsError):
                    log_lines(self.log, await poller.run(watch.progress(now)))
            await waiter.sleep(self._until_next_look(now, waiter, watch, progress_due))

    async def _look(self, poller: Poller, waiter: Waiter, watch: Watch, now: float) -> Look | None:
        """Judge what the poller told last; ``None`` when it has told nothing yet."""
        if waiter.error is not None:
            return watch.failed_read(waiter.error, now)
        if waiter.status is None:
            return None
        try:
            courtesy = partial(poller.take_courtesy, waiter)
            return await poller.run(watch.consider(waiter.status, now, courtesy=courtesy))
        except errors.SopsError as error:
            return watch.failed_read(error, now)

    def _until_next_look(self, now: float, waiter: Waiter, watch: Watch, progress_due: float) -> float:
        """Give the seconds after which there is something to do although nothing is told: for most waits many."""
        moments = [self.deadline, self.start_deadline, now + _LONGEST_SLEEP]
        if watch.outage_since is not None:
            moments.append(watch.outage_since + self.max_outage)
        if watch.since.failed is not None and watch.policy.grace is not None:
            moments.append(watch.since.failed + watch.policy.grace)
        if watch.must_be_kept or watch.since.failed is not None:
            moments.append(now + _RECHECK)
        # reads that only make the log richer may have to wait for their turn
        moments += [max(due, waiter.turn or 0.0) for due in (progress_due, watch.intervention_due) if due is not None]
        return max(0.05, min(moment for moment in moments if moment is not None and moment > now) - now)


@lru_cache
def _place(bk_biz_id: int, scope: str) -> Place:
    return Place(bk_biz_id, parse_scope(scope))


@lru_cache
def _policy(
    allowed_states: tuple[str, ...],
    on_failed: str,
    failed_grace: float | None,
    on_suspended: str,
    max_outage: float,
    assume_finished: bool,
) -> WaitPolicy:
    """Share one policy among the many triggers that have the same."""
    return make_policy(
        allowed_states=allowed_states,
        on_failed=on_failed,
        failed_grace=failed_grace,
        on_suspended=on_suspended,
        max_outage=max_outage,
        assume_finished=assume_finished,
    )
