# SPDX-License-Identifier: Apache-2.0
"""A watch from its start to the end of its triggerer: it never returns and never raises, or Airflow starts it again
every two seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_sops.connection import choose_project
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.triggers.shared_pollers import look_up_site
from airflow_provider_sops.triggers.watch_log import WatchLog
from airflow_provider_sops.triggers.watch_loop import WatchLoop
from airflow_provider_sops.triggers.watch_memory_store import AirflowMemoryStore
from airflow_provider_sops.watch_spec import WatchSpec

#: Seconds until a watch that could not begin, or broke off, is begun again.
_PAUSE = 30.0


async def watch(trigger: Any, spec: WatchSpec) -> AsyncIterator[dict[str, Any]]:
    """Watch for ever.

    :param trigger: the watch's; its log and its assets' stores are used.
    :return: what events carry, see :meth:`~airflow_provider_sops.triggers.watch_loop.WatchLoop.events`.
    """
    log = WatchLog(trigger.log, spec.name)
    while True:
        loop = None
        try:
            project = await _find_project(spec)
            loop = WatchLoop(spec, project, AirflowMemoryStore(trigger, spec.name), log)
            async for payload in loop.events():
                yield payload
        except Exception as error:  # a fault of ours, or of the connection: told, and tried again
            log.failed(error)
        finally:
            if loop is not None:
                loop.close()
        await asyncio.sleep(_PAUSE)


async def _find_project(spec: WatchSpec) -> Project:
    if spec.bk_biz_id is not None and spec.scope:
        return choose_project(spec.sops_conn_id, spec.bk_biz_id, spec.scope, _no_site)
    site = await look_up_site(spec.sops_conn_id)
    return choose_project(spec.sops_conn_id, spec.bk_biz_id, spec.scope, lambda: site)


def _no_site() -> Any:
    raise AssertionError("both are given")
