# SPDX-License-Identifier: Apache-2.0
"""How :class:`~airflow_provider_sops.triggers.sops.SopsTaskTrigger` waits: with a poller that many share, and a watch
and a task's log of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_provider_sops.arguments import make_policy
from airflow_provider_sops.compat import ask_airflow, look_up_connection, state_in_airflow, xcom_in_airflow
from airflow_provider_sops.configuration import DEFAULT_DEFERRAL_HOLD, deferral_hold
from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import parse_scope
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.operate.operate import revoke
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.task_wait import Observation, TaskWait
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.kill_reasons import Kill, kill_of, why_left_running
from airflow_provider_sops.wait_results import TASK_ID_KEY, WAIT_ENDED_KEY, Outcome, log_lines, make_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_sops.connection import Site
    from airflow_provider_sops.core.http.async_client import AsyncSopsClient
    from airflow_provider_sops.core.wait.policy import WaitPolicy
    from airflow_provider_sops.triggers.sops import SopsTaskTrigger

#: Seconds after which a wait looks again though nothing was told: when its task has failed or cannot be read, and else.
_RECHECK = 30.0
_LONGEST_SLEEP = 3600.0
#: Seconds that a wait whose time is over takes for a first reading: its task may have ended in time while no triggerer
#: ran. Less than the margin after which Airflow itself ends the wait.
_FIRST_READ = 30.0
#: Seconds between two reads of how far a task's nodes are, while its state does not change.
_PROGRESS_INTERVAL = 600.0
#: Seconds that a kill may take: Airflow gives ``on_kill`` of a trigger thirty by default, and a triggerer that stood
#: still has much to ask.
KILL_SECONDS = 25.0
#: Seconds after which a deferral is surely known to the scheduler, whatever ``deferral_hold`` says.
_SETTLED = 60.0

PollerKey = tuple[str, Project]
#: Kills under way, which Airflow may have given up: an event loop itself keeps no task alive.
_kills: set[asyncio.Task[None]] = set()
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
    from airflow_provider_sops.core.http.async_client import AsyncSopsClient

    site_of = await asyncio.to_thread(_import_site_of)
    connection, extra = await look_up_connection(sops_conn_id)
    site = await ask_airflow(site_of, connection, extra)  # it lets Airflow mask the secrets
    return AsyncSopsClient(site.endpoint, settings=site.settings)


def _import_site_of() -> Callable[[Connection, Mapping[str, Any]], Site]:
    """Import the hook, and what Airflow imports to look a connection up; in a thread: an event loop would feel it."""
    import asgiref.sync  # noqa: F401

    from airflow_provider_sops.hooks.sops import site_of

    return site_of


def subscribe_to_poller(sops_conn_id: str, project: Project, subscription: Subscription) -> Poller:
    """Let a wait join the poller that this event loop's waits of the same connection and place share."""
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get((sops_conn_id, project))
    if poller is None:
        poller = pollers[(sops_conn_id, project)] = Poller(lambda: connect(sops_conn_id), project)
    poller.subscribe(subscription)
    return poller


def unsubscribe_from_poller(poller: Poller, subscription: Subscription) -> None:
    """Let a wait leave; the last one ends the poller."""
    poller.unsubscribe(subscription)
    if poller.idle:
        for pollers in _pollers.values():
            for key in [key for key, one in pollers.items() if one is poller]:
                del pollers[key]


async def wait(trigger: SopsTaskTrigger) -> dict[str, Any]:
    """Wait, writing changes of state into the task's log, and give the event to fire."""
    subscription = Subscription(trigger.sops_task_id, trigger.poll_interval)
    poller = subscribe_to_poller(trigger.sops_conn_id, _project(trigger.bk_biz_id, trigger.scope), subscription)
    try:
        task_wait = _task_wait(trigger, poller)
        progress = _Progress(first_read_by=time.time() + _FIRST_READ)
        while True:
            now = time.time()
            event = await _step(trigger, now, poller, subscription, task_wait, progress)
            if event is not None:
                return event
            await subscription.sleep(_until_next_step(trigger, now, subscription, task_wait, progress))
    finally:
        unsubscribe_from_poller(poller, subscription)


