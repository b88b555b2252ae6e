# SPDX-License-Identifier: Apache-2.0
"""One poll for fifty tasks: all waits in one place of one site share a loop that reads their states in chunks.

A :class:`Poller` belongs to one event loop. Waits join and leave; it starts with the first and ends with the last. It
delivers statuses and errors, and judges nothing: whether a task has ended is for each wait's
:class:`~airflow_provider_sops.core.wait.task_wait.TaskWait` to say.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TypeVar

from airflow_provider_sops.core import errors, models
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.catalogue import DETAIL_CACHE_SECONDS, MAX_IDS_PER_STATUS_CALL, STATUS_CACHE_SECONDS
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.api.releases import since
from airflow_provider_sops.core.errors import perhaps_missing
from airflow_provider_sops.core.flow import Flow
from airflow_provider_sops.core.http.async_client import MAX_CONNECTIONS, AsyncSopsClient, carry_out
from airflow_provider_sops.core.http.gateway_refusals import crashed
from airflow_provider_sops.core.http.retry import backoff
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import DEFINITE, DETAIL_ONLY_NOTICE, ApiGrants, is_denied, read_status

T = TypeVar("T")

#: Seconds after which the better ways that were refused are tried again, for all tasks or for one.
BATCH_RETRY = 1800.0
#: The same for a task that was started just now, which makes a batch crash for some moments (up to SOPS 3.6.45).
STARTED_RETRY = 60.0
#: Seconds after which the connection is looked up again, for secrets that were changed meanwhile.
CONNECTION_LIFETIME = 600.0
#: Seconds that looking the connection up may take: a wait's deadline and outage budget do not stand still meanwhile.
CONNECT_TIMEOUT = 60.0
#: Seconds to gather waits that start together, so that they share requests.
GATHER = 0.25
#: Tasks that are read one by one: so many one after the other in one go, which costs less than as many goes.
SINGLES_IN_A_ROW = 25
#: Waits that are woken before the event loop gets its turn: when many start or end together, it must not stand still.
NEWS_AT_ONCE = 4
#: Longest ``Retry-After`` that is honoured, in seconds.
LONGEST_RETRY_AFTER = 300.0
#: Requests by which a refused batch is split at most, to find the tasks it is refused for.
_SPLIT_BUDGET = 40
#: While nothing is answered, one refused batch of so many is split: the rest would only be more load for a sick server.
_SPLIT_EVERY = 4
#: Reads that only make the log richer: so many one after the other, and then one every so many seconds.
_LOG_READ_BURST = 10
_LOG_READ_GAP = 5.0
#: Seconds between two of them at least: side by side they would open connections of their own.
_LOG_READ_PAUSE = 0.25

#: What a task's own trouble may look like, as well as SOPS' own.
_PERHAPS_OF_ONE_TASK = (errors.SopsApiError, errors.SopsInvalidAnswerError, errors.SopsGatewayUnavailableError)

NO_BATCH_NOTICE = (
    "get_tasks_status cannot be used here, so each waiting task is read by a request of its own; apply for the API "
    "permission 'get_tasks_status' of bk-sops to read fifty at once. It is tried again in 30 minutes."
)
MISSING_BATCH_NOTICE = (
    f"This SOPS does not have get_tasks_status{since('get_tasks_status')}, so each waiting task is read by a request "
    "of its own, not fifty at once. It is tried again in 30 minutes."
)


@dataclass(eq=False, slots=True)
class Subscription:
    """One wait for one task. The newest status or error stands here until the wait takes it."""

    task_id: int
    interval: float
    status: TaskStatus | None = None
    #: why the status cannot be read at present
    error: errors.SopsError | None = None
    #: seconds since the epoch from which on it may have a read that it was refused, see :meth:`Poller.may_read_for_log`
    log_read_at: float | None = None
    #: for the wait's own log, each kind once
    notices: tuple[str, ...] = ()
    notice_kinds: frozenset[str] = frozenset()
    _wake: asyncio.Future[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _notified: bool = False

    def notify(self) -> None:
        """Wake the wait; one that is not asleep will not fall asleep before it has looked."""
        if self._wake is None or self._wake.done():
            self._notified = True
        else:
            self._wake.set_result(None)

    def add_notice(self, kind: str, notice: str) -> bool:
        """Take a notice for the log, unless one of its kind was taken before."""
        if kind in self.notice_kinds:
            return False
        self.notice_kinds |= {kind}
        self.notices += (notice,)
        return True

    def sleep(self, seconds: float) -> asyncio.Future[None]:
        """Give what is to be awaited: it ends when something is told, and at the latest after so many seconds.

        Thousands of waits sleep nearly always, so this is no coroutine, which each of them would hold.
        """
        self.stay_awake()
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        if self._notified:
            self._notified = False
            self._wake.set_result(None)
        else:
            self._timer = loop.call_later(max(0.0, seconds), self.notify)
        return self._wake

    def stay_awake(self) -> None:
        """Forget the time of waking up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@dataclass(eq=False, slots=True)
