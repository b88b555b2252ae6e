# SPDX-License-Identifier: Apache-2.0
"""An HTTP session of ``requests`` that goes the way it is told, and whose answers are there in time as a whole.

Is imported when the first request is sent: the libraries take long to load.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager

from airflow_provider_sops.core.http.network import Route

#: Monotonic time by which the request under way must be answered.
_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let requests that are sent in this block be answered in so many seconds, from their first byte to the last."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def open_session(route: Route) -> requests.Session:
    """Make a session for one route."""
    session = requests.Session()
    session.trust_env = False  # nor does it send what stands in ~/.netrc
    session.proxies = {"http": route.proxy, "https": route.proxy} if route.proxy else {}
    session.verify = route.verify is not False
    adapter = _Adapter(route)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    # even where it does not follow a redirect, it would parse its target, and fail on a broken one
    session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
    return session


class _Adapter(HTTPAdapter):
    """Speaks TLS with the route's context, and bounds the time of whole answers."""

    def __init__(self, route: Route) -> None:
        self._tls = route.tls_context()
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._tls is not None:
            kwargs["ssl_context"] = self._tls
        super().init_poolmanager(*args, **kwargs)
        _bound(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy in self.proxy_manager:
            return self.proxy_manager[proxy]
        if self._tls is not None:
            kwargs["ssl_context"] = self._tls
            if proxy.startswith("https:"):
                kwargs["proxy_ssl_context"] = self._tls
        manager = super().proxy_manager_for(proxy, **kwargs)
        _bound(manager)
        return manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        # the context has its certificates; here others would be added to them
        conn.cert_reqs = "CERT_REQUIRED" if verify else "CERT_NONE"


def _bound(manager: PoolManager) -> None:
    """Let all connections of a manager, whatever their kind, read answers no longer than their time."""
    pools: dict[str, Any] = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {
        scheme: type(pool.__name__, (pool,), {"ConnectionCls": type("Bounded", (_Bounded, pool.ConnectionCls), {})})
        for scheme, pool in pools.items()
    }


class _Bounded:
    """A connection whose answers, those of proxies too, are read by :class:`_Response`."""

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        return _Response(sock, *args, **kwargs)


class _Response(http.client.HTTPResponse):
    """An answer that is read from its socket until the deadline. A socket's own limit is for one piece of it."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        whole: Any = self.fp
        self.fp = io.BufferedReader(_InTime(whole.detach(), sock, _deadline.get()))


class _InTime(io.RawIOBase):
    """Reads from a socket, each time for what is left of the time at most."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline
        self._piece_timeout = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long as a whole")
        self._sock.settimeout(left if self._piece_timeout is None else min(left, self._piece_timeout))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
