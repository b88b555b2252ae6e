# SPDX-License-Identifier: Apache-2.0
"""How :class:`~airflow_provider_sops.triggers.sops.SopsTaskTrigger` waits: with a poller that many share, and a watch
and a task's log of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

from airflow_provider_sops.arguments import make_policy
from airflow_provider_sops.compat import state_in_airflow
from airflow_provider_sops.operators.killing import ASK_SECONDS, KILL_SECONDS
from airflow_provider_sops.sops import errors
from airflow_provider_sops.sops.calls import parse_scope
from airflow_provider_sops.sops.operate import revoke
from airflow_provider_sops.sops.poller import Poller, Waiter
from airflow_provider_sops.sops.states import TaskState
from airflow_provider_sops.sops.verdict import Next
from airflow_provider_sops.sops.watch import Look, Place, Watch
from airflow_provider_sops.waiting import Outcome, log_lines, make_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_sops.connection import Site
    from airflow_provider_sops.sops.async_client import AsyncSopsClient
    from airflow_provider_sops.sops.policy import WaitPolicy
    from airflow_provider_sops.triggers.sops import SopsTaskTrigger

#: Seconds after which a wait looks again though nothing was told: when its task has failed or cannot be read, and else.
_RECHECK = 30.0
_LONGEST_SLEEP = 3600.0
#: Seconds that a wait whose time is over takes for a first reading: its task may have ended in time while no triggerer
#: ran. Less than the margin after which Airflow itself ends the wait.
_FIRST_READ = 30.0
#: Seconds between two reads of how far a task's nodes are, while its state does not change.
_PROGRESS_INTERVAL = 600.0
#: States of an Airflow task that a user has marked, so that it does not go on.
_ENDED = ("failed", "success", "skipped", "upstream_failed", "removed")

PollerKey = tuple[str, Place]
_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[PollerKey, Poller]] = WeakKeyDictionary()


@dataclass(slots=True)
class _Progress:
    """When a task's nodes are to be read for the log, and the state that was seen last."""

    #: seconds since the epoch
    due: float = float("inf")
    state: TaskState | None = None
    #: seconds since the epoch up to which a deadline waits for the first reading
    first_read_by: float = 0.0


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


def leave_poller(poller: Poller, waiter: Waiter) -> None:
    """Let a wait leave; the last one ends the poller."""
    poller.leave(waiter)
    if poller.idle:
        for pollers in _pollers.values():
            for key in [key for key, one in pollers.items() if one is poller]:
                del pollers[key]


async def wait(trigger: SopsTaskTrigger) -> dict[str, Any]:
    """Wait, writing changes of state into the task's log, and give the event to fire."""
    waiter = Waiter(trigger.sops_task_id, trigger.poll_interval)
    poller = join_poller(trigger.sops_conn_id, _place(trigger.bk_biz_id, trigger.scope), waiter)
    try:
        watch = _watch(trigger, poller)
        progress = _Progress(first_read_by=time.time() + _FIRST_READ)
        while True:
            now = time.time()
            event = await _turn(trigger, now, poller, waiter, watch, progress)
            if event is not None:
                return event
            await waiter.sleep(_until_next_look(trigger, now, waiter, watch, progress))
    finally:
        leave_poller(poller, waiter)


def _watch(trigger: SopsTaskTrigger, poller: Poller) -> Watch:
    policy = _policy(
        tuple(trigger.allowed_states),
        trigger.on_failed,
        trigger.failed_grace,
        trigger.on_suspended,
        trigger.max_outage,
        trigger.assume_finished,
    )
    watch = Watch(trigger.sops_task_id, poller.place, policy, had_answer=True, grants=poller.grants)
    watch.task_url = trigger.task_url
    return watch


