# SPDX-License-Identifier: Apache-2.0
"""One poll for fifty tasks: all waits in one place of one site share a loop that reads their states in chunks.

A :class:`Poller` belongs to one event loop. Waits join and leave; it starts with the first and ends with the last. It
delivers statuses and errors, and judges nothing: whether a task has ended is for each wait's
:class:`~airflow_provider_sops.sops.watch.Watch` to say.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TypeVar

from airflow_provider_sops.sops import errors, models
from airflow_provider_sops.sops.async_client import MAX_CONNECTIONS, AsyncSopsClient
from airflow_provider_sops.sops.calls import (
    DETAIL_CACHE_SECONDS,
    MAX_IDS_PER_STATUS_CALL,
    STATUS_CACHE_SECONDS,
    Call,
)
from airflow_provider_sops.sops.gateway import Answer
from airflow_provider_sops.sops.models import TaskStatus
from airflow_provider_sops.sops.retry import TRANSIENT, backoff
from airflow_provider_sops.sops.transport import Steps
from airflow_provider_sops.sops.watch import DENIED, Grants, Place, read_status

T = TypeVar("T")

#: Seconds after which it is tried again whether batches may be asked for.
BATCH_RETRY = 1800.0
#: Seconds after which the connection is looked up again, for secrets that were changed meanwhile.
CONNECTION_LIFETIME = 600.0
#: Seconds to gather waits that start together, so that they share requests.
GATHER = 0.25
#: Without batches: tasks that are read one after the other in one go, which costs less than as many goes.
SINGLES_IN_A_ROW = 8
#: Waits that are woken before the event loop gets its turn: when many start or end together, it must not stand still.
NEWS_AT_ONCE = 4
#: Longest ``Retry-After`` that is honoured, in seconds.
LONGEST_RETRY_AFTER = 300.0
#: Requests by which a refused batch is split to find the tasks it is refused for; then the refusal is everyone's.
_SPLIT_BUDGET = 40
#: Reads that only make the log richer: so many one after the other, and then one every so many seconds.
_COURTESY_BURST = 10
_COURTESY_GAP = 5.0
#: Seconds between two of them at least: side by side they would open connections of their own.
_COURTESY_PAUSE = 0.25

#: The app, or this SOPS, has no batches; single reads may do. (IAM asks for more rights for a batch than for one task.)
_NO_BATCH = (*DENIED, errors.SopsIamDeniedError)

NO_BATCH_NOTICE = (
    "get_tasks_status cannot be used here, so each waiting task is read by a request of its own; apply for the API "
    "permission 'get_tasks_status' of bk-sops to read fifty at once. It is tried again in 30 minutes."
)


@dataclass(eq=False, slots=True)
class Waiter:
    """One wait for one task. The newest status or error stands here until the wait takes it."""

    task_id: int
    interval: float
    status: TaskStatus | None = None
    #: why the status cannot be read at present
    error: errors.SopsError | None = None
    #: seconds since the epoch from which on it may have a read that it was refused, see :meth:`Poller.take_courtesy`
    turn: float | None = None
    #: for the wait's own log, once each
    notices: list[str] = field(default_factory=list)
    _wake: asyncio.Future[None] | None = None
    _told: bool = False

    def tell(self) -> None:
        """Wake the wait; one that is not asleep will not fall asleep before it has looked."""
        self._told = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Sleep until something is told, for at most so many seconds."""
        if not self._told:
            loop = asyncio.get_running_loop()
            self._wake = wake = loop.create_future()
            timer = loop.call_later(max(0.0, seconds), self.tell)
            try:
                await wake
            finally:
                timer.cancel()
                self._wake = None
        self._told = False


@dataclass(eq=False, slots=True)
class _Task:
    """A task that is waited for."""

    id: int
    waiters: list[Waiter] = field(default_factory=list)
    #: what the last answer said of it; unchanged, nobody is woken
    seen: object = None
    #: monotonic time of its next read
    due: float = 0.0
    #: must be read singly: the batch is refused because of it
    alone: bool = False


