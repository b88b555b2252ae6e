# SPDX-License-Identifier: Apache-2.0
"""The fake in a process of its own: the command, and its control plane."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_sops.testing import FakeSops, FakeSopsClient
from airflow_provider_sops.testing.__main__ import connection_uri
from tests.testing.calls import Caller, Http


@pytest.fixture
def fake() -> Iterator[FakeSops]:
    with FakeSops() as fake:
        fake.clock.stop()
        yield fake


@pytest.fixture
def client(fake: FakeSops) -> FakeSopsClient:
    return FakeSopsClient(fake.url)


def test_the_client_does_what_the_object_does(fake: FakeSops, client: FakeSopsClient) -> None:
    task_id = client.create_task("Always fails", name="remote", constants={"IP": "10.0.0.1"}, start=False)
    assert client.task(task_id).state == "CREATED"
    client.start_task(task_id)
    client.advance(1)
    assert client.task(task_id).state == "FAILED"
    client.operate_node(task_id, "call", "skip")
    task = client.task(task_id)
    assert (task.state, len(task.starts)) == ("FINISHED", 1)
    assert {row["key"]: row["value"] for row in task.outputs}["${IP}"] == "10.0.0.1"
    assert [node["state"] for node in task.nodes if node["name"] == "call"] == ["FINISHED"]
    assert [task.name for task in client.tasks] == ["remote"]
    assert client.create_tasks(3, "Long sleep") == [50002, 50003, 50004]
    client.advance(1)
    client.operate(50002, "pause")
    client.delete_task(50003)
    assert (fake.task(50002).state, fake.task(50003).deleted) == ("SUSPENDED", True)
    client.expire_task(task_id)
    assert client.task(task_id).state == "EXPIRED"


def test_the_client_counts_and_breaks_things(fake: FakeSops, client: FakeSopsClient) -> None:
    call = Caller(fake)
    call("get_task_list")
    call("get_template_list")
    assert (client.count(), client.count("get_task_list"), client.connections) == (2, 1, 1)
    assert [request.api for request in client.requests] == ["get_task_list", "get_template_list"]
    client.clear_requests()
    assert client.count() == 0
    client.faults.add("get_task_list", kind="status", status=429)
    assert call.send("get_task_list").status == 429
    client.faults.add(kind="html", times=None)
    client.faults.clear()
    assert call("get_task_list")["result"] is True
    client.deny("get_task_list")
    assert call("get_task_list")["code"] == 1640301
    client.grant("get_task_list")
    assert call("get_task_list")["result"] is True
    client.remove_api("get_task_list")
    assert call("get_task_list")["code"] == 1640401
    client.restore_api("get_task_list")
    client.close_api("get_task_list")
    assert call("get_task_list")["code"] == 3540100
    client.open_api("get_task_list")
    client.serve_canned({"get_task_list": {"canned": True}})
    assert call("get_task_list") == {"canned": True}


def test_the_client_has_a_dead_worker(fake: FakeSops, client: FakeSopsClient) -> None:
    client.set_start_delay(None)
    task_id = client.create_task()
    func = client.create_task(flow_type="common_func")
    client.advance(60)
    assert client.task(task_id).state == "CREATED"
    client.revive_worker()
    assert client.task(task_id).state == "RUNNING"
    client.claim(func)
    client.advance(5)
    assert client.task(func).state == "FINISHED"
    fake.faults.add("start_task", kind="delayed_effect")
    assert client.release() == 0


def test_the_client_knows_where_it_is(fake: FakeSops, client: FakeSopsClient) -> None:
    assert client.connection("esb") == fake.connection("esb")
    status = client.status()
    assert (status["apigw_url"], status["now"]) == (fake.apigw_url, fake.clock.now())


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("create_task", {"template": "Nothing"}, "no template 'Nothing'"),
        ("add_fault", {"kind": "explode"}, "no fault 'explode'"),
        ("add_fault", {"kind": "function"}, "cannot come over HTTP"),
        ("operate", {"task_id": 1, "action": "revoke"}, "KeyError: 1"),
        ("advance", {}, "missing 1 required positional argument: 'seconds'"),
        ("nothing", {}, "no POST /fake/nothing"),
        ("stop", {}, "no POST /fake/stop"),
    ],
)
def test_the_control_plane_says_what_is_wrong(
    client: FakeSopsClient, name: str, args: dict[str, object], words: str
) -> None:
    with pytest.raises(RuntimeError, match=re.escape(words)):
        client.call(name, **args)


def test_a_refused_operation_keeps_its_reason(fake: FakeSops, client: FakeSopsClient) -> None:
    task_id = fake.create_task()
    fake.advance(10)
    with pytest.raises(RuntimeError, match="current_flow:finished cannot be resumeed"):
        client.operate(task_id, "resume")


class Command:
    """The fake as a command."""

    def __init__(self, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "airflow_provider_sops.testing", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def lines(self, number: int) -> list[str]:
        """Its first lines."""
        assert self.process.stdout is not None
        return [self.process.stdout.readline().rstrip() for _ in range(number)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """End it.

        :return: exit code, and what it wrote to stderr.
        """
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=10)
        return self.process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_runs_and_stops(number: signal.Signals) -> None:
    command = Command("--seed-tasks", "101", "Long sleep", "--grant", "get_task_detail", "get_task_list")
    try:
        url, connection, uri, *seeded = command.lines(5)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        assert json.loads(connection)["host"] == f"{url}/api/bk-sops/prod"
        assert uri == f"AIRFLOW_CONN_SOPS_DEFAULT={connection_uri(json.loads(connection))}"
        assert seeded == ["task 50001: Two steps with outputs", "task 50002: Long sleep"]
        client = FakeSopsClient(url)
        assert [task.name for task in client.tasks] == ["Two steps with outputs", "Long sleep"]
        reply = Http(url).send("GET", f"{url}/api/bk-sops/prod/get_user_project_list/")
        assert reply.status == 401
    finally:
        code, errors = command.stop(number)
    assert (code, errors) == (0, "")


def test_the_command_says_that_its_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = Command("--port", str(port))
        _, errors = command.process.communicate(timeout=10)
    assert (command.process.returncode, errors) == (1, f"cannot use 127.0.0.1:{port}: Address already in use\n")


@pytest.mark.parametrize(
    ("text", "args", "words"),
    [
        (
            '[[template]]\nid = 1\nname = "mine"\nflow = ["b"]\n[[template.node]]\nkey = "a"\n',
            [],
            "template 'mine': node 'a': 'plugin' is a required property",
        ),
        ("[[template", [], "Expected ']]'"),
        (None, [], "No such file or directory"),
        ("", ["--seed-tasks", "mine"], "no template 'mine'"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, text: str | None, args: list[str], words: str) -> None:
    file = tmp_path / "mine.toml"
    if text is not None:
        file.write_text(text)
    command = Command("--templates", str(file), *args)
    _, errors = command.process.communicate(timeout=10)
    assert command.process.returncode == 1
    assert words in errors
    assert len(errors.splitlines()) == 1
