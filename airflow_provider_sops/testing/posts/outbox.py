# SPDX-License-Identifier: Apache-2.0
"""When what SOPS posts by itself is due, and the way to its receiver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import requests

from airflow_provider_sops.testing.engine.clock import Clock

#: Seconds between two looks at what is due.
_TICK = 0.02
#: Seconds that a connection may take.
_CONNECT_LIMIT = 5.0
#: What SOPS' HTTP library sends with everything (recorded); here it may be of another version.
_HEADERS = {"User-Agent": "python-requests/2.33.0", "Accept-Encoding": "gzip, deflate"}


@dataclass(slots=True, eq=False)
class Post:
    """Something to be posted.

    :param task_id: the task that it is about; the posts of one task leave one after the other.
    :param content: as :func:`requests.post` takes it: ``json`` or ``data``.
    :param retries: how often it is tried again after a failure.
    :param interval: seconds from a failure to the next try, on the fake's clock.
    :param limit: seconds that a receiver has for its answer, by the wall clock; None: any time.
    :param answered: called with the time, the receiver's HTTP status and the body of its answer after each try, under
        the site's lock; None for the status: there was no answer.
    """

    task_id: int
    url: str
    content: Mapping[str, Any]
    retries: int
    interval: float
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None
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
        self._waiting: list[tuple[float, Post]] = []
        self._busy: set[int] = set()  # tasks
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, at: float, post: Post) -> None:
        """Post something at a moment of the fake's clock."""
        self._waiting.append((at, post))
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
        """Send nothing more, and wait for no receiver. What is not sent waits for the next :meth:`start`."""
        if self._thread is None:
            return
        wanted = self._wanted.is_set()
        self._stopped.set()
        self._wanted.set()
        self._thread.join()
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
        now = self._clock.now()
        for at, post in sorted(self._waiting, key=lambda entry: entry[0]):
            if at > now or self._stopped.is_set():
                return
            if post.task_id not in self._busy:
                self._busy.add(post.task_id)
                self._waiting.remove((at, post))
                threading.Thread(target=self._deliver, args=(post,), name="fake-sops-post", daemon=True).start()

    def _deliver(self, post: Post) -> None:
        status, reply = _send(post)
        with self._lock:
            now = self._clock.now()
            if post.answered is not None:
                post.answered(now, status, reply)
            if not is_delivered(status) and post.retries > 0:
                post.retries -= 1
                self.add(now + post.interval, post)
            self._busy.discard(post.task_id)


def _send(post: Post) -> tuple[int | None, bytes]:
    """Post with the HTTP library that SOPS uses.

    :return: HTTP status and body of the last answer; None: there was none.
    """
    with requests.Session() as session:
        session.trust_env = False  # no proxy and no .netrc of this machine
        session.headers.update(_HEADERS)
        try:
            reply = session.post(
                post.url,
                headers=dict(post.headers),
                auth=post.auth,
                timeout=(_CONNECT_LIMIT, post.limit),
                **post.content,
            )
        except (requests.RequestException, ValueError):  # the second: some addresses that cannot be used
            return None, b""
        return reply.status_code, reply.content