class Poller:
    """Reads the states of all waiting tasks in one place.

    :param connect: makes a client from the connection as it is now; called for the first read, every ten minutes and
        after an authentication error.
    :param place: the business or project.
    :param min_interval: seconds between two reads of a task at least; SOPS' cache makes faster ones pointless.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncSopsClient]],
        place: Place,
        *,
        min_interval: float = float(STATUS_CACHE_SECONDS),
    ) -> None:
        self.place = place
        self.grants = Grants()
        self._connect = connect
        self._min_interval = min_interval
        self._client: AsyncSopsClient | None = None
        self._retired: AsyncSopsClient | None = None
        self._connected_at = 0.0
        self._connecting = asyncio.Lock()
        self._tasks: dict[int, _Task] = {}
        self._queue: list[tuple[float, int]] = []
        self._interval = min_interval
        self._asked_intervals: Counter[float] = Counter()
        self._not_before = 0.0
        self._failures = 0
        self._error: errors.SopsError | None = None
        self._batch_denied_at: float | None = None
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._reads: set[asyncio.Task[None]] = set()
        self._joined = asyncio.Event()
        self._courtesies_until = 0.0
        self._last_turn = 0.0
        self._loop_task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits."""
        return not self._tasks

    def join(self, waiter: Waiter) -> None:
        """Let a wait take part; the first one starts the loop."""
        task = self._tasks.get(waiter.task_id)
        if task is None:
            task = self._tasks[waiter.task_id] = _Task(waiter.task_id)
        task.waiters.append(waiter)
        task.seen = None
        waiter.error = self._error
        if self._batch_denied_at is not None:
            waiter.notices.append(NO_BATCH_NOTICE)
        self._schedule(task, time.monotonic() + GATHER)
        self._asked_intervals[waiter.interval] += 1
        self._set_interval()
        self._joined.set()
        if self._loop_task is None:
            # in an empty context: one wait's task logging must not receive what concerns all
            self._loop_task = asyncio.get_running_loop().create_task(
                self._loop(), name=f"SOPS poller of {self.place}", context=contextvars.Context()
            )

    def leave(self, waiter: Waiter) -> None:
        """Let a wait go; the last one ends the loop, which closes the session."""
        task = self._tasks.get(waiter.task_id)
        if task is None or waiter not in task.waiters:
            return
        task.waiters.remove(waiter)
        if not task.waiters:
            del self._tasks[waiter.task_id]
        self._asked_intervals[waiter.interval] -= 1
        if not self._asked_intervals[waiter.interval]:
            del self._asked_intervals[waiter.interval]
        if self._tasks:
            self._set_interval()
        elif self._loop_task is not None:
            self._loop_task.cancel()

    async def run(self, steps: Steps[T]) -> T:
        """Carry out a wait's further questions with the shared client."""
        client = await self._get_client()
        async with self._slots:
            return await client.run(steps)

    def take_courtesy(self, waiter: Waiter) -> bool:
        """Allow a wait one read that only makes its log richer; while there are many, each has its turn."""
        now = time.time()
        if waiter.turn is None:
            self._courtesies_until = max(self._courtesies_until, now - _COURTESY_BURST * _COURTESY_GAP) + _COURTESY_GAP
            waiter.turn = self._last_turn = max(now, self._courtesies_until, self._last_turn + _COURTESY_PAUSE)
        if waiter.turn > now:
            return False
        waiter.turn = None
        return True

    # -- the loop

    async def _loop(self) -> None:
        try:
            while True:
                now = time.monotonic()
                start = max(self._not_before, self._queue[0][0] if self._queue else now + self._interval)
                if start > now:
                    await self._rest(start - now)
                    continue
                chunk = self._take_chunk(now)
                if not chunk:
                    continue
                self._not_before = now + self._spacing()
                await self._slots.acquire()
                read = asyncio.get_running_loop().create_task(self._read_chunk(chunk))
                self._reads.add(read)
                read.add_done_callback(self._reads.discard)
        finally:
            for read in list(self._reads):
                read.cancel()
            for client in (self._client, self._retired):
                if client is not None:
                    await client.aclose()

    async def _rest(self, seconds: float) -> None:
        """Sleep, but no longer than until somebody joins."""
        self._joined.clear()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(seconds, 0.001), self._joined.set)
        try:
            await self._joined.wait()
        finally:
            timer.cancel()

    def _schedule(self, task: _Task, due: float) -> None:
        task.due = due
        heapq.heappush(self._queue, (due, task.id))

    def _set_interval(self) -> None:
        # read by single details alone, faster than their cache would gain nothing
        least = self._min_interval if self.grants.status else max(self._min_interval, float(DETAIL_CACHE_SECONDS))
        self._interval = max(least, min(self._asked_intervals))

    @property
    def _chunk_size(self) -> int:
        return SINGLES_IN_A_ROW if self._batch_denied_at is not None else MAX_IDS_PER_STATUS_CALL

    def _spacing(self) -> float:
        """Seconds between two chunks, so that all reads of an interval are spread over it."""
        return 0.9 * self._interval / max(1, ceil(len(self._tasks) / self._chunk_size))

    def _take_chunk(self, now: float) -> list[_Task]:
        """Take the tasks that are due, and those due soon to fill the chunk."""
        if self._batch_denied_at is not None and now - self._batch_denied_at >= BATCH_RETRY:
            self._batch_denied_at = None
        # read singly, a task that is not due would be answered from SOPS' cache
        soon = now + (self._interval / 2 if self._batch_denied_at is None else 0.0)
        chunk: list[_Task] = []
        while self._queue and len(chunk) < self._chunk_size and self._queue[0][0] <= soon:
            due, task_id = heapq.heappop(self._queue)
            task = self._tasks.get(task_id)
            if task is None or task.due != due:  # left, or was scheduled anew
                continue
            if task.alone and chunk:
                heapq.heappush(self._queue, (due, task_id))
                break
            chunk.append(task)
            if task.alone:
                break
        return chunk

    # -- one read

    async def _read_chunk(self, chunk: Sequence[_Task]) -> None:
        try:
            read = True
            if self._batch_denied_at is not None or chunk[0].alone:
                for task in chunk:
                    await self._read_one(task)
            else:
                read = await self._read_batch(chunk)
        except errors.SopsError as error:
            self._failed(chunk, error)
        except Exception as error:  # a fault of ours ends as everyone's error, never as a silent stop
            self._failed(chunk, _internal(error))
        else:
            self._succeeded(chunk, read=read)
        finally:
            self._slots.release()

    async def _read_batch(self, chunk: Sequence[_Task]) -> bool:
        """Read tasks by one request; ``False`` when none may be read so, and all are to be read singly."""
        call = self.place.call("get_tasks_status", task_id_list=sorted(task.id for task in chunk))
        try:
            answer = await self._send(call)
        except _NO_BATCH as error:
            self._fall_back(error)
            return False
        except errors.SopsApiError as error:
            if (error.http_status or 200) >= 500:
                raise  # SOPS itself is broken, whatever was asked
            await self._split(chunk, error, budget=[_SPLIT_BUDGET])
            return True
        await self._deliver_batch(chunk, answer)
        return True

    async def _deliver_batch(self, chunk: Sequence[_Task], answer: Answer) -> None:
        items = models.tasks_status_items(answer)
        news = 0
        for task in chunk:
            item = items.get(task.id)
            if item is None:  # unknown, another project's, or not yet on this replica: a single read tells
                await self._read_one(task)
                continue
            seen = models.status_signature(item)
            if seen == task.seen:
                continue
            try:
                self._deliver(task, models.status_of_item(answer, item), seen)
            except errors.SopsError as error:
                self._deliver_error(task, error)
            news += 1
            if news % NEWS_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _split(self, chunk: Sequence[_Task], error: errors.SopsError, budget: list[int]) -> None:
        """Find the tasks that a batch is refused for: halve it until they are alone."""
        if len(chunk) == 1:
            chunk[0].alone = True
            await self._read_one(chunk[0])
            return
        middle = len(chunk) // 2
        for half in (chunk[:middle], chunk[middle:]):
            budget[0] -= 1
            if budget[0] < 0:
                for task in half:
                    self._deliver_error(task, error)
                continue
            call = self.place.call("get_tasks_status", task_id_list=sorted(task.id for task in half))
            try:
                answer = await self._send(call)
            except errors.SopsApiError as refusal:
                await self._split(half, refusal, budget)
            else:
                await self._deliver_batch(half, answer)

    async def _read_one(self, task: _Task) -> None:
        """Read one task by itself. What only it is refused for reaches no other."""
        notices: list[str] = []
        try:
            status = await self._with_client(
                lambda client: client.run(read_status(self.place, task.id, self.grants, notices))
            )
        except errors.SopsAuthenticationError:
            raise
        except errors.SopsError as error:
            if isinstance(error, TRANSIENT) and self._batch_denied_at is not None:
                raise
            self._deliver_error(task, error)
            return
        if notices:
            self._tell_all(notices[0])
        # SOPS' clock goes on in every answer
        self._deliver(task, status, replace(status, elapsed_time=0))

    async def _with_client(self, ask: Callable[[AsyncSopsClient], Awaitable[T]]) -> T:
        client = await self._get_client()
        try:
            return await ask(client)
        except errors.SopsAuthenticationError:
            # the secrets may have been changed since the connection was looked up
            client = await self._get_client(stale=client)
            return await ask(client)

    async def _send(self, call: Call) -> Answer:
        return await self._with_client(lambda client: client.send(call))

    async def _get_client(self, stale: AsyncSopsClient | None = None) -> AsyncSopsClient:
        async with self._connecting:
            client = self._client
            expired = time.monotonic() - self._connected_at >= CONNECTION_LIFETIME
            if client is None or expired or client is stale:
                self._connected_at = time.monotonic()
                try:
                    self._client = await self._connect()
                except Exception as error:
                    if client is not None and client is not stale:
                        return client  # it still works; the look-up is tried again ten minutes later
                    raise _unusable_connection(error) from error
                await self._retire(client)
            assert self._client is not None
            return self._client

    async def _retire(self, client: AsyncSopsClient | None) -> None:
        """Put a client aside: requests under way may still use its session, those of the one before may not."""
        if self._retired is not None:
            await self._retired.aclose()
        self._retired = client

    # -- what a read gave

    def _deliver(self, task: _Task, status: TaskStatus, seen: object) -> None:
        """Hand a status over; who waits is woken when it says something new."""
        news, task.seen = seen != task.seen, seen
        for waiter in task.waiters:
            waiter.status, waiter.error = status, None
            if news:
                waiter.tell()

    def _deliver_error(self, task: _Task, error: errors.SopsError) -> None:
        task.seen = None
        for waiter in task.waiters:
            waiter.error = error
            waiter.tell()

    def _succeeded(self, chunk: Sequence[_Task], *, read: bool) -> None:
        self._failures, self._error = 0, None
        now = time.monotonic()
        # a little later than the cache lives, or the next answer would be the last one again
        due = now + self._interval * random.uniform(1.0, 1.02) if read else now  # noqa: S311 (no secret)
        for task in chunk:
            if task.id in self._tasks and self._tasks[task.id] is task:
                self._schedule(task, due)

    def _failed(self, chunk: Sequence[_Task], error: errors.SopsError) -> None:
        """Slow down to one request an interval, or as the server says; it is asked for ever."""
        self._failures += 1
        delay = backoff(self._failures, 1.0, self._interval)
        if error.retry_after is not None:
            delay = max(delay, min(error.retry_after, LONGEST_RETRY_AFTER))
        now = time.monotonic()
        self._not_before = max(self._not_before, now + delay)
        if self._error is None:
            for task in self._tasks.values():
                self._deliver_error(task, error)
        self._error = error
        for task in chunk:
            self._deliver_error(task, error)
            if self._tasks.get(task.id) is task:
                self._schedule(task, now)

    def _fall_back(self, error: errors.SopsError) -> None:
        if self._batch_denied_at is None:
            self._batch_denied_at = time.monotonic()
            self.grants.status = True
            self._tell_all(f"{NO_BATCH_NOTICE} (What it said: {error})")

    def _tell_all(self, notice: str) -> None:
        for task in self._tasks.values():
            for waiter in task.waiters:
                waiter.notices.append(notice)
                waiter.tell()


def _unusable_connection(error: Exception) -> errors.SopsError:
    return errors.SopsError(f"the connection cannot be used: {type(error).__name__}: {error}")


def _internal(error: Exception) -> errors.SopsError:
    made = errors.SopsError(f"reading the states failed inside the provider: {type(error).__name__}: {error}")
    made.__cause__ = error
    return made