def _task_wait(trigger: SopsTaskTrigger, poller: Poller) -> TaskWait:
    policy = _policy(
        tuple(trigger.allowed_states),
        trigger.on_failed,
        trigger.failed_grace,
        trigger.on_suspended,
        trigger.max_outage,
        trigger.assume_finished,
    )
    task_wait = TaskWait(trigger.sops_task_id, poller.project, policy, had_answer=True, grants=poller.grants)
    task_wait.task_url = trigger.task_url
    return task_wait


async def see_through(work: Coroutine[Any, Any, None]) -> None:
    """Do what a kill asks for to its end.

    Airflow cancels a trigger that it wants to go again at each of its rounds, about once a second, and ``on_kill``
    with it; and the first question to its supervisor may take many seconds.
    """
    task = asyncio.get_running_loop().create_task(work)
    _kills.add(task)
    task.add_done_callback(_kills.discard)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)


async def revoke_when_killed(trigger: SopsTaskTrigger) -> None:
    """Revoke the SOPS task, in one attempt, if it was a user who has ended or cleared the waiting Airflow task.

    Airflow 3.3 calls this for every trigger that is gone from the triggerer's own list: also for one that another
    triggerer has taken over while this one stood still, or whose task Airflow itself has resumed.
    """
    task_id = trigger.sops_task_id
    asked = False
    try:
        async with asyncio.timeout(KILL_SECONDS), await connect(trigger.sops_conn_id) as client:
            await client.open()
            # as late as can be: what is true now may not be so in a moment
            reason = await _why_not_revoked(trigger)
            if reason:
                trigger.log.info("%s", reason)
                return
            asked = True
            project = _project(trigger.bk_biz_id, trigger.scope)
            revocation = await client.run(revoke(project, task_id, started=trigger.has_started))
    except TimeoutError:
        if asked:
            trigger.log.error("Whether SOPS task %s was revoked is not known: no answer in time.", task_id)
        else:
            trigger.log.error("SOPS task %s was not revoked: Airflow did not say in time why it is told to.", task_id)
    except (errors.SopsError, errors.SopsConfigError) as error:
        trigger.log.error("SOPS task %s could not be revoked, it may still run. %s", task_id, error)
    else:
        log_lines(trigger.log, [revocation.line(task_id)])


async def _why_not_revoked(trigger: SopsTaskTrigger) -> str:
    """Say why the SOPS task is to be left running; empty when a user has ended or cleared the Airflow task."""
    task_id, ti = trigger.sops_task_id, trigger.task_instance
    state: str | None = None
    newest = ended = None
    try:
        state = await ask_airflow(state_in_airflow, ti)
        kill = kill_of(state)
        if kill is Kill.ENDED:
            newest = await ask_airflow(xcom_in_airflow, ti, TASK_ID_KEY)
            ended = await ask_airflow(xcom_in_airflow, ti, WAIT_ENDED_KEY)
    except Exception as error:  # whatever the way to Airflow raises
        trigger.log.warning("Airflow could not be asked why this wait is told to stop: %s", type(error).__name__)
        return why_left_running(task_id, None)
    if kill is Kill.UNCERTAIN:
        return why_left_running(task_id, state)
    if kill is Kill.CLEARED and trigger.keep_when_cleared:
        return f"SOPS task {task_id} is left running: the cleared Airflow task takes it up again."
    if newest not in (None, task_id):
        return f"SOPS task {task_id} is left as it is: this Airflow task has gone on with SOPS task {newest}."
    if ended == task_id:
        return f"SOPS task {task_id} is left as it is: the wait for it had ended before, by no user's hand."
    return ""


async def hold(started: float, deferred_at: float | None) -> None:
    """Wait until Airflow's scheduler has surely taken in that the task was deferred.

    It learns from the executor that the worker's leg is over. If the trigger has fired before that, it takes the task
    for failed (Airflow issues 66374, 67287, 71580, 72716). Nothing in the database tells a trigger that it is safe.

    :param started: monotonic time at which the trigger began to run.
    :param deferred_at: seconds since the epoch at which the task was deferred, by the worker's clock; ``None``: long
        ago.
    """
    if deferred_at is None or time.time() - deferred_at > _SETTLED:
        return
    try:
        seconds = deferral_hold()
    except (
        errors.SopsConfigError
    ):  # the worker has read it before; a triggerer does not end for what is set otherwise there
        seconds = DEFAULT_DEFERRAL_HOLD
    await asyncio.sleep(started + seconds - time.monotonic())


