# SPDX-License-Identifier: Apache-2.0
"""The asynchronous client on the wire: time limits, TLS, proxies, packed answers, one session, no secret in errors."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.connection import parse_connection
from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.calls import make_call
from airflow_provider_sops.core.http.async_client import AsyncSopsClient
from airflow_provider_sops.testing import FakeSops
from tests import secrets
from tests.clients import fields_of
from tests.servers import Proxy, Server, front, http_reply, make_certificate, read_request, reset, tls_context

FINE = json.dumps({"result": True, "data": {"state": "RUNNING"}, "code": 0}).encode()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secured(sops: FakeSops, certificate: Path) -> Iterator[str]:
    """The fake SOPS behind TLS with a certificate that nobody signed."""
    with front(int(sops.url.rpartition(":")[2]), tls_context(certificate)) as server:
        yield server.url


def ask(sops: FakeSops, api_type: str, url: str | None = None, times: int = 1, **extra: Any) -> Answer:
    """Ask for a task's status by one client, once or several times.

    :param url: address of what stands in front of the fake.
    """
    fields = fields_of(sops, api_type, **extra)
    fields["host"] = fields["host"].replace(sops.url, url or sops.url)
    site = parse_connection(**fields)
    call = make_call("get_task_status", {"task_id": 5}, bk_biz_id=2)

    async def send() -> Answer:
        async with AsyncSopsClient(site.endpoint, settings=site.settings) as client:
            for _ in range(times - 1):
                await client.send(call)
            return await client.send(call)

    return asyncio.run(send())


def refused(*args: Any, **extra: Any) -> errors.SopsConnectionError | errors.SopsTimeoutError:
    """Ask for what gives no answer, and check that the error tells no secret."""
    with pytest.raises((errors.SopsConnectionError, errors.SopsTimeoutError)) as caught:
        ask(*args, **extra)
    assert isinstance(caught.value.__cause__, Exception)
    for text in (str(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)):
        assert secrets.APP_SECRET not in text
        assert secrets.PROXY_PASSWORD not in text
    error = caught.value
    assert isinstance(error, errors.SopsConnectionError | errors.SopsTimeoutError)
    return error


def test_one_connection_serves_all_calls(sops: FakeSops, api_type: str) -> None:
    sops.faults.add(kind="function", times=None, function=lambda request: (200, json.loads(FINE)))
    assert ask(sops, api_type, times=5).data == {"state": "RUNNING"}
    assert sops.connections == 1


def test_a_packed_answer(sops: FakeSops, api_type: str) -> None:
    def handle(connection: socket.socket) -> None:
        asked = read_request(connection)
        assert b"gzip" in asked
        connection.sendall(http_reply(gzip.compress(FINE), **{"Content-Encoding": "gzip"}))

    with Server(handle) as server:
        assert ask(sops, api_type, server.url).data == {"state": "RUNNING"}


def test_nobody_listens(sops: FakeSops, api_type: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    error = refused(sops, api_type, url)
    assert f"could not get an answer from {url}/" in str(error)
    assert error.may_have_been_sent is False


def test_no_answer_in_time(sops: FakeSops, api_type: str) -> None:
    sops.faults.add(kind="latency", seconds=1)
    error = refused(sops, api_type, timeout=0.2)
    assert "no answer in time" in str(error)
    assert error.may_have_been_sent is True


def test_half_an_answer_in_time(sops: FakeSops, api_type: str) -> None:
    def half(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(http_reply(FINE)[:-10])
        server.wait(5)

    with Server(half) as server:
        error = refused(sops, api_type, server.url, timeout=0.2)
        assert isinstance(error, errors.SopsTimeoutError)
        assert error.may_have_been_sent is True


def test_an_answer_that_trickles(sops: FakeSops, api_type: str) -> None:
    def trickle(connection: socket.socket) -> None:
        read_request(connection)
        for byte in http_reply(FINE):
            connection.sendall(bytes([byte]))
            server.wait(0.05)

    with Server(trickle) as server:
        error = refused(sops, api_type, server.url, timeout=0.2)
        assert isinstance(error, errors.SopsTimeoutError)
        assert error.may_have_been_sent is True


def test_a_reset(sops: FakeSops, api_type: str) -> None:
    def handle(connection: socket.socket) -> None:
        read_request(connection)
        reset(connection)

    with Server(handle) as server:
        assert refused(sops, api_type, server.url).may_have_been_sent is True


@pytest.mark.parametrize("kind", ["drop", "drop_after", "truncate"])
def test_a_connection_that_closes(sops: FakeSops, api_type: str, kind: str) -> None:
    sops.faults.add(kind=kind)
    assert refused(sops, api_type).may_have_been_sent is True


def test_what_is_not_http(sops: FakeSops, api_type: str) -> None:
    with Server(lambda connection: connection.sendall(b"220 mail.example.com ESMTP\r\n")) as server:
        assert isinstance(refused(sops, api_type, server.url), errors.SopsConnectionError)


def test_a_redirect_is_not_followed(sops: FakeSops, api_type: str) -> None:
    sops.faults.add(kind="redirect", times=None)
    with pytest.raises(errors.SopsInvalidAnswerError, match="redirects"):
        ask(sops, api_type)
    assert sops.count() == 1


def test_an_unknown_certificate_is_refused(sops: FakeSops, secured: str, api_type: str) -> None:
    error = refused(sops, api_type, secured)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert error.may_have_been_sent is False
    assert sops.count() == 0


def test_verification_by_a_bundle_or_not_at_all(sops: FakeSops, secured: str, certificate: Path, api_type: str) -> None:
    sops.faults.add(kind="function", times=None, function=lambda request: (200, json.loads(FINE)))
    assert ask(sops, api_type, secured, verify=str(certificate)).data
    assert ask(sops, api_type, secured, verify=False).data


def test_a_tunnel_through_a_proxy(sops: FakeSops, secured: str, certificate: Path, api_type: str) -> None:
    sops.faults.add(kind="function", times=None, function=lambda request: (200, json.loads(FINE)))
    with Proxy() as proxy:
        proxies = {"https": proxy.url.replace("//", f"//me:{secrets.PROXY_PASSWORD}@")}
        assert ask(sops, api_type, secured, verify=str(certificate), proxies=proxies).data
    assert proxy.asked == [f"CONNECT {secured.removeprefix('https://')}"]
    assert proxy.authorizations[0].startswith("Basic ")


def test_a_proxy_that_refuses(sops: FakeSops, secured: str, api_type: str) -> None:
    with Proxy("407 Proxy Authentication Required") as proxy:
        proxies = {"https": proxy.url.replace("//", f"//me:{secrets.PROXY_PASSWORD}@")}
        error = refused(sops, api_type, secured, proxies=proxies)
        assert "407 Proxy Authentication Required" in str(error)
        assert error.may_have_been_sent is False


def test_which_proxy(sops: FakeSops, api_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection's; else the environment's, unless the host is one of those that need none."""
    sops.faults.add(kind="function", times=None, function=lambda request: (200, json.loads(FINE)))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Proxy() as named, Proxy() as all_else:
        monkeypatch.setenv("http_proxy", all_else.url.removeprefix("http://"))
        assert ask(sops, api_type, proxies={"all": named.url}).data
        assert (len(named.asked), len(all_else.asked)) == (1, 0)
        assert ask(sops, api_type).data
        assert (len(named.asked), len(all_else.asked)) == (1, 1)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert ask(sops, api_type).data
        assert (len(named.asked), len(all_else.asked)) == (1, 1)


def test_no_secret_in_the_libraries_logs(sops: FakeSops, api_type: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sops.faults.add(kind="function", times=None, function=lambda request: (200, json.loads(FINE)))
    ask(sops, api_type)
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    assert secrets.APP_SECRET not in caplog.text
