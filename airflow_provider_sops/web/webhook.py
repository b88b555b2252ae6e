# SPDX-License-Identifier: Apache-2.0
"""``POST /sops/webhook/{connection id}``: SOPS tells that a task has ended, and it becomes an asset event.

Airflow authenticates nothing here, so this does. What is posted is a cause to look, and never believed: what SOPS
itself answers to the connection's own credentials is stored. Only what is stored is answered with 200; SOPS asks again
after anything else.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from airflow_provider_sops.core.text import storable
from airflow_provider_sops.web.webhook_body import read_task_id
from airflow_provider_sops.web.webhook_connections import TooManyGuesses, WebhookConnections
from airflow_provider_sops.web.webhook_limits import Rate
from airflow_provider_sops.web.webhook_task import WebhookTasks
from airflow_provider_sops.webhook_settings import SHORTEST_TOKEN

if TYPE_CHECKING:
    from airflow_provider_sops.connection import Site

log = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
#: Seconds that a body may take to come.
BODY_TIMEOUT = 10.0
#: Posts with a token that are looked at side by side, and each second; of all connections together.
MOST_AT_ONCE = 32
POSTS_PER_SECOND = 100.0
_CONN_ID = re.compile(r"[\w.:#()\-]{1,250}", re.ASCII)


class Refused(Exception):
    """A post that is answered with an error.

    :param status: of the HTTP answer.
    :param reason: for whoever has posted; says nothing of connections or tokens.
    """

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or {}


class Webhook:
    """Takes the webhooks of all connections.

    :param clock: gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._connections = WebhookConnections()
        self._tasks = WebhookTasks()
        self._posts = Rate(POSTS_PER_SECOND)
        self._under_way = 0

    def routes(self) -> list[BaseRoute]:
        """Return where it is served."""
        return [Route("/webhook/{conn_id}", self.take, methods=["POST"])]

    async def take(self, request: Request) -> JSONResponse:
        """Take one post."""
        try:
            return _answer(await self._take(request))
        except Refused as refused:
            return _answer(refused.reason, refused.status, refused.headers)
        except ClientDisconnect:
            return _answer("the post broke off", 400)
        except Exception:  # whatever Airflow's database raises
            log.exception("A webhook for connection %s could not be taken.", storable(request.path_params["conn_id"]))
            return _answer("Airflow cannot store it now", 503)

    async def _take(self, request: Request) -> str:
        conn_id = request.path_params["conn_id"]
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > MAX_BODY:
            raise Refused(413, f"a body of more than {MAX_BODY} bytes")
        site = await self._authenticate(conn_id, _token_of(request))
        # not before: who has no token takes no turn from those that have one
        if self._under_way >= MOST_AT_ONCE or not self._posts.allows(self._clock()):
            raise Refused(503, "too many posts", {"Retry-After": "2"})
        self._under_way += 1
        try:
            task_id = read_task_id(await _body_of(request))
            if task_id is None:
                raise Refused(400, "the token is right, but no task has ended: event.info.task_id is missing")
            return await self._store(conn_id, site, task_id)
        finally:
            self._under_way -= 1

    async def _authenticate(self, conn_id: str, token: str) -> Site:
        site = None
        if _CONN_ID.fullmatch(conn_id) and len(token) >= SHORTEST_TOKEN:
            try:
                site = await self._connections.authenticated(conn_id, token)
            except TooManyGuesses as error:
                raise Refused(503, "too many posts", {"Retry-After": "2"}) from error
        if site is None:
            raise Refused(401, "no such connection, or a wrong token", {"WWW-Authenticate": "Bearer"})
        return site

    async def _store(self, conn_id: str, site: Site, task_id: int) -> str:
        stored, problem = await self._tasks.store(conn_id, site, task_id)
        if problem:
            log.warning("Webhook for connection %s, SOPS task %s: %s", conn_id, task_id, problem)
            raise Refused(503, "it cannot be stored now")
        return stored


def _answer(message: str, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    """Answer so that SOPS shows the message: it keeps ``message`` in the task's callback record."""
    return JSONResponse({"message": message}, status, headers)


def _token_of(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _body_of(request: Request) -> bytes:
    """Read a body, as far as it may go."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise Refused(413, f"a body of more than {MAX_BODY} bytes")
    except TimeoutError as error:
        raise Refused(408, "the body took too long") from error
    return bytes(body)
