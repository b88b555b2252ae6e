# SPDX-License-Identifier: Apache-2.0
"""What the fake posts by itself: when it is due, and the way to its receiver."""

from __future__ import annotations

import base64
import contextlib
import heapq
import http.client
import itertools
import socket
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from airflow_provider_sops.testing.engine.clock import Clock

#: Seconds between two looks at what is due.
_TICK = 0.02
#: Seconds that a connection may take.
_CONNECT_LIMIT = 5.0
_REDIRECTS = 5
_SAFE = "/%:@!$&'()*+,;=~?#[]"
#: What SOPS' HTTP library sends with everything (recorded).
_HEADERS = {
    "User-Agent": "python-requests/2.33.0",
    "Accept-Encoding": "gzip, deflate",
    "Accept": "*/*",
    "Connection": "keep-alive",
}


@dataclass(slots=True)
class Post:
    """Something to be posted.

    :param task_id: the task that it is about; the posts of one task leave one after the other.
    :param retries: how often it is tried again after a failure.
    :param interval: seconds from a failure to the next try, on the fake's clock.
    :param limit: seconds that a receiver has for its answer, by the wall clock; None: any time.
    :param answered: called with the time, the receiver's HTTP status and the body of its answer after each try, under
        the site's lock; None for the status: there was no answer.
    """

    task_id: int
    url: str
    headers: Mapping[str, str]
    data: bytes
    retries: int
    interval: float
    limit: float | None = None
    answered: Callable[[float, int | None, bytes], None] | None = None


def is_delivered(status: int | None) -> bool:
    """Whether a receiver has taken a post, as SOPS sees it. A redirect is followed first."""
    return status is not None and status < 400


class Outbox:
    """Sends posts when they are due, each in a thread of its own, so that no receiver holds up another.

    :param clock: the fake's time.
    :param lock: the site's: callers of :meth:`add` hold it.
    """

    def __init__(self, clock: Clock, lock: AbstractContextManager[object]) -> None:
        self._clock = clock
        self._lock = lock
        self._due: list[tuple[float, int, Post]] = []
        self._numbers = itertools.count()
        self._busy: dict[int, threading.Thread] = {}  # by task
        self._open: set[socket.socket] = set()
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, at: float, post: Post) -> None:
        """Post something at a moment of the fake's clock."""
        heapq.heappush(self._due, (at, next(self._numbers), post))
        self.watch()

    def watch(self) -> None:
        """Something may have to be posted from now on: let tasks end on time although nobody asks for them."""
        self._wanted.set()

    def start(self, bring_up: Callable[[], object]) -> None:
        """Send from now on.

        :param bring_up: brings all tasks up to the present.
        """
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, args=(bring_up,), name="fake-sops-outbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more, and end all threads. What is not sent waits for the next :meth:`start`."""
        if self._thread is None:
            return
        with self._lock:
            wanted = self._wanted.is_set()
            self._stopped.set()
            self._wanted.set()
            under_way = list(self._busy.values())
            for connection in self._open:
                with contextlib.suppress(OSError):  # it is closed already
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, *under_way):
            thread.join()
        self._thread = None
        if not wanted:
            self._wanted.clear()

    def _run(self, bring_up: Callable[[], object]) -> None:
        self._wanted.wait()
        while not self._stopped.is_set():
            bring_up()
            with self._lock:
                self._send_due()
            self._stopped.wait(_TICK)

    def _send_due(self) -> None:
        later = []
        while self._due and self._due[0][0] <= self._clock.now() and not self._stopped.is_set():
            entry = heapq.heappop(self._due)
            post = entry[2]
            if post.task_id in self._busy:
                later.append(entry)
                continue
            thread = threading.Thread(target=self._deliver, args=(post,), name="fake-sops-post", daemon=True)
            self._busy[post.task_id] = thread
            thread.start()
        for entry in later:
            heapq.heappush(self._due, entry)

    def _deliver(self, post: Post) -> None:
        status: int | None
        try:
            status, reply = self._send(post)
        except (OSError, http.client.HTTPException, ValueError):
            status, reply = None, b""
        with self._lock:
            now = self._clock.now()
            if post.answered is not None:
                post.answered(now, status, reply)
            if not is_delivered(status) and post.retries > 0:
                post.retries -= 1
                self.add(now + post.interval, post)
            del self._busy[post.task_id]

    def _send(self, post: Post) -> tuple[int, bytes]:
        """Post, and follow redirects as SOPS' HTTP library does: by GET, without the body.

        :return: HTTP status and body of the last answer.
        :raises OSError: the receiver cannot be reached, or says nothing in time.
        :raises http.client.HTTPException: it does not speak HTTP.
        :raises ValueError: the address cannot be used.
        """
        method, url, headers, data = "POST", post.url, dict(post.headers), post.data
        for _ in range(_REDIRECTS):
            status, location, reply = self._exchange(method, url, headers, data, post.limit)
            if not location or status not in (301, 302, 303, 307, 308):
                break
            url = urllib.parse.urljoin(url, location)
            if status < 307:
                method, headers, data = "GET", {}, b""
        return status, reply

    def _exchange(
        self, method: str, url: str, headers: dict[str, str], data: bytes, limit: float | None
    ) -> tuple[int, str | None, bytes]:
        parts = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=min(limit or _CONNECT_LIMIT, _CONNECT_LIMIT))
        with contextlib.closing(connection):
            connection.connect()
            own = connection.sock
            own.settimeout(limit)
            with self._lock:
                if self._stopped.is_set():
                    raise OSError("stopped")
                self._open.add(own)
            try:
                connection.request(method, _target(parts), data or None, _all_headers(parts, headers, data))
                reply = connection.getresponse()
                body = reply.read()
            finally:
                with self._lock:
                    self._open.discard(own)
        return reply.status, reply.headers.get("Location"), body


def _target(parts: urllib.parse.SplitResult) -> str:
    query = f"?{parts.query}" if parts.query else ""
    return urllib.parse.quote((parts.path or "/") + query, safe=_SAFE)


def _all_headers(parts: urllib.parse.SplitResult, headers: Mapping[str, str], data: bytes) -> dict[str, str]:
    """The headers in the recorded order. A name and password in the address are sent as basic authorization."""
    every = {"Host": parts.netloc.rpartition("@")[2], **_HEADERS}
    if data:
        every["Content-Length"] = str(len(data))
    if parts.username is not None:
        words = (parts.username, parts.password or "")
        every["Authorization"] = basic(*map(urllib.parse.unquote, words))
    return every | dict(headers)


def basic(username: str, password: str) -> str:
    """Give the value of the header for basic authorization."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
