# SPDX-License-Identifier: Apache-2.0
"""The SOPS task that a webhook is about: read with the connection's own credentials, and stored as an asset event."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from airflow_provider_sops.asset_events import storable_ended_task
from airflow_provider_sops.compat import HAS_PARTITION_KEYS
from airflow_provider_sops.connection import Site, choose_project
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow, Sleep
from airflow_provider_sops.core.ended_task_reading import read_ended_task
from airflow_provider_sops.core.errors import SopsConfigError, SopsError
from airflow_provider_sops.core.http.async_client import AsyncSopsClient
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import FINAL_STATES, TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions, read_status
from airflow_provider_sops.web.webhook_events import MEMORY, Stored, store_ended_task

log = logging.getLogger(__name__)

#: Seconds in which a task must have been read: who posts waits for it.
READ_TIMEOUT = 20.0
#: Readings of a task that has not ended yet, and the seconds between two; SOPS posts up to a second after the end.
_READINGS, _REREAD = 3, 1.0
#: An end that is older was either stored or missed long ago: it is not looked for any further back.
MAX_AGE = MEMORY.total_seconds() / 2
_TOLD = frozenset({*FINAL_STATES, TaskState.FAILED})


class WebhookTasks:
    """Reads tasks and stores their ends. Posts about one task share one reading."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, int], asyncio.Task[tuple[str, str]]] = {}

    async def store(self, conn_id: str, site: Site, task_id: int) -> tuple[str, str]:
        """Store the end of a task as an event of the connection's asset.

        :return: what has become of it, and why it could not be stored; one of them is empty.
        """
        key = (conn_id, task_id)
        storing = self._under_way.get(key)
        if storing is None:
            storing = self._under_way[key] = asyncio.create_task(_store(conn_id, site, task_id))
            storing.add_done_callback(lambda done: self._under_way.pop(key, None))
        return await asyncio.shield(storing)


async def _store(conn_id: str, site: Site, task_id: int) -> tuple[str, str]:
    try:
        project = choose_project(conn_id, None, None, lambda: site)
        async with asyncio.timeout(READ_TIMEOUT):
            ended, age = await _read(site, project, task_id)
    except TimeoutError:
        return "", f"SOPS has not told its end within {READ_TIMEOUT:.0f} s."
    except (SopsError, SopsConfigError) as error:
        return "", str(error)
    if ended is None:
        return "", "it has not ended, so nothing is stored."
    if age > MAX_AGE:
        return "", f"it ended {age / 3600:.0f} hours ago; such an old end is not stored."
    asset = site.webhook.asset_of(ended["template_id"])
    if asset is None:
        return "", f"the connection's webhook_asset names no asset for template {ended['template_id']}."
    if asset.by_task and not HAS_PARTITION_KEYS:
        return "", "partition_key needs Airflow 3.2 or newer; leave it out of the connection's webhook_asset."
    extra = await asyncio.to_thread(storable_ended_task, ended, log)
    stored = await asyncio.to_thread(store_ended_task, asset.name, extra, str(task_id) if asset.by_task else None)
    if stored is Stored.NO_ASSET:
        return "", f"Airflow knows no asset {asset.name!r} that a DAG uses; its end is not stored."
    log.info(
        "SOPS task %s, %s, told by a webhook: %s as an event of asset %r.", task_id, ended["state"], stored, asset.name
    )
    return stored.value, ""


async def _read(site: Site, project: Project, task_id: int) -> tuple[dict[str, Any] | None, float]:
    client = AsyncSopsClient(site.endpoint, settings=site.settings)
    try:
        status = await client.run(_read_end(project, task_id))
        if status is None:
            return None, 0.0
        ended = await client.run(read_ended_task(project, status))
    finally:
        await client.aclose()
    moment = status.finish_time or status.failed_at
    now = time.time()
    return ended, 0.0 if moment is None else now - status.since(moment, now)


def _read_end(project: Project, task_id: int) -> Flow[TaskStatus | None]:
    """Read a task until it has ended, or failed; ``None`` if it does not."""
    permissions = ApiPermissions()
    for reading in range(_READINGS):
        if reading:
            yield Sleep(_REREAD)
        status = yield from read_status(project, task_id, permissions, [], fresh=True)
        if status.state in _TOLD and not status.is_deleted:
            return status
    return None