async def _step(
    trigger: SopsTaskTrigger,
    now: float,
    poller: Poller,
    subscription: Subscription,
    task_wait: TaskWait,
    progress: _Progress,
) -> dict[str, Any] | None:
    """Take in what the poller told; give the event when the wait is over."""
    notices, subscription.notices = subscription.notices, ()
    for notice in notices:
        trigger.log.warning("%s", notice)
    observation = await _observe(poller, subscription, task_wait, now)
    if observation is not None:
        log_lines(trigger.log, observation.lines)
        if observation.next is not Next.WAIT:
            outcome = Outcome.SUCCESS if observation.next is Next.SUCCESS else Outcome.FAILURE
            return make_event(trigger.sops_task_id, outcome, observation)
        if observation.status is not None and observation.status.state is not progress.state:
            # the first reading of a thousand restarted waits must not become a thousand single reads
            progress.due = now + (_PROGRESS_INTERVAL if progress.state is None else 0.0)
            progress.state = observation.status.state
            trigger.has_started |= observation.status.state is not TaskState.CREATED
    deadline = _deadline(trigger, subscription, progress)
    if deadline is not None and now >= deadline:
        return make_event(trigger.sops_task_id, Outcome.TIMEOUT, observation)
    start_is_due = trigger.start_deadline is not None and now >= trigger.start_deadline
    if start_is_due and progress.state is TaskState.CREATED:
        return make_event(trigger.sops_task_id, Outcome.NOT_STARTED, observation)
    readable = subscription.error is None and task_wait.grants.status
    if now >= progress.due and readable and poller.may_read_for_log(subscription):
        progress.due = now + _PROGRESS_INTERVAL
        with suppress(errors.SopsError):
            log_lines(trigger.log, await poller.run(task_wait.progress(now)))
        if task_wait.final is not None:  # it was deleted, which a batch may never tell
            return await _step(trigger, now, poller, subscription, task_wait, progress)
    return None


def _deadline(trigger: SopsTaskTrigger, subscription: Subscription, progress: _Progress) -> float | None:
    if trigger.deadline is None or subscription.status is not None or subscription.error is not None:
        return trigger.deadline
    return max(trigger.deadline, progress.first_read_by)


async def _observe(poller: Poller, subscription: Subscription, task_wait: TaskWait, now: float) -> Observation | None:
    """Judge what the poller told last; ``None`` when it has told nothing yet."""
    if subscription.error is not None:
        return task_wait.failed_read(subscription.error, now)
    if subscription.status is None:
        return None
    try:
        may_read_for_log = partial(poller.may_read_for_log, subscription)
        return await poller.run(task_wait.evaluate(subscription.status, now, may_read_for_log=may_read_for_log))
    except errors.SopsError as error:
        return task_wait.failed_read(error, now)


def _until_next_step(
    trigger: SopsTaskTrigger, now: float, subscription: Subscription, task_wait: TaskWait, progress: _Progress
) -> float:
    """Give the seconds after which there is something to do although nothing is told: for most waits many.

    :param now: when the last turn began; what became due since then is due at once.
    """
    moments = [_deadline(trigger, subscription, progress), trigger.start_deadline, now + _LONGEST_SLEEP]
    if task_wait.outage_since is not None:
        moments.append(task_wait.outage_since + trigger.max_outage)
    if task_wait.wait_state.failed is not None and task_wait.policy.grace is not None:
        moments.append(task_wait.wait_state.failed + task_wait.policy.grace)
    if task_wait.must_be_kept or task_wait.wait_state.failed is not None:
        moments.append(now + _RECHECK)
    # reads that only make the log richer may have to wait for their turn
    moments += [
        max(due, subscription.log_read_at or 0.0)
        for due in (progress.due, task_wait.intervention_due)
        if due is not None
    ]
    return max(0.05, min(moment for moment in moments if moment is not None and moment > now) - time.time())


@lru_cache
def _project(bk_biz_id: int, scope: str) -> Project:
    return Project(bk_biz_id, parse_scope(scope))


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