class _Task:
    """A task that is waited for."""

    id: int
    subscriptions: tuple[Subscription, ...] = ()
    #: what the last answer said of it; unchanged, nobody is woken
    seen: object = None
    #: monotonic time of its next read
    due: float = 0.0
    #: monotonic time up to which it must be read singly: the batch is refused because of it
    alone_until: float = 0.0
    #: the last batch said so: whether it has failed before, only its nodes tell
    paused: bool = False

    @property
    def failing(self) -> bool:
        """Whether its last read failed."""
        return any(subscription.error is not None for subscription in self.subscriptions)

    @property
    def starting(self) -> bool:
        """Whether it was started, but does not run yet."""
        return any(
            subscription.status is not None and subscription.status.state is TaskState.READY
            for subscription in self.subscriptions
        )


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
        project: Project,
        *,
        min_interval: float = float(STATUS_CACHE_SECONDS),
    ) -> None:
        self.project = project
        self.grants = ApiGrants()
        self._connect = connect
        self._min_interval = min_interval
        self._client: AsyncSopsClient | None = None
        self._retired: AsyncSopsClient | None = None
        self._connected_at = 0.0
        self._connecting = asyncio.Lock()
        self._unusable: tuple[float, errors.SopsError] | None = None
        self._tasks: dict[int, _Task] = {}
        self._queue: list[tuple[float, int]] = []
        self._interval = min_interval
        self._asked_intervals: Counter[float] = Counter()
        #: monotonic time before which nothing is asked, as the last answer was an error
        self._not_before = 0.0
        #: monotonic time of the last chunk that counts for the spacing
        self._last_chunk_at = float("-inf")
        #: the most tasks in this interval, since when it lasts, and the most in the one before
        self._most, self._most_since, self._most_before = 0, 0.0, 0
        self._failures = 0
        self._error: errors.SopsError | None = None
        self._batches = True
        self._no_batch_notice = NO_BATCH_NOTICE
        self._batch_answered = False
        #: monotonic time since which not all ways may be used
        self._denied_at: float | None = None
        #: up to which monotonic time waits' own questions are not asked, and why
        self._refused: tuple[float, errors.SopsRateLimitError] | None = None
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._reads: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._log_reads_until = 0.0
        self._last_log_read = 0.0
        self._log_reads_given_back: list[float] = []
        self._loop_task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits."""
        return not self._tasks

    def subscribe(self, subscription: Subscription) -> None:
        """Let a wait take part; the first one starts the loop."""
        task = self._tasks.get(subscription.task_id)
        if task is None:
            task = self._tasks[subscription.task_id] = _Task(subscription.task_id)
            self._most = max(self._most, len(self._tasks))
        task.subscriptions += (subscription,)
        task.seen = None
        subscription.error = self._error
        if not self._batches:
            subscription.add_notice(NO_BATCH_NOTICE, self._no_batch_notice)
        self._schedule(task, time.monotonic() + GATHER)
        self._asked_intervals[subscription.interval] += 1
        self._set_interval()
        self._changed.set()
        if self._loop_task is None:
            # in an empty context: one wait's task logging must not receive what concerns all
            self._loop_task = asyncio.get_running_loop().create_task(
                self._loop(), name=f"SOPS poller of {self.project}", context=contextvars.Context()
            )

    def unsubscribe(self, subscription: Subscription) -> None:
        """Let a wait go; the last one ends the loop, which closes the session."""
        subscription.stay_awake()
        task = self._tasks.get(subscription.task_id)
        if task is None or subscription not in task.subscriptions:
            return
        task.subscriptions = tuple(other for other in task.subscriptions if other is not subscription)
        if subscription.log_read_at is not None:
            heapq.heappush(self._log_reads_given_back, subscription.log_read_at)
            subscription.log_read_at = None
        if not task.subscriptions:
            del self._tasks[subscription.task_id]
        self._asked_intervals[subscription.interval] -= 1
        if not self._asked_intervals[subscription.interval]:
            del self._asked_intervals[subscription.interval]
        if self._tasks:
            self._set_interval()
        elif self._loop_task is not None:
            self._loop_task.cancel()

    async def run(self, flow: Flow[T]) -> T:
        """Carry out a wait's flow with the shared client; one that asks nothing waits for nothing."""
        try:
            return await carry_out(flow, self._ask_for_a_wait)
        finally:
            self._note_grants()

    async def _ask_for_a_wait(self, call: Call) -> Answer:
        """Ask a wait's own question, unless such questions were refused for their number just now."""
        if self._refused is not None and time.monotonic() < self._refused[0]:
            raise _not_asked(call, self._refused[1]) from self._refused[1]
        async with self._slots:
            try:
                return await self._with_client(lambda client: client.send(call))
            except errors.SopsRateLimitError as error:
                self._refused = (time.monotonic() + max(self._interval, _asked_to_wait(error)), error)
                raise

    def may_read_for_log(self, subscription: Subscription) -> bool:
        """Allow a wait one read that only makes its log richer; while there are many, each has its turn."""
        now = time.time()
        if subscription.log_read_at is None:
            subscription.log_read_at = self._next_log_read(now)
        if subscription.log_read_at > now:
            return False
        subscription.log_read_at = None
        return True

    def _next_log_read(self, now: float) -> float:
        """Give the seconds since the epoch of the next free turn: one that was given back, else a new one."""
        while self._log_reads_given_back:
            log_read_at = heapq.heappop(self._log_reads_given_back)
            if log_read_at > now:
                return log_read_at
        self._log_reads_until = max(self._log_reads_until, now - _LOG_READ_BURST * _LOG_READ_GAP) + _LOG_READ_GAP
        self._last_log_read = max(now, self._log_reads_until, self._last_log_read + _LOG_READ_PAUSE)
        return self._last_log_read

    # -- the loop

    async def _loop(self) -> None:
        try:
            while True:
                now = time.monotonic()
                due = self._queue[0][0] if self._queue else now + self._interval
                # not as it was when the last chunk was read: since then many may have joined
                start = max(due, self._not_before, self._last_chunk_at + self._spacing(now))
                if start > now:
                    await self._rest(start - now)
                    continue
                chunk = self._take_chunk(now)
                if not chunk:
                    continue
                if not self._batches or chunk[0].alone_until <= now:  # the few that are read alone slow nobody down
                    self._last_chunk_at = now
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
        """Sleep, but no longer than until somebody joins or a read has ended."""
        self._changed.clear()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(seconds, 0.001), self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    def _schedule(self, task: _Task, due: float) -> None:
        task.due = due
        heapq.heappush(self._queue, (due, task.id))

    def _set_interval(self) -> None:
        least = self._min_interval
        if not self._batches and not self.grants.status:  # faster than the cache of the details would gain nothing
            least = max(least, float(DETAIL_CACHE_SECONDS))
        self._interval = max(least, min(self._asked_intervals, default=least))

    @property
    def _chunk_size(self) -> int:
        return MAX_IDS_PER_STATUS_CALL if self._batches else SINGLES_IN_A_ROW

    def _spacing(self, now: float) -> float:
        """Seconds between two chunks, so that all reads of an interval are spread over it.

        The pace follows at once when tasks join, and one interval late when they end: those that end together are
        often many, and the last of them must not wait longer than the first.
        """
        if now - self._most_since >= self._interval:
            self._most, self._most_since, self._most_before = len(self._tasks), now, self._most
        return 0.9 * self._interval / max(1, ceil(max(self._most, self._most_before) / self._chunk_size))

    def _take_chunk(self, now: float) -> list[_Task]:
        """Take the tasks that are due: for one batch, with those due soon to fill it, or some to be read singly."""
        if self._denied_at is not None and now - self._denied_at >= BATCH_RETRY:
            self._try_all_ways()
        size, soon = self._chunk_size, now + self._interval / 2
        chunk: list[_Task] = []
        left: list[tuple[float, int]] = []
        singly = False
        while self._queue and len(chunk) < size and self._queue[0][0] <= soon:
            due, task_id = heapq.heappop(self._queue)
            task = self._tasks.get(task_id)
            if task is None or task.due != due:  # left, or was scheduled anew
                continue
            single = not self._batches or task.alone_until > now
            if not chunk:
                singly = single
                if singly:  # a task that is not due would be answered from SOPS' cache
                    size, soon = SINGLES_IN_A_ROW, now
            if single is singly:
                chunk.append(task)
            else:
                left.append((due, task_id))
        for entry in left:
            heapq.heappush(self._queue, entry)
        return chunk

    def _try_all_ways(self) -> None:
        """Begin anew with the best way of reading."""
        self._batches, self.grants.status, self._denied_at = True, True, None
        self._set_interval()

    def _note_grants(self) -> None:
        """Remember since when a way is refused, and set the interval after the ways that are left."""
        if self._denied_at is None and not (self._batches and self.grants.status):
            self._denied_at = time.monotonic()
        self._set_interval()

    # -- one read

    async def _read_chunk(self, chunk: Sequence[_Task]) -> None:
        answered = True
        try:
            if not self._batches:
                await self._read_singly(chunk)
            elif chunk[0].alone_until > time.monotonic():
                answered = not all([await self._read_one(task) for task in chunk])
            else:
                await self._read_batch(chunk)
        except errors.SopsError as error:
            await self._failed(chunk, error)
        except Exception as error:  # a fault of ours ends as everyone's error, never as a silent stop
            await self._failed(chunk, _internal(error))
        else:
            if answered:
                self._failures, self._error = 0, None
            # a little later than the cache lives, or the next answer would be the last one again
            self._schedule_again(chunk, self._interval * random.uniform(1.0, 1.02))  # noqa: S311 (no secret)
        finally:
            self._slots.release()

    async def _read_batch(self, chunk: Sequence[_Task]) -> None:
        """Read tasks by one request, or singly where batches are refused."""
        try:
            answer = await self._ask_for(chunk)
        except errors.SopsError as error:
            if _is_no_batch(error) or (perhaps_missing(error) and not self._batch_answered):
                await self._fall_back(error, chunk)
                return
            # there were batches: where they are missing now, the whole site is away
            if not _is_refusal(error) or self._failures % _SPLIT_EVERY:
                raise _of_a_batch(error) from error.__cause__
            await self._split(chunk, error)
        else:
            self._batch_answered = True
            await self._deliver_batch(chunk, answer)

    async def _ask_for(self, tasks: Sequence[_Task]) -> Answer:
        with_nodes = any(task.paused for task in tasks)
        call = self.project.call(
            "get_tasks_status",
            task_id_list=sorted(task.id for task in tasks),
            include_children_status=with_nodes or None,
        )
        return await self._with_client(lambda client: client.send(call))

    async def _deliver_batch(self, chunk: Sequence[_Task], answer: Answer) -> None:
        items = models.tasks_status_items(answer)
        missing: list[_Task] = []
        news = 0
        for task in chunk:
            item = items.get(task.id)
            if item is None:  # unknown, another project's, or not yet on this replica: a single read tells
                missing.append(task)
                continue
            task.paused = models.is_paused_item(item)
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
        await self._read_left_out(missing)

    async def _split(self, chunk: Sequence[_Task], error: errors.SopsError) -> None:
        """Find the tasks that a batch is refused for: halve what is refused until they are left alone.

        :raises errors.SopsError: SOPS refuses everything, so that no single tasks are to blame.
        """
        refused = [random.sample(chunk, len(chunk))]
        culprits: list[_Task] = []
        others: list[_Task] = []
        answered, budget = False, _SPLIT_BUDGET
        while refused:
            if len(refused) > 1 and not answered:  # both halves: there are several culprits, or SOPS is not well
                if await self._read_one(refused[0][0]) is not None:
                    raise _of_a_batch(error)
                answered = True
            culprits += [part[0] for part in refused if len(part) == 1]
            parts = [half for part in refused if len(part) > 1 for half in _halves(part)]
            refused = []
            for part in parts:
                budget -= 1
                if budget < 0:
                    others += part
                    continue
                try:
                    answer = await self._ask_for(part)
                except errors.SopsError as refusal:
                    if not _is_refusal(refusal):
                        raise
                    refused.append(part)
                else:
                    answered = True
                    await self._deliver_batch(part, answer)
        await (self._read_left_out([*culprits, *others]) if answered else self._read_singly(culprits))
        for task in culprits:
            task.alone_until = time.monotonic() + (STARTED_RETRY if task.starting else BATCH_RETRY)

    async def _read_left_out(self, tasks: Sequence[_Task]) -> None:
        """Read singly what a batch has not told of; where that fails, the others of the batch are not concerned."""
        try:
            await self._read_singly(tasks, others_answered=True)
        except errors.SopsError as error:
            self._slow_down(error)

    async def _read_singly(self, tasks: Sequence[_Task], *, others_answered: bool = False) -> None:
        """Read tasks one by one.

        :param others_answered: when there is one task only and it fails, it is its own trouble.
        :raises errors.SopsError: it fails not because of one task; those not read were told.
        """
        # in ever another order, or those behind two bad ones would never be read
        order = random.sample(tasks, len(tasks))
        failed = len(order) == 1 and not others_answered
        for project, task in enumerate(order):
            try:
                failure = await self._read_one(task)
                if failure is not None and failed:
                    raise failure
                failed = failure is not None
            except errors.SopsError as error:
                await self._deliver_errors(order[project:], error)
                raise

    async def _read_one(self, task: _Task) -> errors.SopsError | None:
        """Read one task by itself. What only it is refused for reaches no other.

        :return: an error that was delivered to it, and of which it is not certain that it is about this task.
        :raises errors.SopsError: an error that is not about this task.
        """
        notices: list[str] = []
        try:
            status = await self._with_client(
                lambda client: client.run(read_status(self.project, task.id, self.grants, notices))
            )
        except errors.SopsError as error:
            if not isinstance(error, _PERHAPS_OF_ONE_TASK):
                raise
            self._deliver_error(task, error)
            return None if isinstance(error, DEFINITE) else error
        if notices:
            self._note_grants()
            await self._notify_all(DETAIL_ONLY_NOTICE, notices[0])
        # SOPS' clock goes on in every answer
        self._deliver(task, status, replace(status, elapsed_time=0))
        return None

    async def _with_client(self, ask: Callable[[AsyncSopsClient], Awaitable[T]]) -> T:
        client = await self._get_client()
        try:
            return await ask(client)
        except errors.SopsAuthenticationError:
            # the secrets may have been changed since the connection was looked up
            client = await self._get_client(stale=client)
            return await ask(client)

    async def _get_client(self, stale: AsyncSopsClient | None = None) -> AsyncSopsClient:
        asked = time.monotonic()
        if self._client is not None and self._client is not stale and asked - self._connected_at < CONNECTION_LIFETIME:
            return self._client
        async with self._connecting:
            client = self._client
            expired = time.monotonic() - self._connected_at >= CONNECTION_LIFETIME
            if client is None or expired or client is stale:
                if self._unusable is not None and self._unusable[0] >= asked:
                    raise self._unusable[1]  # the look-up that was waited for
                self._connected_at = time.monotonic()
                try:
                    async with asyncio.timeout(CONNECT_TIMEOUT):
                        self._client = await self._connect()
                except Exception as error:
                    if client is not None and client is not stale:
                        return client  # it still works; the look-up is tried again ten minutes later
                    self._unusable = (time.monotonic(), _unusable_connection(error))
                    raise self._unusable[1] from error
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
        for subscription in task.subscriptions:
            subscription.status, subscription.error = status, None
            if news:
                subscription.notify()

    def _deliver_error(self, task: _Task, error: errors.SopsError) -> None:
        task.seen = None
        for subscription in task.subscriptions:
            subscription.error = error
            subscription.notify()

    async def _deliver_errors(self, tasks: Sequence[_Task], error: errors.SopsError) -> None:
        for number, task in enumerate(tasks, 1):
            self._deliver_error(task, error)
            if number % NEWS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _schedule_again(self, chunk: Sequence[_Task], delay: float) -> None:
        due = time.monotonic() + delay
        for task in chunk:
            if self._tasks.get(task.id) is task:
                self._schedule(task, due)
        self._changed.set()

    def _slow_down(self, error: errors.SopsError) -> float:
        """Ask nothing for some seconds, or as long as the server says; give how long."""
        delay = max(backoff(max(1, self._failures), 1.0, self._interval), _asked_to_wait(error))
        self._not_before = max(self._not_before, time.monotonic() + delay)
        self._last_chunk_at = float("-inf")  # trouble has a pace of its own
        return delay

    async def _failed(self, chunk: Sequence[_Task], error: errors.SopsError) -> None:
        """Slow down to one request an interval, or as the server says; it is asked for ever.

        The waits of the chunk are told. The others are when it goes on: one lost request is not their concern.
        """
        self._failures += 1
        delay = self._slow_down(error)
        others_are_answered = self._failures == 1 and all(task.failing for task in chunk)
        self._schedule_again(chunk, max(delay, self._interval) if others_are_answered else delay)
        news = self._failures > 1 and self._error is None
        if self._failures > 1:
            self._error = error
        await self._deliver_errors(chunk, error)
        if not news:
            return
        for number, task in enumerate(list(self._tasks.values()), 1):
            if self._error is None:  # it is over
                return
            if not task.failing:
                self._deliver_error(task, error)
            if number % NEWS_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _fall_back(self, error: errors.SopsError, chunk: Sequence[_Task]) -> None:
        """Read singly from now on, as soon as it is certain that the whole site is not away."""
        unsure = perhaps_missing(error)
        if unsure:
            await self._read_singly(chunk)  # it is not: another API has answered; but it may have been, a moment ago
            try:
                answer = await self._ask_for(chunk)
            except errors.SopsError as again:
                if not _is_no_batch(again) and not perhaps_missing(again):
                    raise
                error = again
            else:
                self._batch_answered = True
                await self._deliver_batch(chunk, answer)
                return
        missing = isinstance(error, errors.SopsApiNotFoundError)
        self._batches, self._no_batch_notice = False, MISSING_BATCH_NOTICE if missing else NO_BATCH_NOTICE
        self._note_grants()
        await self._notify_all(NO_BATCH_NOTICE, f"{self._no_batch_notice} (What it said: {error})")
        if not unsure:
            await self._read_singly(chunk)

    async def _notify_all(self, kind: str, notice: str) -> None:
        number = 0
        for task in list(self._tasks.values()):
            for subscription in task.subscriptions:
                if subscription.add_notice(kind, notice):
                    subscription.notify()
                    number += 1
                    if number % NEWS_AT_ONCE == 0:
                        await asyncio.sleep(0)


