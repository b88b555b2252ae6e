# SPDX-License-Identifier: Apache-2.0
"""The asynchronous client: sends one prepared request with httpx and hands back the reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_sops.sops import errors
from airflow_provider_sops.sops.answering import Answering
from airflow_provider_sops.sops.calls import Call
from airflow_provider_sops.sops.gateway import Answer, Door, HttpReply, HttpRequest
from airflow_provider_sops.sops.network import route_to
from airflow_provider_sops.sops.redact import protect_http_logs
from airflow_provider_sops.sops.retry import NO_RETRY, RetryPolicy
from airflow_provider_sops.sops.transport import Pause, Steps, TransportSettings, connection_failed, header_text

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

#: Connections kept open to one site, by one client.
MAX_CONNECTIONS = 8
#: Seconds for which an idle one is kept: longer than a poll interval, shorter than servers usually keep it.
KEEPALIVE = 30.0


class AsyncSopsClient:
    """Calls SOPS' APIs through one door, over one reused HTTP session. For one event loop.

    :param door: address and credentials.
    :param settings: time limits, TLS and proxies.
    :param retry: how often a call is tried; by default once, as what uses it polls anyway.
    """

    def __init__(self, door: Door, *, settings: TransportSettings | None = None, retry: RetryPolicy = NO_RETRY) -> None:
        self.door = door
        self.settings = settings or TransportSettings()
        self.retry = retry
        connect, read = self.settings.connect_timeout, self.settings.read_timeout
        #: each bounds one piece
        self._timeouts = {"connect": connect, "read": read, "write": read, "pool": read}
        self._answering = Answering()
        self._session: httpx.AsyncHTTPTransport | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> AsyncSopsClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Make the HTTP session ready, so that the first call does not wait for it."""
        await self._open_session()

    async def aclose(self) -> None:
        """Close the HTTP session; the next call opens a new one."""
        session, self._session = self._session, None
        if session is not None:
            await session.aclose()

    async def send(self, call: Call) -> Answer:
        """Send one call, tried again where the policy allows it.

        :raises errors.SopsError: (one of its kinds) when there is no good answer.
        """
        started = time.monotonic()
        tries = 0
        while True:
            tries += 1
            answer, error = await self._try(call)
            if answer is not None:
                return answer
            assert error is not None
            delay = self.retry.delay(call, error, tries, time.monotonic() - started)
            if delay is None:
                raise error
            await asyncio.sleep(delay)

    async def run(self, steps: Steps[T]) -> T:
        """Carry out steps: send each call that they yield, and give them its answer or its error."""
        return await carry_out(steps, self.send)

    async def _try(self, call: Call) -> tuple[Answer | None, errors.SopsError | None]:
        # handed back, not raised inside the except block of an HTTP library's exception, which holds the URL
        reply = await self._send_once(self.door.request(call), call)
        if isinstance(reply, errors.SopsError):
            return None, reply
        try:
            answer = self.door.read(call, reply)
        except errors.SopsError as error:
            return None, self._answering.judge(call, error)
        self._answering.heard(call)
        return answer, None

    async def _send_once(self, request: HttpRequest, call: Call) -> HttpReply | errors.SopsError:
        session = self._session or await self._open_session()
        import httpx

        try:
            async with asyncio.timeout(self.settings.whole_timeout):
                response = await session.handle_async_request(
                    httpx.Request(
                        request.method,
                        request.url,
                        params=request.query or None,
                        headers={"Accept-Encoding": "gzip, deflate", **request.headers},
                        content=request.body,
                        extensions={"timeout": self._timeouts},
                    )
                )
                try:
                    body = await response.aread()
                finally:
                    await response.aclose()
        except (httpx.TimeoutException, TimeoutError) as error:
            sent = not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
            return connection_failed(call, self.door, error, sent=sent, timed_out=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            sent = not isinstance(error, httpx.ConnectError | httpx.ProxyError)
            return connection_failed(call, self.door, error, sent=sent, timed_out=False)
        headers = {name.decode().lower(): header_text(value) for name, value in response.headers.raw}
        return HttpReply(response.status_code, headers, body)

    async def _open_session(self) -> httpx.AsyncHTTPTransport:
        async with self._opening:
            if self._session is None:
                # importing httpx and reading CA certificates takes long enough to be felt by an event loop
                self._session = await asyncio.to_thread(_make_session, self.door, self.settings)
            return self._session


async def carry_out(steps: Steps[T], send: Callable[[Call], Awaitable[Answer]]) -> T:
    """Carry out steps: hand each call that they yield to ``send``, and give them its answer or its error."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = next(steps)
                continue
            try:
                answer = await send(step)
            except errors.SopsError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _make_session(door: Door, settings: TransportSettings) -> httpx.AsyncHTTPTransport:
    """Make what keeps the connections: all of an ``httpx.AsyncClient`` that is of use here.

    The client on top of it looks for redirects, cookies, authentication and proxies, and writes every address into the
    log, at each request; that is a fifth of what a request costs.
    """
    import httpx

    protect_http_logs(door.base_url)
    route = route_to(door.base_url, settings)
    tls = route.tls_context()
    return httpx.AsyncHTTPTransport(
        verify=tls or False,
        trust_env=False,
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE
        ),
        proxy=httpx.Proxy(route.proxy, ssl_context=tls if route.proxy.startswith("https:") else None)
        if route.proxy
        else None,
    )
