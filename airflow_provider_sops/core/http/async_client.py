# SPDX-License-Identifier: Apache-2.0
"""The asynchronous client: sends one prepared request with httpx and hands back the reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.call_flow import Flow, Report, Sleep, ignore
from airflow_provider_sops.core.http.api_availability import ApiAvailability
from airflow_provider_sops.core.http.endpoint import Endpoint, HttpRequest
from airflow_provider_sops.core.http.network import route_to
from airflow_provider_sops.core.http.reply import HttpReply
from airflow_provider_sops.core.http.retry import NO_RETRY, RetryPolicy
from airflow_provider_sops.core.http.transport import TransportSettings, connection_failed, header_text
from airflow_provider_sops.core.redact import protect_http_logs

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

#: Connections kept open to one site, by one client.
MAX_CONNECTIONS = 8
#: Seconds for which an idle one is kept: longer than a poll interval, shorter than servers usually keep it.
KEEPALIVE = 30.0


class AsyncSopsClient:
    """Calls SOPS' APIs at one endpoint, over one reused HTTP session. For one event loop.

    :param endpoint: address and credentials.
    :param settings: time limits, TLS and proxies.
    :param retry: how often a call is tried; by default once, as what uses it polls anyway.
    """

    def __init__(
        self, endpoint: Endpoint, *, settings: TransportSettings | None = None, retry: RetryPolicy = NO_RETRY
    ) -> None:
        self.endpoint = endpoint
        self.settings = settings or TransportSettings()
        self.retry = retry
        connect, read = self.settings.connect_timeout, self.settings.read_timeout
        #: each bounds one piece
        self._timeouts = {"connect": connect, "read": read, "write": read, "pool": read}
        self._availability = ApiAvailability()
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

    async def run(self, flow: Flow[T], report: Report = ignore) -> T:
        """Carry out a flow, see :func:`carry_out`."""
        return await carry_out(flow, self.send, report)

    async def _try(self, call: Call) -> tuple[Answer | None, errors.SopsError | None]:
        # handed back, not raised inside the except block of an HTTP library's exception, which holds the URL
        reply = await self._send_once(self.endpoint.request(call), call)
        if isinstance(reply, errors.SopsError):
            return None, reply
        try:
            answer = self.endpoint.read(call, reply)
        except errors.SopsError as error:
            return None, self._availability.note_failure(call, error)
        self._availability.note_answer(call)
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
            return connection_failed(call, self.endpoint, error, sent=sent, timed_out=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            sent = not isinstance(error, httpx.ConnectError | httpx.ProxyError)
            return connection_failed(call, self.endpoint, error, sent=sent, timed_out=False)
        headers = {name.decode().lower(): header_text(value) for name, value in response.headers.raw}
        return HttpReply(response.status_code, headers, body)

    async def _open_session(self) -> httpx.AsyncHTTPTransport:
        async with self._opening:
            if self._session is None:
                # importing httpx and reading CA certificates takes long enough to be felt by an event loop
                self._session = await asyncio.to_thread(_make_session, self.endpoint, self.settings)
            return self._session


async def carry_out(flow: Flow[T], send: Callable[[Call], Awaitable[Answer]], report: Report = ignore) -> T:
    """Carry out a flow: hand each call that it yields to ``send``, and give it the answer or the error.

    :param report: takes the log lines and secrets that the flow yields, at once.
    :raises errors.SopsError: what the flow lets through, or raises itself.
    """
    try:
        step = next(flow)
        while True:
            if isinstance(step, Call):
                try:
                    answer = await send(step)
                except errors.SopsError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
                continue
            if isinstance(step, Sleep):
                await asyncio.sleep(step.seconds)
            else:
                report(step)
            step = next(flow)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _make_session(endpoint: Endpoint, settings: TransportSettings) -> httpx.AsyncHTTPTransport:
    """Make what keeps the connections: all of an ``httpx.AsyncClient`` that is of use here.

    The client on top of it looks for redirects, cookies, authentication and proxies, and writes every address into the
    log, at each request; that is a fifth of what a request costs.
    """
    import httpx

    protect_http_logs(endpoint.base_url)
    route = route_to(endpoint.base_url, settings)
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
