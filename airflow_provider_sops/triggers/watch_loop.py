# SPDX-License-Identifier: Apache-2.0
"""The loop of a watch: it lists new tasks, lets the shared poller read those that have not ended, announces ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.asset_events import storable_ended_task
from airflow_provider_sops.compat import ask_airflow
from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.ended_task_reading import read_ended_task
from airflow_provider_sops.core.models import TaskListItem, TaskStatus
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.watch.listing import list_above, list_candidates, list_newest
from airflow_provider_sops.core.watch.watch_filter import find_templates
from airflow_provider_sops.core.watch.watch_memory import WatchMemory, restore_memory
from airflow_provider_sops.core.watch.watched_task import Sighting, WatchedTask
from airflow_provider_sops.triggers.shared_pollers import (
    hold_poller,
    let_poller_go,
    subscribe_to_poller,
    unsubscribe_from_poller,
)
from airflow_provider_sops.triggers.watch_announcements import Announcements, End, snapshot
from airflow_provider_sops.triggers.watch_log import WatchLog
from airflow_provider_sops.triggers.watch_memory_store import MemoryStore
from airflow_provider_sops.watch_spec import WatchSpec

#: The version of the event.
VERSION = 1
#: Seconds to gather ends that are seen together, so that one event tells of them.
GATHER = 0.5
#: Seconds between two searches for the templates that are given by name.
_TEMPLATES_LIFETIME = 3600.0


@dataclass(eq=False, slots=True)
class _Watched:
    """A watched task, and where the poller's news of it arrive."""

    task: WatchedTask
    subscription: _Subscription
    #: the status that was evaluated last
    evaluated: TaskStatus | None = None


@dataclass(eq=False)
class _Subscription(Subscription):
    """Wakes the watch, which sleeps once for all its tasks."""

    changed: asyncio.Event | None = None

    def notify(self) -> None:
        """Wake the watch."""
        assert self.changed is not None
        self.changed.set()


