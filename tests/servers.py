# SPDX-License-Identifier: Apache-2.0
"""Servers that misbehave, a TLS front and a proxy: what a fake SOPS does not do by itself."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import socket
import ssl
import struct
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Server:
    """Accepts TCP connections on a free port and hands each to ``handle`` in a thread of its own."""

    def __init__(self, handle: Callable[[socket.socket], object], tls: ssl.SSLContext | None = None) -> None:
        self.handle, self.tls = handle, tls
        self.accepted = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5)

    def wait(self, seconds: float) -> bool:
        """Wait, but no longer than the server is there."""
        return self._stopped.wait(seconds)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            if self.tls is not None:
                with contextlib.closing(self.tls.wrap_socket(connection, server_side=True)) as secured:
                    self.handle(secured)
            else:
                self.handle(connection)


def read_request(connection: socket.socket) -> bytes:
    """Read one request: its head, and the body that its head promises."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            while len(body) < int(value):
                body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def reset(connection: socket.socket) -> None:
    """Close a connection as a crashed server does: with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def pipe(one: socket.socket, other: socket.socket) -> None:
    """Hand on what comes on either side, until one of them closes."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join(5)


def front(target_port: int, tls: ssl.SSLContext | None = None) -> Server:
    """Make a server that hands on all to another one on this machine, with TLS if wanted."""

    def handle(connection: socket.socket) -> None:
        with contextlib.closing(socket.create_connection(("127.0.0.1", target_port), 5)) as target:
            pipe(connection, target)

    return Server(handle, tls)


class Proxy(Server):
    """An HTTP proxy that notes what it was asked for, and may refuse it.

    :param refuse: status line with which it refuses, such as ``407 Proxy Authentication Required``.
    """

    def __init__(self, refuse: str = "", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(self._proxy, tls)
        self.refuse = refuse
        self.asked: list[str] = []
        self.authorizations: list[str] = []

    def _proxy(self, connection: socket.socket) -> None:
        request = read_request(connection)
        head, _, body = request.partition(b"\r\n\r\n")
        first, *headers = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        self.asked.append(f"{method} {target}")
        self.authorizations += [line.split(": ", 1)[1] for line in headers if line.startswith("Proxy-Authorization")]
        if self.refuse:
            connection.sendall(f"HTTP/1.1 {self.refuse}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            with contextlib.closing(socket.create_connection((host, int(port)), 5)) as server:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                pipe(connection, server)
            return
        parts = urllib.parse.urlsplit(target)
        path = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))
        with contextlib.closing(socket.create_connection((str(parts.hostname), parts.port or 80), 5)) as server:
            server.sendall("\r\n".join([f"{method} {path} {version}", *headers, "", ""]).encode("latin-1") + body)
            pipe(connection, server)


def make_certificate(folder: Path) -> Path:
    """Make a self-signed certificate for 127.0.0.1 with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake SOPS")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def hashed_folder(certificate: Path, folder: Path) -> Path:
    """Lay a certificate of :func:`make_certificate` into a folder under the name by which OpenSSL finds it."""
    # the hash is that of the subject's canonical form: a set with one sequence of an id and a lower-case text
    text = b"fake sops"
    pair = b"\x06\x03\x55\x04\x03\x0c" + bytes([len(text)]) + text
    name = b"\x31" + bytes([len(pair) + 2]) + b"\x30" + bytes([len(pair)]) + pair
    number = int.from_bytes(hashlib.sha1(name).digest()[:4], "little")  # noqa: S324 (it is OpenSSL's)
    folder.mkdir(exist_ok=True)
    (folder / f"{number:08x}.0").write_bytes(certificate.read_bytes())
    return folder


def tls_context(certificate: Path) -> ssl.SSLContext:
    """Make what a server needs to speak TLS with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def http_reply(body: bytes, status: str = "200 OK", **headers: Any) -> bytes:
    """Write an HTTP reply with JSON."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
