# SPDX-License-Identifier: Apache-2.0
"""Reads of SOPS that all open pages of one API server share: no SOPS task is read oftener than its caches change."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from airflow_provider_sops.connection import Site
from airflow_provider_sops.core.api.catalogue import DETAIL_CACHE_SECONDS, STATUS_CACHE_SECONDS
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.http.async_client import AsyncSopsClient
from airflow_provider_sops.core.models import TaskDetail
from airflow_provider_sops.core.pipeline_tree import Activity
from airflow_provider_sops.core.poll.client_lease import ClientLease
from airflow_provider_sops.core.status_reading import ApiPermissions
from airflow_provider_sops.core.task_view import (
    NodeView,
    TaggedTask,
    TaskView,
    find_tagged,
    read_node_view,
    read_task_view,
)
from airflow_provider_sops.web.task_page_airflow import TaskInstance, read_site

T = TypeVar("T")

#: Most results that are kept.
_MOST_KEPT = 1000


@dataclass(slots=True)
class _Kept:
    task: asyncio.Task[Any]
    #: by the monotonic clock; infinite while it is read
    until: float = float("inf")


class SharedReads:
    """Lets all who want the same at the same time wait for one read, and keeps its result for a while.

    :param clock: gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    async def get(
        self, key: Hashable, read: Callable[[], Awaitable[T]], lifetime: Callable[[T], float], error_lifetime: float
    ) -> T:
        """Return what was read lately, or read it.

        :param lifetime: seconds for which a result is kept.
        :param error_lifetime: seconds for which an error is.
        :raises Exception: what the read raised, also if that was a moment ago.
        """
        kept = self._kept.get(key)
        if kept is None or self._clock() >= kept.until:
            kept = self._kept[key] = self._begin(read, lifetime, error_lifetime)
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        # who goes away does not end the read for the others
        return cast("T", await asyncio.shield(kept.task))

    def _begin(self, read: Callable[[], Awaitable[T]], lifetime: Callable[[T], float], error_lifetime: float) -> _Kept:
        async def run() -> T:
            return await read()

        kept = _Kept(asyncio.get_running_loop().create_task(run()))

        def end(task: asyncio.Task[T]) -> None:
            failed = task.cancelled() or task.exception() is not None
            kept.until = self._clock() + (error_lifetime if failed else lifetime(task.result()))

        kept.task.add_done_callback(end)
        return kept


@dataclass(slots=True)
class _Connection:
    """One connection, as long as the API server runs."""

    lease: ClientLease
    #: what it says, since it was looked up last
    site: Site | None = None
    #: by project
    permissions: dict[Project, ApiPermissions] = field(default_factory=dict)
    #: APIs that are not to be had
    lacking: set[str] = field(default_factory=set)


class Reader:
    """Reads for the pages of one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reads = SharedReads(clock)
        self._connections: dict[tuple[str, str], _Connection] = {}
        #: the newest detail of each task, and when it was read
        self._details: OrderedDict[Hashable, tuple[TaskDetail, float]] = OrderedDict()

    async def project(self, instance: TaskInstance) -> Project:
        """Return the business or project of a task instance's SOPS task.

        :raises SopsError: the connection cannot be used.
        :raises SopsConfigError: neither the task nor the connection names one.
        """
        connection = self._connection(instance)

        async def look_up(client: AsyncSopsClient) -> None:
            """A client is there, and with it what the connection says."""

        key = ("connection", *self._key(instance))
        seconds = STATUS_CACHE_SECONDS
        await self._reads.get(key, lambda: connection.lease.use(look_up), lambda _: seconds, seconds)
        assert connection.site is not None
        return instance.project(connection.site)

    async def task(self, instance: TaskInstance, project: Project, task_id: int) -> TaskView:
        """Read a SOPS task.

        :raises SopsError: its status cannot be read.
        """
        connection = self._connection(instance)
        permissions = connection.permissions.setdefault(project, ApiPermissions())
        key = (*self._key(instance), project, task_id)

        async def read() -> TaskView:
            known, since = self._details.get(key, (None, 0.0))
            if known is not None and not known.finish_time and self._clock() - since >= DETAIL_CACHE_SECONDS:
                known = None
            view = await self._run(connection, lambda: read_task_view(task_id, project, permissions, known))
            if view.detail is not None and view.detail is not known:
                self._details[key] = (view.detail, self._clock())
                while len(self._details) > _MOST_KEPT:
                    self._details.popitem(last=False)
            return view

        return await self._reads.get(("task", *key), read, lifetime_of, STATUS_CACHE_SECONDS)

    async def node(
        self,
        instance: TaskInstance,
        project: Project,
        view: TaskView,
        node_id: str,
        stack: tuple[str, ...],
        activity: Activity | None,
    ) -> NodeView:
        """Read a node of a SOPS task whose detail is known.

        :raises SopsError: it cannot be read.
        """
        assert view.detail is not None
        connection, task_id, secrets = self._connection(instance), view.status.task_id, view.detail.secret_values

        def flow() -> Flow[NodeView]:
            return read_node_view(task_id, project, node_id, stack, activity, secrets, connection.lacking)

        key = ("node", *self._key(instance), project, task_id, stack, node_id, view.status.node(node_id))
        return await self._reads.get(
            key, lambda: self._run(connection, flow), lambda _: lifetime_of(view), STATUS_CACHE_SECONDS
        )

    async def tagged(self, instance: TaskInstance, project: Project) -> tuple[TaggedTask, ...]:
        """Find the SOPS tasks of all tries of a task instance.

        :raises SopsError: SOPS does not list tasks.
        """
        connection = self._connection(instance)
        key = ("tagged", *self._key(instance), project, instance.tags)
        return await self._reads.get(
            key,
            lambda: self._run(connection, lambda: find_tagged(project, instance.tags)),
            # a task that has none yet will have one soon
            lambda found: DETAIL_CACHE_SECONDS if found else STATUS_CACHE_SECONDS,
            DETAIL_CACHE_SECONDS,
        )

    async def _run(self, connection: _Connection, flow: Callable[[], Flow[T]]) -> T:
        return await connection.lease.use(lambda client: client.run(flow()))

    def _key(self, instance: TaskInstance) -> tuple[str, str]:
        return (instance.sops_conn_id, instance.team)

    def _connection(self, instance: TaskInstance) -> _Connection:
        key = self._key(instance)
        if key not in self._connections:

            async def connect() -> AsyncSopsClient:
                site = connection.site = await asyncio.to_thread(read_site, *key)
                return AsyncSopsClient(site.endpoint, settings=site.settings)

            connection = self._connections[key] = _Connection(ClientLease(connect, self._clock))
        return self._connections[key]


def lifetime_of(view: TaskView) -> float:
    """Return for how many seconds a reading is shown: as long as SOPS itself answers from its caches."""
    settled = view.status.has_ended and (view.detail is not None and view.detail.finish_time is not None)
    return DETAIL_CACHE_SECONDS if settled else STATUS_CACHE_SECONDS


_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, Reader] = WeakKeyDictionary()


def shared_reader() -> Reader:
    """Return the reader of this event loop."""
    return _readers.setdefault(asyncio.get_running_loop(), Reader())
