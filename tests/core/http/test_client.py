# SPDX-License-Identifier: Apache-2.0
"""The synchronous client on the wire: time limits, TLS, proxies, one session, and which calls are tried again."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.connection import parse_connection
from airflow_provider_sops.core import errors
from airflow_provider_sops.core.http.client import SopsClient
from airflow_provider_sops.core.http.retry import NO_RETRY, RetryPolicy
from airflow_provider_sops.testing import FakeSops, Request
from tests import secrets
from tests.clients import client_of, connect_to, fields_of, site_of
from tests.conftest import sample
from tests.servers import Proxy, Server, front, http_reply, make_certificate, read_request, reset, tls_context
from tests.times import MovedTime, move_time

FINE = json.dumps({"result": True, "data": {"state": "RUNNING"}, "code": 0}).encode()


def port_of(sops: FakeSops) -> int:
    return int(sops.url.rpartition(":")[2])


def client_at(sops: FakeSops, url: str, api_type: str, retry: RetryPolicy | None = None, **extra: Any) -> SopsClient:
    """Make a client of a endpoint that stands behind another address."""
    fields = fields_of(sops, api_type, **extra)
    fields["host"] = fields["host"].replace(sops.url, url)
    return client_of(parse_connection(**fields), retry or NO_RETRY)


@contextlib.contextmanager
def failing(client: SopsClient, error: type[errors.SopsError], name: str = "get_task_status") -> Iterator[Any]:
    params: dict[str, Any] = {"task_id": 5}
    if name == "create_task":
        params = {"template_id": 101, "name": "made once"}
    with client, pytest.raises(error) as caught:
        client.call(name, **params)
    assert type(caught.value) is error
    assert caught.value.api == name
    yield caught.value


# ---- nobody there, or not in time ----


def test_nobody_listens(sops: FakeSops, api_type: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with failing(client_at(sops, url, api_type), errors.SopsConnectionError) as error:
        assert f"could not get an answer from {url}/" in str(error)
        assert "Connection refused" in str(error)
        assert "Check the connection's host, proxies and verify, and that the workers may reach it." in str(error)
        assert error.may_have_been_sent is False
        assert isinstance(error.__cause__, Exception)


def test_an_unknown_host(sops: FakeSops, api_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with failing(client_at(sops, "http://sops.invalid", api_type), errors.SopsConnectionError) as error:
        assert "sops.invalid" in str(error)
        assert "Name or service not known" in str(error)
        assert error.may_have_been_sent is False


def test_a_connection_that_does_not_come_about_in_time(sops: FakeSops, api_type: str) -> None:
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # fills the queue of those who want in; nobody lets them in
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        client = client_at(sops, f"http://127.0.0.1:{full.getsockname()[1]}", api_type, timeout=0.2)
        caught: list[errors.SopsError] = []

        def call() -> None:
            with client, pytest.raises(errors.SopsTimeoutError) as raised:
                client.call("get_task_status", task_id=5)
            caught.append(raised.value)

        # in a thread: without a time limit it would take minutes
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(10)
        (error,) = caught
        assert isinstance(error, errors.SopsTimeoutError)
        assert "could not connect to http://127.0.0.1" in str(error)
        assert "in time" in str(error)
        assert "raise timeout in the connection's extra" in str(error)
        assert error.may_have_been_sent is False


def test_no_answer_in_time(sops: FakeSops, api_type: str) -> None:
    sops.faults.add(kind="latency", seconds=1)
    with failing(connect_to(sops, api_type, timeout=0.2), errors.SopsTimeoutError) as error:
        assert "no answer in time" in str(error)
        assert error.may_have_been_sent is True


def test_half_an_answer_in_time(sops: FakeSops, api_type: str) -> None:
    def half(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(http_reply(FINE)[:-10])
        server.wait(5)

    with Server(half) as server:
        client = client_at(sops, server.url, api_type, timeout=0.2)
        with failing(client, errors.SopsTimeoutError) as error:
            assert error.may_have_been_sent is True


def test_a_reset(sops: FakeSops, api_type: str) -> None:
    def handle(connection: socket.socket) -> None:
        read_request(connection)
        reset(connection)

    with Server(handle) as server, failing(client_at(sops, server.url, api_type), errors.SopsConnectionError) as error:
        assert "Connection reset by peer" in str(error)
        assert error.may_have_been_sent is True


@pytest.mark.parametrize("kind", ["drop", "drop_after", "truncate"])
def test_a_connection_that_closes(sops: FakeSops, api_type: str, kind: str) -> None:
    sops.faults.add(kind=kind)
    with failing(connect_to(sops, api_type), errors.SopsConnectionError) as error:
        assert "Check the connection's host" in str(error)
        assert error.may_have_been_sent is True


def test_what_is_not_http(sops: FakeSops, api_type: str) -> None:
    with Server(lambda connection: connection.sendall(b"220 mail.example.com ESMTP\r\n")) as server:
        client = client_at(sops, server.url, api_type)
        with failing(client, errors.SopsConnectionError) as error:
            assert "BadStatusLine" in str(error)


def test_the_time_limits_of_a_connection(sops: FakeSops) -> None:
    settings = site_of(sops).settings
    assert (settings.connect_timeout, settings.read_timeout) == (10, 30)
    settings = site_of(sops, timeout="2.5").settings
    assert (settings.connect_timeout, settings.read_timeout) == (2.5, 2.5)


# ---- TLS ----


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secured(sops: FakeSops, certificate: Path) -> Iterator[str]:
    """The fake SOPS behind TLS with a certificate that nobody signed."""
    with front(port_of(sops), tls_context(certificate)) as server:
        yield server.url


def test_an_unknown_certificate_is_refused(sops: FakeSops, secured: str, api_type: str) -> None:
    with failing(client_at(sops, secured, api_type), errors.SopsConnectionError) as error:
        assert "CERTIFICATE_VERIFY_FAILED" in str(error)
        assert "verify" in str(error)
        assert error.may_have_been_sent is False
    assert sops.count() == 0


@pytest.mark.parametrize("verify", [False, "false", "0"])
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_verification_can_be_turned_off(sops: FakeSops, secured: str, api_type: str, verify: Any) -> None:
    with client_at(sops, secured, api_type, verify=verify) as client:
        assert client.call("get_user_project_list").data


def test_a_ca_bundle(sops: FakeSops, secured: str, api_type: str, certificate: Path) -> None:
    with client_at(sops, secured, api_type, verify=str(certificate)) as client:
        assert client.call("get_user_project_list").data


def test_tls_towards_a_server_without_it(sops: FakeSops, api_type: str) -> None:
    with failing(client_at(sops, sops.url.replace("http:", "https:"), api_type), errors.SopsConnectionError) as error:
        assert "SSL" in str(error)


def test_what_was_sent_is_not_sent_again_when_tls_breaks(sops: FakeSops, certificate: Path, api_type: str) -> None:
    requests: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        with socket.socket(fileno=connection.detach()) as bare:
            bare.sendall(b"this is not TLS any more")

    with Server(handle, tls_context(certificate)) as server:
        client = client_at(sops, server.url, api_type, RetryPolicy(first_delay=0.01), verify=str(certificate))
        with failing(client, errors.SopsConnectionError, "create_task") as error:
            assert "SSLError" in str(error)
            assert error.may_have_been_sent is True
    assert len(requests) == 1


# ---- proxies ----


def test_a_proxy(sops: FakeSops, api_type: str) -> None:
    with Proxy() as proxy, connect_to(sops, api_type, proxies=proxy.url) as client:
        assert client.call("get_user_project_list").data
    assert [asked.split("?")[0] for asked in proxy.asked] == [f"GET {client.endpoint.base_url}/get_user_project_list/"]


def test_a_tunnel_through_a_proxy(sops: FakeSops, secured: str, certificate: Path, api_type: str) -> None:
    with Proxy() as proxy:
        proxies = json.dumps({"https": proxy.url.replace("//", f"//me:{secrets.PROXY_PASSWORD}@")})
        with client_at(sops, secured, api_type, verify=str(certificate), proxies=proxies) as client:
            assert client.call("get_user_project_list").data
    assert proxy.asked == [f"CONNECT {secured.removeprefix('https://')}"]
    assert proxy.authorizations[0].startswith("Basic ")


def test_a_proxy_that_refuses(sops: FakeSops, secured: str, api_type: str) -> None:
    with Proxy("407 Proxy Authentication Required") as proxy:
        proxies = {"https": proxy.url.replace("//", f"//me:{secrets.PROXY_PASSWORD}@")}
        with failing(client_at(sops, secured, api_type, proxies=proxies), errors.SopsConnectionError) as error:
            assert "407 Proxy Authentication Required" in str(error)
            assert "proxies" in str(error)
            assert error.may_have_been_sent is False


def test_a_proxy_that_is_not_there(sops: FakeSops, api_type: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    proxies = f"http://me:{secrets.PROXY_PASSWORD}@127.0.0.1:{port}"
    with failing(connect_to(sops, api_type, proxies=proxies), errors.SopsConnectionError) as error:
        assert "Unable to connect to proxy" in str(error)
        assert error.may_have_been_sent is False


def test_the_connections_proxy_wins_over_the_environments(
    sops: FakeSops, api_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Proxy() as proxy, connect_to(sops, api_type, proxies={"http": proxy.url}) as client:
        assert client.call("get_user_project_list").data
    assert len(proxy.asked) == 1
    with failing(connect_to(sops, api_type), errors.SopsConnectionError) as error:
        assert "proxy" in str(error)


# ---- one session ----


def test_one_connection_serves_all_calls(sops: FakeSops, api_type: str) -> None:
    task_id = sops.create_task()
    with connect_to(sops, api_type) as client:
        for _ in range(5):
            client.call("get_task_status", task_id=task_id)
            client.call("get_tasks_status", task_id_list=[task_id])
        assert sops.connections == 1
        client.close()
        client.call("get_task_status", task_id=task_id)
        assert sops.connections == 2


def test_redirects_are_never_followed(sops: FakeSops, api_type: str) -> None:
    task_id = sops.create_task(start=False)
    base = sops.esb_url if api_type == "esb" else sops.apigw_url
    for name in ("get_task_status", "start_task"):
        sops.faults.add(kind="redirect", location=f"{base}/get_user_project_list/")
        with connect_to(sops, api_type) as client, pytest.raises(errors.SopsInvalidAnswerError):
            client.call(name, task_id=task_id)
    assert [request.api for request in sops.requests] == ["get_task_status", "start_task"]


# ---- tried again ----


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> MovedTime:
    """Pauses between tries take no time, and are written down."""
    moved = MovedTime()
    move_time(monkeypatch, moved)
    return moved


def crash(request: Request) -> tuple[int, Any]:
    """What SOPS says of a fault inside it."""
    answer = sample("12d-errors-http-level/17-get_template_list-id_in-garbage.json")["response"]
    return answer["http_status"], answer["json"]


TRANSIENT: list[dict[str, Any]] = [
    {"kind": "drop"},
    {"kind": "drop_after"},
    {"kind": "truncate"},
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 502},
    {"kind": "status", "status": 504},
    {"kind": "html", "status": 503},
    # what answers is not SOPS, or not itself
    {"kind": "html"},
    {"kind": "html", "status": 404},
    {"kind": "redirect"},
    {"kind": "not_json"},
    {"kind": "function", "function": crash},
]
NOT_TRANSIENT: list[dict[str, Any]] = [
    {"kind": "status", "status": 401},
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 404},
    {"kind": "function", "function": lambda request: (200, {"result": False, "code": 3540400, "message": "no"})},
    {"kind": "function", "function": lambda request: (200, {"result": False, "code": 3599999, "message": "no"})},
]


def ids(faults: list[dict[str, Any]]) -> list[str]:
    return ["-".join(str(value) for value in fault.values() if isinstance(value, str | int)) for fault in faults]


@pytest.mark.parametrize("fault", TRANSIENT, ids=ids(TRANSIENT))
@pytest.mark.parametrize("name", ["get_task_status", "get_tasks_status"])
def test_a_read_is_tried_again(
    sops: FakeSops, api_type: str, fault: dict[str, Any], name: str, moved: MovedTime
) -> None:
    task_id = sops.create_task()
    sops.faults.add(times=3, **fault)
    params: dict[str, Any] = {"task_id": task_id} if name == "get_task_status" else {"task_id_list": [task_id]}
    with connect_to(sops, api_type, RetryPolicy()) as client:
        assert client.call(name, **params).data
    assert sops.count(name) == 4
    assert len(moved.sleeps) == 3
    for pause, longest in zip(moved.sleeps, (0.5, 1.0, 2.0), strict=True):  # doubled each time, less some jitter
        assert 0.8 * longest <= pause <= longest


@pytest.mark.parametrize("fault", NOT_TRANSIENT, ids=ids(NOT_TRANSIENT))
def test_a_read_is_not_tried_again_where_that_mends_nothing(
    sops: FakeSops, api_type: str, fault: dict[str, Any], moved: MovedTime
) -> None:
    task_id = sops.create_task()
    sops.faults.add(times=3, **fault)
    with connect_to(sops, api_type, RetryPolicy()) as client, pytest.raises(errors.SopsError):
        client.call("get_task_status", task_id=task_id)
    assert sops.count() == 1
    assert moved.sleeps == []


def test_tries_are_bounded(sops: FakeSops, api_type: str, moved: MovedTime) -> None:
    sops.faults.add(kind="drop", times=None)
    with connect_to(sops, api_type, RetryPolicy(tries=3)) as client, pytest.raises(errors.SopsConnectionError):
        client.call("get_user_project_list")
    assert sops.count() == 3


def test_the_time_of_tries_is_bounded(sops: FakeSops, api_type: str, moved: MovedTime) -> None:
    sops.faults.add(kind="drop", times=None)
    policy = RetryPolicy(tries=1000, max_seconds=60)
    with connect_to(sops, api_type, policy) as client, pytest.raises(errors.SopsConnectionError):
        client.call("get_user_project_list")
    assert 40 < sum(moved.sleeps) <= 60
    assert max(moved.sleeps) <= 10


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(sops: FakeSops, api_type: str, as_date: bool, moved: MovedTime) -> None:
    wanted: Any = 7
    if as_date:
        wanted = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    sops.faults.add(kind="status", status=429, retry_after=wanted)
    with connect_to(sops, api_type, RetryPolicy()) as client:
        assert client.call("get_user_project_list").data
    (pause,) = moved.sleeps
    assert 6 < pause <= 9
    assert as_date or pause == 7


def test_a_retry_after_beyond_our_time_is_not_waited_for(sops: FakeSops, api_type: str, moved: MovedTime) -> None:
    sops.faults.add(kind="status", status=429, retry_after=3600)
    with connect_to(sops, api_type, RetryPolicy()) as client, pytest.raises(errors.SopsRateLimitError) as caught:
        client.call("get_user_project_list")
    assert caught.value.retry_after == 3600
    assert "asks to wait 3600 s" in str(caught.value)
    assert moved.sleeps == []


@pytest.mark.parametrize("retry_after", ["soon", "-5", "Mon, 99 Foo"])
def test_a_retry_after_that_nobody_understands(sops: FakeSops, retry_after: str, moved: MovedTime) -> None:
    sops.faults.add(kind="status", status=429, retry_after=retry_after)
    with connect_to(sops, "apigw", RetryPolicy()) as client:
        assert client.call("get_user_project_list").data
    assert max(moved.sleeps) <= 0.5


MAY_HAVE_TAKEN_EFFECT: list[dict[str, Any]] = [
    {"kind": "drop"},
    {"kind": "drop_after"},
    {"kind": "delayed_effect"},
    {"kind": "truncate"},
    {"kind": "latency", "seconds": 0.5},
    {"kind": "status", "status": 502},
    {"kind": "status", "status": 504},
    {"kind": "html"},
    {"kind": "html", "status": 404},
    {"kind": "redirect"},
    {"kind": "not_json"},
    {"kind": "function", "function": crash},
]


@pytest.mark.parametrize("fault", MAY_HAVE_TAKEN_EFFECT, ids=ids(MAY_HAVE_TAKEN_EFFECT))
def test_what_may_have_taken_effect_is_not_repeated(
    sops: FakeSops, api_type: str, fault: dict[str, Any], moved: MovedTime
) -> None:
    sops.faults.add(**fault)
    client = connect_to(sops, api_type, RetryPolicy(), timeout=0.2)
    with client, pytest.raises(errors.SopsError):
        client.call("create_task", template_id=101, name="made once")
    sops.release()
    assert sops.count("create_task") == 1
    assert len(sops.tasks) <= 1


@pytest.mark.parametrize(
    "name", ["start_task", "operate_task", "operate_node", "node_callback", "create_and_start_task"]
)
def test_no_operation_is_repeated(sops: FakeSops, api_type: str, name: str, moved: MovedTime) -> None:
    sops.faults.add(kind="drop", times=None)
    with connect_to(sops, api_type, RetryPolicy()) as client, pytest.raises(errors.SopsConnectionError):
        client.call(name, task_id=5, template_id=101)
    assert sops.count() == 1


def test_what_was_refused_for_its_rate_had_no_effect(sops: FakeSops, api_type: str, moved: MovedTime) -> None:
    sops.faults.add(kind="status", status=429, retry_after=3)
    with connect_to(sops, api_type, RetryPolicy()) as client:
        client.call("create_task", template_id=101, name="made once")
    assert sops.count("create_task") == 2
    assert len(sops.tasks) == 1
    assert moved.sleeps == [3]


def test_what_was_never_sent_is_tried_again(sops: FakeSops, api_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = port_of(sops)
    sops.stop()
    arrivals: list[Callable[[], object]] = [lambda: None, lambda: restarted.start()]
    restarted = FakeSops(port=port, apps={"demo-app": secrets.APP_SECRET})
    moved = MovedTime(lambda seconds: arrivals.pop(0)())
    move_time(monkeypatch, moved)
    with connect_to(sops, api_type, RetryPolicy()) as client, contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(restarted.stop)
        client.call("create_task", template_id=101, name="made once")
        assert [task.name for task in restarted.tasks] == ["made once"]
    assert len(moved.sleeps) == 2
