# SPDX-License-Identifier: Apache-2.0
"""What the fake posts to the callback URL of a task, as recorded and over real HTTP."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_sops.testing import FakeSops, Task
from airflow_provider_sops.testing.engine.node import all_specs
from airflow_provider_sops.testing.posts import callbacks
from tests.testing.calls import Caller
from tests.testing.receiver import Receiver
from tests.testing.recorded import sample

RECORDED: list[dict[str, Any]] = sample("20a-callback_url", "received-callbacks")
ANSWERS = {post["path"]: post["answered"] for post in RECORDED}


@pytest.fixture
def fake() -> Iterator[FakeSops]:
    with FakeSops(start_delay=0) as fake:
        yield fake


def _made(fake: FakeSops, receiver: Receiver, path: str, template: int | str, **more: Any) -> int:
    """Make a task with the recorded number."""
    body = next(post["body"] for post in RECORDED if post["path"] == path)
    number = body["task_id"] if isinstance(body, dict) else body.split("&")[0].removeprefix("task_id=")
    fake.site.next_task_id = int(number)
    return fake.create_task(template, callback_url=receiver.url + path, **more)


def _shown(method: str, path: str, headers: dict[str, str], body: Any) -> dict[str, Any]:
    """A post as it is compared: outputs come in any order, JSON as SOPS writes it."""
    if body and not isinstance(body, dict) and headers["Content-Type"] == "application/json":
        assert body == json.dumps(json.loads(body))
        body = json.loads(body)
    if isinstance(body, dict):
        body["task_outputs"].sort(key=lambda row: row["key"])
    headers = {name: value for name, value in headers.items() if name != "Host"}
    return {"method": method, "path": path, "headers": list(headers.items()), "body": body}


def test_what_is_posted_is_what_was_recorded(fake: FakeSops) -> None:
    with Receiver(ANSWERS) as receiver:
        failing = _made(fake, receiver, "/cb/nodefail", "Always fails")
        _made(fake, receiver, "/cb/nodefailv2", "Always fails", callback_version="v2")
        _made(fake, receiver, "/cb/plain?who=airflow&token=abc", 101)
        _made(fake, receiver, "/cb/v2", 101, constants={"IP": "10.0.0.2"}, callback_version="v2")
        _made(fake, receiver, "/cb/err500", 101)
        _made(fake, receiver, "/cb/redir", 101)
        _made(fake, receiver, "/cb/v9", 101, callback_version="v9")
        _made(fake, receiver, "/cb/ignored", "Ignored error")
        _made(fake, receiver, "/cb/subproc", "With a subprocess")
        _made(fake, receiver, "/cb/subfail", "With a subprocess that fails")
        _made(fake, receiver, "/cb/timeoutnode", "Node timeout")
        _made(fake, receiver, "/cb/types", "Every type of output", callback_version="v2")
        retried = _made(fake, receiver, "/cb/autoretry", "Retries by itself")
        for spec in all_specs(fake.task(retried).graph):
            spec.behaviour = dataclasses.replace(spec.behaviour, fail=None if spec.name == "ar" else 0)
        for path, version in (("/cb/revoke", ""), ("/cb/revokev2", "v2")):
            revoked = _made(fake, receiver, path, "Long sleep", callback_version=version)
            fake.operate(revoked, "revoke")
        call = Caller(fake)
        for number, path in ((19, "/cb/cas"), (20, "/cb/casv2")):
            fake.site.next_task_id = number
            url = receiver.url + path
            arguments: dict[str, Any] = {"callback_version": "v2"} if path == "/cb/casv2" else {}
            assert call("create_and_start_task", 101, name="callback", callback_url=url, **arguments)["result"]
        fake.advance(60)
        receiver.wait_for(1, "/cb/nodefail")
        fake.operate_node(failing, "call", "retry")
        fake.advance(10)
        receiver.wait_for(2, "/cb/nodefail")
        fake.operate_node(failing, "call", "skip")
        fake.advance(10)
        expected = [_shown(post["method"], post["path"], post["headers"], post["body"]) for post in RECORDED]
        received = [_shown(**dataclasses.asdict(one)) for one in receiver.wait_for(len(RECORDED))]
    for path in {post["path"] for post in expected}:
        assert [post for post in received if post["path"] == path] == [
            post for post in expected if post["path"] == path
        ]
    assert len(received) == len(expected)


def test_the_moments() -> None:
    """0.1 to 1 s after the end, and 20 ms apart of a revoke."""
    with FakeSops() as fake:
        task = fake.task(fake.create_task(callback_url="http://127.0.0.1:9/"))
    ended, revoked = (
        [moment for moment, _ in callbacks.posts_of(task, False, 100.0, revoked=revoked)] for revoked in (False, True)
    )
    assert ended == pytest.approx([100.2])
    assert revoked == pytest.approx([100.2, 100.22])


def test_nobody_needs_to_ask_for_the_task(fake: FakeSops) -> None:
    """The end is told although no call comes; by then the end can be read."""
    seen: list[tuple[str, float | None, int]] = []
    task_ids: list[int] = []

    def look() -> None:
        task: Task = fake.task(task_ids[0])
        seen.append((task.state, task.finish_time, len(task.outputs)))

    with Receiver(hold=look) as receiver:
        fake.clock.stop()
        task_ids.append(fake.create_task(callback_url=receiver.url))
        fake.clock.advance(60)
        receiver.wait_for(1)
    (state, finish_time, outputs) = seen[0]
    assert (state, finish_time is not None, outputs) == ("FINISHED", True, 3)


def test_a_receiver_that_fails_is_asked_four_times_a_second_apart_and_never_again(fake: FakeSops) -> None:
    times: list[float] = []
    with Receiver({"/no": 503}, hold=lambda: times.append(fake.clock.now())) as receiver:
        fake.create_task(callback_url=f"{receiver.url}/no")
        fake.advance(10)
        receiver.wait_for(1)
        while len(receiver.received) < 4:
            fake.advance(0.05)
            threading.Event().wait(0.02)
        fake.advance(100)
        fake.create_task(callback_url=f"{receiver.url}/yes")
        fake.advance(10)
        receiver.wait_for(1, "/yes")
        assert len(receiver.wait_for(4, "/no")) == 4
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times[:4]))


def test_pauses_are_not_told_of(fake: FakeSops) -> None:
    with Receiver() as receiver:
        waiting = fake.create_task("Pause for a person", callback_url=f"{receiver.url}/waiting")
        paused = fake.create_task("Long sleep", callback_url=f"{receiver.url}/paused", constants={"seconds": "1"})
        fake.advance(1)
        fake.operate(paused, "pause")
        fake.advance(10)
        assert (fake.task(waiting).state, fake.task(paused).state) == ("RUNNING", "SUSPENDED")
        fake.operate(paused, "resume")
        fake.operate_node(waiting, "confirm", "callback")
        fake.advance(60)
        posts = [receiver.wait_for(1, path) for path in ("/waiting", "/paused")]
    assert [[post.body.partition("&")[2] for post in some] for some in posts] == [["task_success=True"]] * 2


def test_a_slow_receiver_holds_up_nobody(fake: FakeSops) -> None:
    """Neither the fake's answers, nor what is posted elsewhere, nor its end."""
    go_on = threading.Event()
    with Receiver(hold=go_on.wait) as slow, Receiver() as quick:
        fake.create_task(callback_url=slow.url)
        fake.advance(10)
        slow.wait_for(1)
        task_id = fake.create_task(callback_url=quick.url)
        fake.advance(10)
        quick.wait_for(1)
        assert Caller(fake).state(task_id) == "FINISHED"
        fake.stop()
        names = {thread.name for thread in threading.enumerate()}
        go_on.set()
    assert not {"fake-sops", "fake-sops-outbox"} & names


