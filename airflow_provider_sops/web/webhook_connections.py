# SPDX-License-Identifier: Apache-2.0
"""The connections that webhooks come for, looked up seldom: each post would otherwise cost a look into the database."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass

from airflow_provider_sops.compat.api_server import look_up_connection_in_api_server
from airflow_provider_sops.connection import CONN_TYPE, Site
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.text import storable
from airflow_provider_sops.hooks.sops import site_of
from airflow_provider_sops.web.webhook_limits import Rate

log = logging.getLogger(__name__)

#: Seconds for which a look-up counts: a token that was changed is taken, or refused, that much later.
LIFETIME = 15.0
#: Connections that are kept; those that no longer count go first.
MOST_KEPT = 100
#: Look-ups a second of ids that are not known to take webhooks: who guesses ids costs no more.
GUESSES_PER_SECOND = 5.0


class TooManyGuesses(Exception):
    """So many unknown connections were asked for that no more are looked up for a moment."""


@dataclass(frozen=True, slots=True)
class _Found:
    #: ``None``: no such connection, or none that takes webhooks
    site: Site | None
    at: float


class WebhookConnections:
    """Looks connections up, and keeps what it has found for a moment."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, _Found] = OrderedDict()
        self._looking: dict[str, asyncio.Task[Site | None]] = {}
        self._guesses = Rate(GUESSES_PER_SECOND)

    async def authenticated(self, conn_id: str, token: str) -> Site | None:
        """Return what a connection says, if the token is one of its own.

        :raises TooManyGuesses: it would have to be looked up, and too many were.
        """
        site = await self._find(conn_id)
        tokens = site.webhook.tokens if site is not None else ()
        # one that is never right stands in, so that an unknown connection takes as long as a wrong token
        given, valid = token.encode(), False
        for one in (*tokens, *("\0",) * (2 - len(tokens))):
            valid |= hmac.compare_digest(one.encode(), given)
        return site if valid else None

    async def _find(self, conn_id: str) -> Site | None:
        now = time.monotonic()
        found = self._found.get(conn_id)
        if found is not None and now - found.at < LIFETIME:
            return found.site
        looking = self._looking.get(conn_id)
        if looking is None:
            is_known = found is not None and found.site is not None
            if not is_known and not self._guesses.allows(now):
                raise TooManyGuesses
            looking = self._looking[conn_id] = asyncio.create_task(self._look_up(conn_id))
            looking.add_done_callback(lambda done: self._looking.pop(conn_id, None))
        return await asyncio.shield(looking)

    async def _look_up(self, conn_id: str) -> Site | None:
        site = await asyncio.to_thread(_read_site, conn_id)
        self._found[conn_id] = _Found(site, time.monotonic())
        self._found.move_to_end(conn_id)
        while len(self._found) > MOST_KEPT:
            self._found.popitem(last=False)
        return site


def _read_site(conn_id: str) -> Site | None:
    connection = look_up_connection_in_api_server(conn_id)
    if connection is None or connection.conn_type != CONN_TYPE:
        return None
    try:
        site = site_of(connection, connection.extra_dejson)
    except (SopsConfigError, ValueError) as error:
        log.error("Webhooks for connection %s are refused, as it cannot be used: %s", conn_id, storable(str(error)))
        return None
    return site if site.webhook.tokens else None
