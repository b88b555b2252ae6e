# SPDX-License-Identifier: Apache-2.0
"""HTTP under the fake SOPS: threads, connections, bytes."""

from __future__ import annotations

import socket
import urllib.parse
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from airflow_provider_sops.testing import control, endpoints
from airflow_provider_sops.testing.endpoints import HTML, Incoming, Reply
from airflow_provider_sops.testing.page import NOT_FOUND_PAGE, SITE_PAGE, task_page
from airflow_provider_sops.testing.responder import Drop
from airflow_provider_sops.testing.simulated import SimulatedSops


class Server(ThreadingHTTPServer):
    """Listens, and keeps track of its open connections.

    :raises OSError: the address cannot be listened on.
    :ivar open: the connections that are open.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], fake: SimulatedSops) -> None:
        self.fake = fake
        self.open: set[socket.socket] = set()
        super().__init__(address, Handler)

    def close_connections(self) -> None:
        """Close what clients keep alive: they notice that the server is gone."""
        for connection in self.open.copy():
            _shut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error."""


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together
    server: Server

    def setup(self) -> None:
        """Number the connection, unless it is one of the control plane."""
        super().setup()
        self.server.open.add(self.connection)
        self.number = 0 if self._is_control() else self.server.fake.log.connect()

    def _is_control(self) -> bool:
        try:
            return b" /fake/" in self.connection.recv(64, socket.MSG_PEEK)
        except OSError:
            return False

    def finish(self) -> None:
        """Forget the connection."""
        self.server.open.discard(self.connection)
        with suppress(OSError):  # the client has gone before everything was written
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the request log is kept by the fake."""

    def version_string(self) -> str:
        """The name of SOPS' web server."""
        return "gunicorn"

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The ``Date`` of an answer, by the fake's own clock."""
        return super().date_time_string(self.server.fake.clock.now() if timestamp is None else timestamp)

    def do_GET(self) -> None:
        """Answer any request."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        if parts.path.startswith("/fake/"):
            status, body = control.handle(self.server.fake, self.command, parts.path, raw)
            self._send(Reply(status, body))
            return
        address = endpoints.find(parts.path)
        if address is None:
            self._send(self._page(parts.path, query))
            return
        incoming = Incoming(address, self.command, parts.path, query, raw, self.headers)
        try:
            reply, kinds = self.server.fake.responder.respond(incoming, self.number)
        except Drop:
            self._close()
            return
        if address.endpoint != endpoints.DIRECT:
            reply.headers.setdefault("X-Bkapi-Request-Id", uuid.uuid4().hex)
        self._send(reply, kinds)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = do_GET

    def _page(self, path: str, query: dict[str, str]) -> Reply:
        fake = self.server.fake
        if path == "/":
            return Reply(200, SITE_PAGE, {}, HTML)
        if not path.startswith(("/taskflow/execute/", "/function/execute/")):
            return endpoints.page_not_found(fake.url + path)
        wanted = query.get("instance_id", "")
        with fake.site.lock:
            task = fake.site.task(int(wanted)) if wanted.isdigit() else None
            if task is None:
                return Reply(404, NOT_FOUND_PAGE, {}, HTML)
            return Reply(200, task_page(task, fake.site.projects[task.project_id], fake.clock.now()), {}, HTML)

    def _close(self) -> None:
        self.close_connection = True
        _shut(self.connection)

    def _send(self, reply: Reply, kinds: frozenset[str] = frozenset()) -> None:
        data = reply.data()
        half = data[: max(1, len(data) // 2)]
        if "not_json" in kinds:
            data = half
        self.send_response_only(reply.status)
        self.send_header("Server", self.version_string())
        if "Date" not in reply.headers:
            self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Vary", "Accept-Language, Cookie")
        self.send_header("Content-Language", self._language())
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(half if "truncate" in kinds else data)
        self.wfile.flush()
        if "truncate" in kinds:
            self._close()

    def _language(self) -> str:
        wanted = self.headers.get("Accept-Language", "").lower()
        cookie = self.headers.get("Cookie", "")
        return "en" if wanted.startswith("en") or "blueking_language=en" in cookie else "zh-hans"
