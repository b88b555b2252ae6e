# SPDX-License-Identifier: Apache-2.0
"""Which poller a wait subscribes to: all waits of one event loop, connection and project share one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_provider_sops.compat import ask_airflow, look_up_connection
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.core.poll.subscription import Subscription

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_sops.connection import Site
    from airflow_provider_sops.core.http.async_client import AsyncSopsClient

PollerKey = tuple[str, Project]
_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[PollerKey, Poller]] = WeakKeyDictionary()


async def look_up_site(sops_conn_id: str) -> Site:
    """Look a connection up, without blocking the event loop.

    :raises SopsConfigError: names the field of the connection that is wrong.
    """
    site_of = await asyncio.to_thread(_import_site_of)
    connection, extra = await look_up_connection(sops_conn_id)
    return await ask_airflow(site_of, connection, extra)  # it lets Airflow mask the secrets


async def connect(sops_conn_id: str) -> AsyncSopsClient:
    """Look a connection up and make a client of it, without blocking the event loop.

    :raises SopsConfigError: names the field of the connection that is wrong.
    """
    from airflow_provider_sops.core.http.async_client import AsyncSopsClient

    site = await look_up_site(sops_conn_id)
    return AsyncSopsClient(site.endpoint, settings=site.settings)


def _import_site_of() -> Callable[[Connection, Mapping[str, Any]], Site]:
    """Import the hook, and what Airflow imports to look a connection up; in a thread: an event loop would feel it."""
    import asgiref.sync  # noqa: F401

    from airflow_provider_sops.hooks.sops import site_of

    return site_of


def subscribe_to_poller(sops_conn_id: str, project: Project, subscription: Subscription) -> Poller:
    """Subscribe a wait to the poller that this event loop's waits of the same connection and project share."""
    poller = _shared_poller(sops_conn_id, project)
    poller.subscribe(subscription)
    return poller


def hold_poller(sops_conn_id: str, project: Project) -> Poller:
    """Keep the poller that is shared, though nobody waits; :func:`let_poller_go` ends it."""
    poller = _shared_poller(sops_conn_id, project)
    poller.hold()
    return poller


def _shared_poller(sops_conn_id: str, project: Project) -> Poller:
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get((sops_conn_id, project))
    if poller is None:
        poller = pollers[(sops_conn_id, project)] = Poller(lambda: connect(sops_conn_id), project)
    return poller


def unsubscribe_from_poller(poller: Poller, subscription: Subscription) -> None:
    """End a wait's subscription; the last one ends the poller."""
    poller.unsubscribe(subscription)
    _forget_if_idle(poller)


def let_poller_go(poller: Poller) -> None:
    """Keep a poller no more; it ends with its last subscription."""
    poller.let_go()
    _forget_if_idle(poller)


def _forget_if_idle(poller: Poller) -> None:
    if poller.idle:
        for pollers in _pollers.values():
            for key in [key for key, one in pollers.items() if one is poller]:
                del pollers[key]