def _halves(tasks: list[_Task]) -> tuple[list[_Task], list[_Task]]:
    middle = len(tasks) // 2
    return tasks[:middle], tasks[middle:]


def _is_no_batch(error: errors.SopsError) -> bool:
    """Tell whether it is certain that the app, the user or this SOPS has no batches; single reads may do.

    IAM asks for more rights for a batch than for one task.
    """
    return is_denied(error) or isinstance(error, errors.SopsIamDeniedError)


def _is_refusal(error: errors.SopsError) -> bool:
    """Tell whether it was SOPS that said no, or crashed: one of the tasks asked for may be to blame."""
    return isinstance(error, errors.SopsApiError) or crashed(error)


def _of_a_batch(error: errors.SopsError) -> errors.SopsError:
    """Make of a batch's refusal what it is: it may be about any one of fifty tasks, so it ends no wait at once."""
    if not (isinstance(error, errors.SopsApiError) and isinstance(error, DEFINITE)):
        return error
    made = errors.SopsApiError(*error.args)
    made.__dict__.update(vars(error))
    return made


def _not_asked(call: Call, refusal: errors.SopsRateLimitError) -> errors.SopsRateLimitError:
    """Make the error of a question that is not asked, as one like it, perhaps of another task, was refused just now."""
    return errors.make_error(
        errors.SopsRateLimitError,
        call,
        "not asked, as the gateway has just refused a question for the number of requests",
        code=refusal.code,
        remote_message=refusal.remote_message,
        status=refusal.http_status,
        request_id=refusal.request_id,
        retry_after=refusal.retry_after,
    )


def _asked_to_wait(error: errors.SopsError) -> float:
    """Seconds that the server asked to wait, as far as that is honoured."""
    return min(error.retry_after or 0.0, LONGEST_RETRY_AFTER)


def _unusable_connection(error: Exception) -> errors.SopsError:
    if isinstance(error, TimeoutError):
        return errors.SopsError(f"looking the connection up took longer than {CONNECT_TIMEOUT:.0f} s")
    return errors.SopsError(f"the connection cannot be used: {type(error).__name__}: {error}")


def _internal(error: Exception) -> errors.SopsError:
    made = errors.SopsError(f"reading the states failed inside the provider: {type(error).__name__}: {error}")
    made.__cause__ = error
    return made