def test_what_is_not_sent_waits_for_the_next_start() -> None:
    fake = FakeSops(start_delay=0)
    with Receiver() as receiver:
        with fake:
            fake.clock.stop()
            fake.create_task(callback_url=receiver.url)
        fake.advance(60)
        assert fake.tasks[0].state == "FINISHED"
        with fake:
            receiver.wait_for(1)


def test_name_and_password_of_the_address_are_sent_as_basic_authorization(fake: FakeSops) -> None:
    with Receiver() as receiver:
        fake.create_task(callback_url=receiver.url.replace("//", "//us%20er:pass@") + "/ä")
        fake.advance(10)
        (post,) = receiver.wait_for(1)
    assert post.headers["Authorization"] == "Basic dXMgZXI6cGFzcw=="
    assert (post.path, "@" in post.headers["Host"]) == ("/%C3%A4", False)


def test_a_receiver_that_is_not_there_does_no_harm(fake: FakeSops) -> None:
    for url in ("http://127.0.0.1:9/", "http://[", "http://a..b/", "https://127.0.0.1:9/"):
        fake.create_task(callback_url=url)
    with Receiver() as receiver:
        fake.advance(10)
        fake.create_task(callback_url=receiver.url)
        fake.advance(10)
        receiver.wait_for(1)