class WatchLoop:
    """One watch in a triggerer.

    :param spec: the order.
    :param project: where the tasks are.
    :param store: keeps what is to be remembered.
    :param log: the trigger's log, and its metrics.
    """

    def __init__(self, spec: WatchSpec, project: Project, store: MemoryStore, log: WatchLog) -> None:
        self.spec, self.project, self.log = spec, project, log
        self._store = store
        self._states = spec.watched_states
        self._poller: Poller = hold_poller(spec.sops_conn_id, project)
        self._memory: WatchMemory | None = None
        self._stored: dict[str, Any] | None = None
        self._template_ids: frozenset[int] = frozenset(spec.template_ids)
        self._templates_found_at = float("-inf")
        self._watched: dict[int, _Watched] = {}
        self._announcements = Announcements()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """End the watch."""
        for watched in self._watched.values():
            unsubscribe_from_poller(self._poller, watched.subscription)
        let_poller_go(self._poller)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Watch for ever; yield what an event carries for each look that has news.

        :return: payloads ``{version, watch, ended_tasks}``.
        """
        look_at = announce_at = float("-inf")
        while True:
            if (now := time.monotonic()) >= look_at:
                look_at = now + self.spec.poll_interval
                await self._look()
            await self._evaluate()
            if time.monotonic() >= announce_at and (ended_tasks := self._announcements.take()):
                announce_at = time.monotonic() + self.spec.poll_interval
                self.log.announced(len(ended_tasks))
                yield {"version": VERSION, "watch": self.spec.name, "ended_tasks": ended_tasks}
            waits = [look_at, announce_at] if self._announcements.ready else [look_at]
            await self._sleep(max(0.0, min(waits) - time.monotonic()))

    async def _sleep(self, seconds: float) -> None:
        """Sleep until a status is new, and a moment longer, as others may be about to come."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
                self._changed.clear()
                await asyncio.sleep(GATHER)
        except TimeoutError:
            return

    # ---- looking ----

    async def _look(self) -> None:
        """Find new tasks, and take care of the memory; what goes wrong is told, and tried again at the next look."""
        try:
            if self._memory is None:
                self._memory = await self._remember()
            await self._find_new()
        except Exception as error:  # SOPS or Airflow could not be asked, or a fault of ours: none ends a watch
            self.log.failed(error)
        else:
            if failing := next((w.subscription.error for w in self._watched.values() if w.subscription.error), None):
                self.log.failed(failing)
            else:
                self.log.succeeded()
        if self._memory is not None:
            await self._keep(self._memory)
            self._forget_old(self._memory)
        now = time.time()
        self.log.tell_lag(len(self._watched), self._lag(now), now)

    async def _remember(self) -> WatchMemory:
        """Read what was remembered; at a first start, look at what there is."""
        stored = await self._store.read()
        now = time.time()
        memory = restore_memory(stored, now)
        if memory is not None:
            self._stored = stored
            self.log.info("goes on with %s SOPS tasks that had not ended.", len(memory.watched))
            for task_id in memory.watched:
                self._subscribe(task_id, memory)
            return memory
        if stored is not None:
            self.log.warning("what it remembered cannot be read, so it begins anew.")
        memory = WatchMemory()
        params = await self._list_params()
        memory.horizon, sops_time = await self._poller.run(list_newest(self.project, params))
        since = self.spec.since_moment
        memory.since = since.timestamp() if since else (now if sops_time is None else sops_time)
        items = await self._poller.run(list_candidates(self.project, params, since, now))
        for item in items:
            if item.task_id <= memory.horizon and self.spec.filter.matches(item, self._template_ids):
                memory.old.add(item.task_id)
                await self._add(item, memory, now)
        self.log.info("begins with %s SOPS tasks that may end.", len(memory.watched))
        return memory

    async def _find_new(self) -> None:
        memory = self._memory
        assert memory is not None
        params = await self._list_params()
        items = await self._poller.run(list_above(self.project, params, memory.horizon))
        now = time.time()
        for item in items:
            if not memory.is_known(item.task_id) and self.spec.filter.matches(item, self._template_ids):
                await self._add(item, memory, now)
        memory.note_listed((item.task_id for item in items), now)

    async def _list_params(self) -> dict[str, Any]:
        watch_filter, now = self.spec.filter, time.monotonic()
        if watch_filter.template_names and now - self._templates_found_at >= _TEMPLATES_LIFETIME:
            self._template_ids = await self._poller.run(find_templates(self.project, watch_filter))
            self._templates_found_at = now
        return watch_filter.list_params(self._template_ids)

    async def _add(self, item: TaskListItem, memory: WatchMemory, now: float) -> None:
        """Watch a task; of one that has finished already, the list tells all that a batch would."""
        memory.watch(item.task_id, now)
        watched = self._subscribe(item.task_id, memory)
        if item.is_finished and item.finish_time is not None:
            watched.subscription.status = TaskStatus(
                task_id=item.task_id,
                state=TaskState.FINISHED,
                name=item.name,
                start_time=item.start_time,
                finish_time=item.finish_time,
            )

    def _subscribe(self, task_id: int, memory: WatchMemory) -> _Watched:
        subscription = _Subscription(task_id, self.spec.poll_interval, changed=self._changed)
        poller = subscribe_to_poller(self.spec.sops_conn_id, self.project, subscription)
        task = WatchedTask(
            task_id,
            self.project,
            self._states,
            poller.permissions,
            since=memory.since,
            is_old=task_id in memory.old,
            is_failed=task_id in memory.failed,
        )
        watched = self._watched[task_id] = _Watched(task, subscription)
        return watched

    def _drop(self, task_id: int) -> None:
        watched = self._watched.pop(task_id, None)
        if watched is not None:
            unsubscribe_from_poller(self._poller, watched.subscription)

    def _forget_old(self, memory: WatchMemory) -> None:
        old = memory.forget_old(time.time())
        for task_id in old:
            self._drop(task_id)
        if old:
            some = ", ".join(map(str, old[:10])) + (", …" if len(old) > 10 else "")
            self.log.warning("watches these no more, as they have not ended for very long: SOPS tasks %s.", some)

    # ---- what was read ----

    async def _evaluate(self) -> None:
        """Evaluate what is new, and read the outputs of what has ended."""
        if self._memory is None:
            return
        due = [one for one in list(self._watched.values()) if self._is_due(one)]
        await asyncio.gather(*(self._evaluate_one(one, self._memory) for one in due))
        await asyncio.gather(*(self._read_end(end) for end in self._announcements.unread))

    @staticmethod
    def _is_due(watched: _Watched) -> bool:
        status, error = watched.subscription.status, watched.subscription.error
        if isinstance(error, errors.SopsNotFoundError):
            return True
        return status is not None and (status is not watched.evaluated or watched.task.must_be_evaluated)

    async def _evaluate_one(self, watched: _Watched, memory: WatchMemory) -> None:
        task_id, now = watched.task.task_id, time.time()
        status, error = watched.subscription.status, watched.subscription.error
        try:
            if isinstance(error, errors.SopsNotFoundError) or status is None:
                sighting = Sighting(is_over=True, note=f"SOPS task {task_id} is watched no more: {error}")
            else:
                sighting = await self._poller.run(watched.task.evaluate(status, now))
        except errors.SopsError as problem:
            self.log.failed(problem)
            return
        watched.evaluated = status
        memory.old.discard(task_id)
        if sighting.note:
            self.log.warning("%s", sighting.note)
        if sighting.status is not None:
            since, ended_at = memory.watched.get(task_id, now), _ended_at(sighting.status, now)
            self._announcements.add(End(sighting.status, since, ended_at))
        if sighting.is_over:
            memory.drop(task_id)
            self._drop(task_id)
        elif watched.task.is_failed:
            memory.failed.add(task_id)
        else:
            memory.failed.discard(task_id)

    async def _read_end(self, end: End) -> None:
        """Read what is announced of an end; while SOPS cannot be read, it waits for the next look."""
        flow = read_ended_task(self.project, end.status, with_outputs=self.spec.with_outputs)
        try:
            ended_task = await self._poller.run(flow)
            # what checks it may take long
            end.ended_task = await ask_airflow(storable_ended_task, ended_task, self.log.log)
        except errors.SopsError as error:
            self.log.failed(error)

    # ---- what Airflow has stored ----

    async def _keep(self, memory: WatchMemory) -> None:
        """Write the memory, without the ends that Airflow may not have stored yet."""
        try:
            unstored = self._announcements.unstored()
            if self._announcements.wait_for_airflow:
                await self._store.read()
                self._announcements.note_answer()
            wanted = snapshot(memory, unstored)
            if wanted != self._stored:
                await self._store.write(wanted)
            self._stored, self._announcements.ends = wanted, unstored
        except Exception as error:  # whatever Airflow raises
            self.log.failed(error)

    def _lag(self, now: float) -> float:
        """Return the seconds since the oldest end that is not announced yet; 0 where all are."""
        oldest = self._announcements.oldest()
        return max(0.0 if oldest is None else now - oldest, self.log.outage_lasted(now))


def _ended_at(status: TaskStatus, now: float) -> float:
    moment = status.finish_time or status.failed_at
    return now if moment is None else status.since(moment, now)
