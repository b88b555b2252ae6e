# SPDX-License-Identifier: Apache-2.0
"""A worker and a triggerer reach a site alike: one table of a site's settings, run through both clients, and what both
make of answers that come slowly or speak Chinese."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.connection import parse_connection
from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import make_call
from airflow_provider_sops.core.http.async_client import AsyncSopsClient
from airflow_provider_sops.core.http.client import SopsClient
from airflow_provider_sops.core.http.network import CA_VARIABLES, route_to
from airflow_provider_sops.core.http.retry import NO_RETRY
from airflow_provider_sops.core.http.transport import TransportSettings
from tests import secrets
from tests.servers import Proxy, Server, hashed_folder, http_reply, make_certificate, read_request, tls_context

FINE = json.dumps({"result": True, "data": {"state": "RUNNING"}, "code": 0}).encode()
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
Ask = Callable[..., Any]


def ask_as_worker(fields: dict[str, Any]) -> Any:
    site = parse_connection(**fields)
    with SopsClient(site.endpoint, bk_biz_id=2, settings=site.settings, retry=NO_RETRY) as client:
        return client.call("get_task_status", task_id=5).data


def ask_as_triggerer(fields: dict[str, Any]) -> Any:
    site = parse_connection(**fields)

    async def send() -> Any:
        async with AsyncSopsClient(site.endpoint, settings=site.settings) as client:
            return (await client.send(make_call("get_task_status", {"task_id": 5}, bk_biz_id=2))).data

    return asyncio.run(send())


@pytest.fixture(params=[ask_as_worker, ask_as_triggerer], ids=["worker", "triggerer"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Ask a server for a task's status, by each of the two clients."""

    def ask(url: str, **extra: Any) -> Any:
        fields = {"host": f"{url}/api/bk-sops/prod", "login": "demo-app", "password": secrets.APP_SECRET}
        return request.param(fields | {"extra": {"bk_username": "admin", **extra}})

    return ask


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that says nothing of the network."""
    for name in (*PROXY_VARIABLES, *map(str.upper, PROXY_VARIABLES), *CA_VARIABLES, "NETRC", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


# ---- the table ----


@dataclass
class Case:
    """Settings of a site, and by which way its requests go. Words in braces are what :class:`World` has."""

    name: str
    #: what answers: ``direct``; ``proxy`` or ``other proxy`` on the way; else the field that cannot be used
    way: str
    environment: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    tls: bool = False
    #: words of the error
    says: str = ""

    def __str__(self) -> str:
        return self.name


@dataclass
class World:
    """A server with and without TLS, two proxies, and certificates, good and bad."""

    port: int
    plain: str
    secured: str
    proxy: str
    other: str
    tls_proxy: str
    ca: str
    ca_folder: str
    other_ca: str
    empty: str
    broken: str
    folder: str
    asked: list[str]
    proxies: dict[str, Proxy]

    def fill(self, value: Any) -> Any:
        """Put what the world has into the texts of a value."""
        if isinstance(value, dict):
            return {key: self.fill(one) for key, one in value.items()}
        return value.format(**vars(self)) if isinstance(value, str) else value

    @property
    def ways(self) -> list[str]:
        """The proxies that were asked."""
        return [name for name, proxy in self.proxies.items() if proxy.asked]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def world(certificate: Path, tmp_path: Path) -> Iterator[World]:
    asked: list[str] = []

    def answer(connection: socket.socket) -> None:
        head = read_request(connection).partition(b"\r\n\r\n")[0].decode()
        asked.append(head)
        connection.sendall(http_reply(FINE, Connection="close"))

    empty, broken, folder = tmp_path / "empty.pem", tmp_path / "broken.pem", tmp_path / "folder"
    empty.write_text("")
    broken.write_text("-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n")
    folder.mkdir()
    (folder / "ca.pem").write_bytes(certificate.read_bytes())
    with ExitStack() as stack:
        plain, secured = (stack.enter_context(Server(answer, tls)) for tls in (None, tls_context(certificate)))
        proxy, other = stack.enter_context(Proxy()), stack.enter_context(Proxy())
        tls_proxy = stack.enter_context(Proxy(tls=tls_context(certificate)))
        (tmp_path / "other").mkdir()
        yield World(
            port=plain.port,
            plain=plain.url,
            secured=secured.url,
            proxy=proxy.url.removeprefix("http://"),
            other=other.url.removeprefix("http://"),
            tls_proxy=tls_proxy.url,
            ca=str(certificate),
            ca_folder=str(hashed_folder(certificate, tmp_path / "hashed")),
            other_ca=str(make_certificate(tmp_path / "other")),
            empty=str(empty),
            broken=str(broken),
            folder=str(folder),
            asked=asked,
            proxies={"proxy": proxy, "other proxy": other, "TLS proxy": tls_proxy},
        )


PROXIED = {"HTTP_PROXY": "http://{proxy}"}
CASES = [
    Case("nothing is said", "direct"),
    # which proxy
    *(Case(f"{name}", "proxy", {name: "http://{proxy}"}) for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY")),
    Case("a proxy without a scheme", "proxy", {"all_proxy": "{proxy}"}),
    Case("the lower-case variable wins", "proxy", {"HTTP_PROXY": "http://{other}", "http_proxy": "http://{proxy}"}),
    Case("that of the scheme wins", "proxy", {"ALL_PROXY": "http://{other}", "HTTP_PROXY": "http://{proxy}"}),
    Case("that of another scheme does not count", "direct", {"HTTPS_PROXY": "http://{proxy}"}),
    Case("the connection's wins", "proxy", {"http_proxy": "http://{other}"}, {"proxies": "http://{proxy}"}),
    Case("the connection's for all wins", "proxy", {"http_proxy": "http://{other}"}, {"proxies": {"all": "{proxy}"}}),
    Case(
        "the connection's for the scheme wins",
        "proxy",
        extra={"proxies": {"all": "http://{other}", "http": "http://{proxy}"}},
    ),
    Case(
        "the connection's for another scheme",
        "other proxy",
        {"ALL_PROXY": "{other}"},
        {"proxies": {"https": "{proxy}"}},
    ),
    Case("a tunnel", "proxy", {"HTTPS_PROXY": "http://{proxy}"}, {"verify": "{ca}"}, tls=True),
    Case("a tunnel for all", "proxy", {}, {"verify": "{ca}", "proxies": {"all": "{proxy}"}}, tls=True),
    Case("a proxy that speaks TLS", "TLS proxy", {"http_proxy": "{tls_proxy}", "SSL_CERT_FILE": "{ca}"}),
    Case("a proxy that is none", "http_proxy", {"HTTP_PROXY": "ftp://{proxy}"}, says="must be an address like http"),
    Case("a SOCKS proxy without its packages", "all_proxy", {"ALL_PROXY": "socks5://{proxy}"}, says="httpx[socks]"),
    Case("a SOCKS proxy of the connection", "proxies", {}, {"proxies": "socks5h://{proxy}"}, says="requests[socks]"),
    # none
    *(
        Case(f"NO_PROXY={entry}", "direct", PROXIED | {"NO_PROXY": entry})
        for entry in ("127.0.0.1", "127.0.0.0/8", "*", "127.0.0.1:{port}", "a.example.com, 127.0.0.0/24")
    ),
    Case("no_proxy", "direct", PROXIED | {"no_proxy": "127.0.0.0/8"}),
    Case("NO_PROXY for all proxies", "direct", {"ALL_PROXY": "http://{proxy}", "NO_PROXY": "127.0.0.0/8"}),
    *(
        Case(f"NO_PROXY={entry}", "proxy", PROXIED | {"NO_PROXY": entry})
        for entry in ("10.0.0.0/8", "127.0.0.1:1", ".example.com", "::1", "7.0.0.1")
    ),
    Case("NO_PROXY, and the connection has one", "proxy", {"NO_PROXY": "*"}, {"proxies": "http://{proxy}"}),
    # certificates
    Case("a certificate that nobody knows", "unknown certificate", tls=True),
    *(Case(name, "direct", {name: "{ca}"}, tls=True) for name in CA_VARIABLES[:3]),
    *(Case(f"{name}, a folder", "direct", {name: "{ca_folder}"}, tls=True) for name in CA_VARIABLES),
    Case("SSL_CERT_DIR, several", "direct", {"SSL_CERT_DIR": "/nowhere:{ca_folder}"}, tls=True),
    Case("verify, a file", "direct", extra={"verify": "{ca}"}, tls=True),
    Case("verify, a folder", "direct", extra={"verify": "{ca_folder}"}, tls=True),
    Case("another's certificate", "unknown certificate", extra={"verify": "{other_ca}"}, tls=True),
    Case(
        "the connection's wins over the variable",
        "direct",
        {"SSL_CERT_FILE": "{other_ca}"},
        {"verify": "{ca}"},
        tls=True,
    ),
    Case("the first variable wins", "direct", {"REQUESTS_CA_BUNDLE": "{ca}", "SSL_CERT_FILE": "{other_ca}"}, tls=True),
    Case("nothing is verified", "direct", {"REQUESTS_CA_BUNDLE": "{broken}"}, {"verify": False}, tls=True),
    Case("the variable does not matter without TLS", "direct", {"REQUESTS_CA_BUNDLE": "{broken}"}),
    *(
        Case(f"verify is {what}", "verify", extra={"verify": path}, tls=tls, says=says)
        for what, path, says in (
            ("not there", "/nowhere/ca.pem", "'/nowhere/ca.pem' is not there"),
            ("empty", "{empty}", "holds no certificates that can be read"),
            ("broken", "{broken}", "holds no certificates that can be read"),
            ("a folder without hashed names", "{folder}", "run 'openssl rehash"),
        )
        for tls in (True, False)
    ),
    *(
        Case(f"{name} is {what}", name, {name: path}, tls=True, says=says)
        for name in CA_VARIABLES
        for what, path, says in (
            ("not there", "/nowhere/ca.pem", "(a variable of this process' environment) is no"),
            ("a folder without hashed names", "{folder}", "run 'openssl rehash"),
        )
    ),
    *(
        Case(f"{name} is broken", name, {name: "{broken}"}, tls=True, says="holds no certificates that can be read")
        for name in CA_VARIABLES[:3]
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_site_is_reached_alike(ask: Ask, case: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("socks", "socksio"):
        monkeypatch.setitem(sys.modules, package, None)
    for name, value in case.environment.items():
        monkeypatch.setenv(name, world.fill(value))
    extra = world.fill(case.extra)
    url = world.secured if case.tls else world.plain
    if case.way in ("direct", "proxy", "other proxy", "TLS proxy"):
        assert ask(url, **extra) == {"state": "RUNNING"}
        assert world.ways == ([] if case.way == "direct" else [case.way])
        assert len(world.asked) == 1
        return
    kind = errors.SopsConnectionError if case.way == "unknown certificate" else errors.SopsConfigError
    with pytest.raises(kind) as caught:
        ask(url, **extra)
    assert (world.asked, world.ways) == ([], [])
    if isinstance(caught.value, errors.SopsConfigError):
        assert caught.value.field == case.way
        assert case.says in caught.value.problem
    else:
        assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)


def test_a_password_file_does_not_count(
    ask: Ask, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passwords = tmp_path / ".netrc"
    passwords.write_text("machine 127.0.0.1 login somebody password else\n")
    passwords.chmod(0o600)
    for variable in ("", str(passwords)):
        monkeypatch.setenv("NETRC", variable)
        assert ask(world.plain, headers={"Authorization": "Bearer of-the-site"})
        assert ask(world.plain)
    with_header, without, *more = world.asked
    assert "Authorization: Bearer of-the-site" in with_header.replace("authorization", "Authorization")
    assert "Basic" not in "".join([with_header, without, *more])


@pytest.mark.parametrize(
    ("host", "no_proxy", "is_direct"),
    [
        ("sops.example.com", "example.com", True),
        ("sops.example.com", ".example.com", True),
        ("sops.example.com", "*.example.com", True),
        ("SOPS.Example.com", "EXAMPLE.COM", True),
        ("sops.example.com", "sops.example.com:443", True),
        ("sops.example.com", "sops.example.com:80", False),
        ("sops.example.com:8443", "sops.example.com:8443", True),
        ("sops.example.com", "a.com b.com,  example.com.", True),
        ("badexample.com", "example.com", False),
        ("example.com", "sops.example.com", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.0.0.0/8:443", True),
        ("10.1.2.3", "10.1.2.0/255.255.255.0", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.example.com", "10.0.0.0/8", False),
        ("[fd00::1]", "fd00::/8", True),
        ("[fd00::1]:8443", "[fd00::1]:8443", True),
        ("[fd00::1]", "fd00::1", True),
        ("[fd00::1]", "10.0.0.0/8", False),
        ("sops.example.com", "", False),
        ("sops.example.com", " , ", False),
        ("sops.example.com", ".", False),
    ],
)
def test_who_needs_no_proxy(host: str, no_proxy: str, is_direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    route = route_to(f"https://{host}/prod", TransportSettings())
    assert route.proxy == ("" if is_direct else "http://proxy.example.com:3128")


# ---- answers ----


def test_a_chinese_error_header_can_be_read(ask: Ask) -> None:
    # all bytes that a sign of three may hold
    message = "应用无权限：请在开发者中心申请。" + "".join(map(chr, range(0x4E00, 0x4E40)))

    def refuse(connection: socket.socket) -> None:
        read_request(connection)
        head = "HTTP/1.1 403 Forbidden\r\nX-Bkapi-Error-Code: 1640301\r\nContent-Length: 0\r\n"
        connection.sendall(f"{head}X-Bkapi-Error-Message: {message}\r\n\r\n".encode())

    with Server(refuse) as server, pytest.raises(errors.SopsApiPermissionError) as caught:
        ask(server.url)
    assert caught.value.remote_message == message


def in_one(reply: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in reply]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
TRICKLES: dict[str, list[bytes]] = {
    "the head": [HEAD, *in_one(b"X-Slow: " + b"x" * 200)],
    "an endless head": [HEAD] + [b"X-Slow: x\r\n"] * 100,
    "the body": [HEAD, b"Content-Length: 200\r\n\r\n", *in_one(b" " * 200)],
    "a body without a length": [HEAD, b"Connection: close\r\n\r\n", *in_one(b" " * 200)],
    "chunks": [HEAD, b"Transfer-Encoding: chunked\r\n\r\n", *([b"1\r\n \r\n"] * 100)],
    "the length of a chunk": [HEAD, b"Transfer-Encoding: chunked\r\n\r\n", *in_one(b"0" * 200)],
    "the answer of a proxy": [b"HTTP/1.1 200 Connection established\r\n", *([b"X-Slow: x\r\n"] * 100)],
}


@pytest.mark.parametrize("pieces", TRICKLES.values(), ids=TRICKLES)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_an_answer_that_trickles_ends(ask: Ask, pieces: list[bytes], tls: bool, certificate: Path) -> None:
    """Each piece comes in time; the whole would take many times as long."""

    def trickle(connection: socket.socket) -> None:
        read_request(connection)
        for piece in pieces:
            connection.sendall(piece)
            if server.wait(0.05):
                return

    of_a_proxy = b"established" in pieces[0]
    with Server(trickle, tls_context(certificate) if tls else None) as server:
        extra: dict[str, Any] = {"timeout": 0.3, "verify": str(certificate)}
        if of_a_proxy:
            extra["proxies"] = server.url
        for _ in range(10):
            with pytest.raises(errors.SopsTimeoutError) as caught:
                ask("https://sops.example.com" if of_a_proxy else server.url, **extra)
            if caught.value.may_have_been_sent:  # else a busy machine took too long to connect
                break
    assert "no answer in time" in str(caught.value)
