# SPDX-License-Identifier: Apache-2.0
"""One loop that reads the states of all waiting tasks of one project, fifty at a time.

A :class:`Poller` belongs to one event loop. Waits join and leave; it starts with the first and ends with the last. It
delivers statuses and errors, and judges nothing: whether a task has ended is for each wait's
:class:`~airflow_provider_sops.core.wait.task_wait.TaskWait` to say.

Its parts are modules of their own, most of them without I/O and with the time as an argument: ``task_queue`` holds the
tasks, ``pace`` says when to read, ``permissions`` in which ways; ``chunk_reader`` makes the requests.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.catalogue import STATUS_CACHE_SECONDS
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.http.async_client import MAX_CONNECTIONS, AsyncSopsClient, carry_out
from airflow_provider_sops.core.poll.chunk_reader import ChunkReader
from airflow_provider_sops.core.poll.client_lease import ClientLease
from airflow_provider_sops.core.poll.log_read_budget import LogReadBudget
from airflow_provider_sops.core.poll.notify_subscriptions import Breaks, deliver_errors, deliver_notice
from airflow_provider_sops.core.poll.pace import Pace
from airflow_provider_sops.core.poll.permissions import NO_BATCHES, PollPermissions
from airflow_provider_sops.core.poll.polled_task import PolledTask
from airflow_provider_sops.core.poll.rate_limit import RateLimitPause
from airflow_provider_sops.core.poll.read_errors import internal
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.core.poll.task_queue import TaskQueue, chunk_size
from airflow_provider_sops.core.status_reading import ApiPermissions

T = TypeVar("T")

#: Seconds to gather waits that start together, so that they share requests.
GATHER = 0.25


class Poller:
    """Reads the states of all waiting tasks of one project.

    :param connect: makes a client from the connection as it is now; called for the first read, every ten minutes and
        after an authentication error.
    :param project: whose tasks they are.
    :param min_interval: seconds between two reads of a task at least; SOPS' cache makes faster ones pointless.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncSopsClient]],
        project: Project,
        *,
        min_interval: float = float(STATUS_CACHE_SECONDS),
    ) -> None:
        self.project = project
        self._queue = TaskQueue()
        self._pace = Pace(min_interval)
        self._permissions = PollPermissions()
        # the function is looked up at each call, since tests replace this module's time
        self._lease = ClientLease(connect, clock=lambda: time.monotonic())
        self._reader = ChunkReader(project, self._lease, self._permissions, self._pace, self._announce)
        self._log_reads = LogReadBudget()
        self._rate_limit = RateLimitPause()
        #: why nothing can be read at present, for those that join meanwhile too
        self._outage: errors.SopsError | None = None
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._reads: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._holders = 0

    @property
    def idle(self) -> bool:
        """Whether nobody waits, nor keeps it for others that will."""
        return not self._queue and not self._holders

    @property
    def permissions(self) -> ApiPermissions:
        """Which of the APIs that read one task may be called; all waits share it."""
        return self._permissions.single

    def subscribe(self, subscription: Subscription) -> None:
        """Let a wait take part; the first one starts the loop."""
        task = self._queue.add(subscription.task_id)
        task.add(subscription)
        subscription.error = self._outage
        if not self._permissions.batches:
            subscription.add_notice(NO_BATCHES, self._permissions.batch_notice)
        self._queue.schedule(task, time.monotonic() + GATHER)
        self._pace.add_interval(subscription.interval)
        self._changed.set()
        self._start()

    def hold(self) -> None:
        """Keep it, with its client, while nobody waits: for a watch whose tasks come and go."""
        self._holders += 1
        self._start()

    def let_go(self) -> None:
        """Keep it no more."""
        self._holders -= 1
        self._stop_if_idle()

    def _start(self) -> None:
        if self._loop_task is None:
            # in an empty context: one wait's task logging must not receive what concerns all
            self._loop_task = asyncio.get_running_loop().create_task(
                self._loop(), name=f"SOPS poller of {self.project}", context=contextvars.Context()
            )

    def _stop_if_idle(self) -> None:
        if self.idle and self._loop_task is not None:
            self._loop_task.cancel()

    def unsubscribe(self, subscription: Subscription) -> None:
        """Let a wait go; the last one ends the loop, which closes the session."""
        subscription.cancel_timer()
        task = self._queue.get(subscription.task_id)
        if task is None or subscription not in task.subscriptions:
            return
        task.remove(subscription)
        if not task.subscriptions:
            self._queue.remove(task)
        self._pace.remove_interval(subscription.interval)
        self._log_reads.give_back(subscription)
        self._stop_if_idle()

    def may_read_for_log(self, subscription: Subscription) -> bool:
        """Allow a wait one log-only read; while many ask for one, each is given a slot."""
        return self._log_reads.may_read(subscription, time.time())

    async def run(self, flow: Flow[T]) -> T:
        """Carry out a wait's flow with the shared client.

        :return: the flow's result; a flow without calls waits for nothing.
        :raises errors.SopsRateLimitError: also in place of a call, after the gateway has just refused another one.
        """
        try:
            return await carry_out(flow, self._send_for_a_wait)
        finally:
            self._note_permissions()

    async def _send_for_a_wait(self, call: Call) -> Answer:
        self._rate_limit.check(call, time.monotonic())
        async with self._slots:
            try:
                return await self._lease.use(lambda client: client.send(call))
            except errors.SopsRateLimitError as error:
                self._rate_limit.begin(error, time.monotonic(), self._pace.interval)
                raise

    async def _loop(self) -> None:
        """Read chunk after chunk, each when it is due and the pace allows it, several side by side."""
        try:
            while True:
                now = time.monotonic()
                start = self._next_start(now)
                if start > now:
                    await self._rest(start - now)
                    continue
                chunk = self._take_chunk(now)
                if not chunk:
                    continue
                await self._slots.acquire()
                read = asyncio.get_running_loop().create_task(self._read(chunk))
                self._reads.add(read)
                read.add_done_callback(self._reads.discard)
        finally:
            for read in list(self._reads):
                read.cancel()
            await self._lease.aclose()

    def _next_start(self, now: float) -> float:
        due = self._queue.next_due(default=now + self._pace.interval)
        return max(due, self._pace.next_chunk_at(now, len(self._queue), chunk_size(self._permissions.batches)))

    async def _rest(self, seconds: float) -> None:
        """Sleep, but no longer than until somebody joins or a read has ended."""
        self._changed.clear()
        timer = asyncio.get_running_loop().call_later(max(seconds, 0.001), self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    def _take_chunk(self, now: float) -> list[PolledTask]:
        """Take the tasks that are due, with those due soon to fill a batch."""
        self._permissions.retry_if_due(now)
        self._note_permissions()
        chunk = self._queue.take(now, now + self._pace.interval / 2, batches=self._permissions.batches)
        # the few that are read singly beside batches slow nobody down
        if chunk and (not self._permissions.batches or chunk[0].single_until <= now):
            self._pace.note_chunk(now)
        return chunk

    async def _read(self, chunk: Sequence[PolledTask]) -> None:
        """Read one chunk, and schedule its tasks anew."""
        try:
            answered = await self._reader.read(chunk)
        except errors.SopsError as error:
            await self._failed(chunk, error)
        except Exception as error:  # a fault of ours ends as everyone's error, never as a silent stop
            await self._failed(chunk, internal(error))
        else:
            if answered:
                self._pace.note_success()
                self._outage = None
            self._schedule(chunk, self._pace.next_read_of_task(time.monotonic()))
        finally:
            self._slots.release()

    async def _failed(self, chunk: Sequence[PolledTask], error: errors.SopsError) -> None:
        """Slow down to one request an interval, or as the server says; it is asked for ever.

        The waits of the chunk receive the error. The others do when it goes on: one lost request is not their concern.
        """
        now = time.monotonic()
        delay = self._pace.note_failure(now, error)
        first = self._pace.failures == 1
        if first and all(task.failing for task in chunk):  # the others are answered
            delay = max(delay, self._pace.interval)
        self._schedule(chunk, now + delay)
        begins = not first and self._outage is None
        if not first:
            self._outage = error
        await deliver_errors(chunk, error)
        if begins:
            await self._deliver_outage(error)

    async def _deliver_outage(self, error: errors.SopsError) -> None:
        """Deliver the error to the waits that do not know yet, for as long as it lasts."""
        breaks = Breaks()
        for task in self._queue:
            if self._outage is None:
                return
            if not task.failing:
                task.deliver_error(error)
            await breaks.after_news()

    async def _announce(self, kind: str, notice: str) -> None:
        """Record that a way of reading is denied, and let the waits know."""
        self._note_permissions()
        await deliver_notice(self._queue, kind, notice)

    def _note_permissions(self) -> None:
        self._permissions.note_denials(time.monotonic())
        self._pace.details_alone = self._permissions.details_alone

    def _schedule(self, chunk: Sequence[PolledTask], due: float) -> None:
        for task in chunk:
            self._queue.schedule(task, due)
        self._changed.set()
