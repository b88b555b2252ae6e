# SPDX-License-Identifier: Apache-2.0
"""A server that takes what the fake posts by itself."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclasses.dataclass
class Received:
    """A request that has come."""

    method: str
    path: str
    headers: dict[str, str]
    body: str

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Receiver:
    """Listens on a free port and keeps what comes.

    :param answers: path -> HTTP status; 302 leads to ``/redirected``. Others are answered with 200.
    :param hold: called before each answer.
    """

    def __init__(self, answers: Mapping[str, int] | None = None, hold: Callable[[], object] = lambda: None) -> None:
        self._received: list[Received] = []
        self._came = threading.Condition()
        receiver, known = self, dict(answers or {})

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                received = Received(self.command, self.path, dict(self.headers.items()), body)
                with receiver._came:
                    receiver._received.append(received)
                    receiver._came.notify_all()
                hold()
                status = known.get(self.path, 200)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/redirected")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def received(self) -> list[Received]:
        """What has come so far."""
        with self._came:
            return list(self._received)

    def wait_for(self, count: int, path: str | None = None) -> list[Received]:
        """Wait until so many requests have come.

        :param path: only those to this path count.
        :raises AssertionError: they do not come.
        """

        def found() -> list[Received]:
            return [received for received in self._received if path in (None, received.path)]

        with self._came:
            assert self._came.wait_for(lambda: len(found()) >= count, timeout=20), self._received
            return found()