async def revoke_when_killed(trigger: SopsTaskTrigger) -> None:
    """Revoke the SOPS task, in one attempt."""
    task_id = trigger.sops_task_id
    if trigger.keep_when_cleared and await _was_cleared(trigger):
        trigger.log.info("SOPS task %s is left running: the cleared Airflow task takes it up again.", task_id)
        return
    try:
        async with asyncio.timeout(KILL_SECONDS), await connect(trigger.sops_conn_id) as client:
            revocation = await client.run(revoke(_place(trigger.bk_biz_id, trigger.scope), task_id))
    except TimeoutError:
        trigger.log.error("Whether SOPS task %s was revoked is not known: no answer in time.", task_id)
    except (errors.SopsError, errors.SopsConfigError) as error:
        trigger.log.error("SOPS task %s could not be revoked, it may still run. %s", task_id, error)
    else:
        log_lines(trigger.log, [revocation.line(task_id)])


async def _was_cleared(trigger: SopsTaskTrigger) -> bool:
    """Ask Airflow whether the task goes on; where it does not say, it does not."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            state = await asyncio.to_thread(state_in_airflow, trigger.task_instance)
    except Exception:
        return False
    return state not in _ENDED


async def _turn(
    trigger: SopsTaskTrigger, now: float, poller: Poller, waiter: Waiter, watch: Watch, progress: _Progress
) -> dict[str, Any] | None:
    """Take in what the poller told; give the event when the wait is over."""
    notices, waiter.notices = waiter.notices, ()
    for notice in notices:
        trigger.log.warning("%s", notice)
    look = await _look(poller, waiter, watch, now)
    if look is not None:
        log_lines(trigger.log, look.lines)
        if look.next is not Next.WAIT:
            outcome = Outcome.SUCCESS if look.next is Next.SUCCESS else Outcome.FAILURE
            return make_event(trigger.sops_task_id, outcome, look)
        if look.status is not None and look.status.state is not progress.state:
            # the first reading of a thousand restarted waits must not become a thousand single reads
            progress.due = now + (_PROGRESS_INTERVAL if progress.state is None else 0.0)
            progress.state = look.status.state
    deadline = _deadline(trigger, waiter, progress)
    if deadline is not None and now >= deadline:
        return make_event(trigger.sops_task_id, Outcome.TIMEOUT, look)
    start_is_due = trigger.start_deadline is not None and now >= trigger.start_deadline
    if start_is_due and progress.state is TaskState.CREATED:
        return make_event(trigger.sops_task_id, Outcome.NOT_STARTED, look)
    readable = waiter.error is None and watch.grants.status
    if now >= progress.due and readable and poller.take_courtesy(waiter):
        progress.due = now + _PROGRESS_INTERVAL
        with suppress(errors.SopsError):
            log_lines(trigger.log, await poller.run(watch.progress(now)))
    return None


def _deadline(trigger: SopsTaskTrigger, waiter: Waiter, progress: _Progress) -> float | None:
    if trigger.deadline is None or waiter.status is not None or waiter.error is not None:
        return trigger.deadline
    return max(trigger.deadline, progress.first_read_by)


async def _look(poller: Poller, waiter: Waiter, watch: Watch, now: float) -> Look | None:
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


def _until_next_look(trigger: SopsTaskTrigger, now: float, waiter: Waiter, watch: Watch, progress: _Progress) -> float:
    """Give the seconds after which there is something to do although nothing is told: for most waits many.

    :param now: when the last turn began; what became due since then is due at once.
    """
    moments = [_deadline(trigger, waiter, progress), trigger.start_deadline, now + _LONGEST_SLEEP]
    if watch.outage_since is not None:
        moments.append(watch.outage_since + trigger.max_outage)
    if watch.since.failed is not None and watch.policy.grace is not None:
        moments.append(watch.since.failed + watch.policy.grace)
    if watch.must_be_kept or watch.since.failed is not None:
        moments.append(now + _RECHECK)
    # reads that only make the log richer may have to wait for their turn
    moments += [max(due, waiter.turn or 0.0) for due in (progress.due, watch.intervention_due) if due is not None]
    return max(0.05, min(moment for moment in moments if moment is not None and moment > now) - time.time())


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
