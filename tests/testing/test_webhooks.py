# SPDX-License-Identifier: Apache-2.0
"""Webhooks of templates: what the fake posts for every task of one, as recorded and over real HTTP."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.testing import FakeSops, FakeSopsClient
from airflow_provider_sops.testing.engine.node import all_specs
from airflow_provider_sops.testing.templates.template_check import TemplateError
from tests.testing.calls import Caller
from tests.testing.receiver import Receiver
from tests.testing.recorded import RECORDED_URL, comparable, differences, sample

TEMPLATE = 101
BEARER = {"type": "bearer", "token": "tok-1"}


@pytest.fixture
def fake() -> Iterator[FakeSops]:
    with FakeSops(start_delay=0) as fake:
        yield fake


def _history(fake: FakeSops, task_id: int) -> Any:
    answer = Caller(fake)("get_task_detail", task_id, include_webhook_history="true", nonce=fake.count())
    return answer["data"]["task_webhook_history"]


def _shown(body: dict[str, Any], url: str) -> Any:
    """A body without what differs from run to run."""
    info = body["event"]["info"]
    for key in ("start_time", "finish_time"):
        info[key] = type(info[key]).__name__
    system = next(row["value"] for row in info["input_data"] if row["key"] == "${_system}")
    assert len(system["task_start_time"]) == 19
    system["task_start_time"] = "<time>"
    return comparable(body, url=url)


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("15-posted-task_failed", "Always fails"),
        ("16-posted-task_failed", "With a subprocess that fails"),
        ("18-posted-task_finished", TEMPLATE),
        ("19-posted-task_finished-answered-500", TEMPLATE),
    ],
)
def test_what_is_posted_is_what_was_recorded(fake: FakeSops, name: str, template: int | str) -> None:
    recorded = sample("20b-webhook", name)
    request, answered = recorded["request"], recorded["response"]["http_status"]
    info = request["body"]["event"]["info"]
    constants = {row["key"]: row["value"] for row in info["input_data"]}
    with Receiver({"/cb/wh": answered}) as receiver:
        fake.set_webhook(template, f"{receiver.url}/cb/wh", authorization=BEARER, headers={"X-Site": "airflow"})
        fake.site.next_task_id = info["task_id"]
        task_id = fake.create_task(template, name=info["task_name"], constants=constants, user="tester", start=False)
        known = {*fake.task(task_id).constants, "${_system}"}  # the recorded templates had more of them
        info["input_data"] = [row for row in info["input_data"] if row["key"] in known]
        for spec in all_specs(fake.task(task_id).graph):
            message = info.get("extra_data", {}).get("failed_message", "")
            spec.behaviour = dataclasses.replace(spec.behaviour, message=message)
        fake.site.start_task(fake.task(task_id), "tester")
        fake.advance(60)
        received = receiver.wait_for(1)[0]
    own, headers = received.json(), received.headers
    assert received.body == json.dumps(own)
    assert headers["Content-Length"] == str(len(received.body))
    assert not list(differences(_shown(request["body"], RECORDED_URL), _shown(own, fake.url)))
    different = {"Host", "Content-Length"}
    assert {key: value for key, value in headers.items() if key not in different} == {
        key: value for key, value in request["headers"].items() if key not in different
    }
    assert (received.method, received.path) == (request["method"], request["path"])


@pytest.mark.parametrize(
    ("name", "template", "answered"),
    [
        ("get_task_detail-include_webhook_history-finished", TEMPLATE, 200),
        ("get_task_detail-include_webhook_history-failed", "Always fails", 200),
        ("get_task_detail-include_webhook_history-revoked", "Long sleep", 200),
        ("get_task_detail-include_webhook_history-receiver-answered-500", TEMPLATE, 500),
    ],
)
def test_the_history_is_as_recorded(fake: FakeSops, name: str, template: int | str, answered: int) -> None:
    recorded = sample("20b-webhook", "task_webhook_history")[name]
    fake.clock.stop()
    with Receiver({"/wh": answered}) as receiver:
        fake.set_webhook(template, f"{receiver.url}/wh")
        fake.set_webhook("No outputs", f"{receiver.url}/last")
        task_id = fake.create_task(template)
        if name.endswith("revoked"):
            fake.operate(task_id, "revoke")
        fake.advance(60)
        for tries in range(1, len(recorded) + 1):
            receiver.wait_for(tries, "/wh")
            while len(_history(fake, task_id)) < tries:
                pass
            fake.advance(2)
        fake.advance(60)
        fake.create_task("No outputs")
        fake.advance(60)
        receiver.wait_for(1, "/last")
        assert len(receiver.received) == len(recorded) + 1
        own = _history(fake, task_id)
    assert own == sorted(own, key=lambda row: row["created_at"], reverse=True)
    assert comparable(own) == comparable(recorded)


def test_retries_interval_and_events_can_be_set(fake: FakeSops) -> None:
    with Receiver({"/wh": 500}) as receiver:
        endpoint = f"{receiver.url}/wh"
        fake.set_webhook("Always fails", endpoint, events=["task_failed"], retry_times=1, interval=1000)
        task_id = fake.create_task("Always fails")
        fake.advance(60)
        receiver.wait_for(1)
        while not _history(fake, task_id):
            pass
        fake.operate_node(task_id, "call", "skip")
        fake.advance(900)
        assert fake.task(task_id).state == "FINISHED"
        assert len(_history(fake, task_id)) == 1
        fake.advance(101)
        codes = [post.json()["event"]["code"] for post in receiver.wait_for(2)]
    assert codes == ["task_failed", "task_failed"]


def test_a_failure_and_the_finish_after_it(fake: FakeSops) -> None:
    with Receiver() as receiver:
        password = {"type": "basic", "username": "user", "password": "pass"}
        fake.set_webhook("Always fails", receiver.url, authorization=password)
        task_id = fake.create_task("Always fails", callback_url=f"{receiver.url}/cb")
        fake.advance(60)
        receiver.wait_for(2)
        fake.operate_node(task_id, "call", "skip")
        fake.advance(60)
        posts = receiver.wait_for(4)
    assert [post.path for post in posts] == ["/cb", "/", "/cb", "/"]  # the callback first
    events = [post.json() for post in posts[1::2]]
    assert [event["event"]["code"] for event in events] == ["task_failed", "task_finished"]
    assert [event["delivery_id"] for event in events] == [task_id, task_id]
    assert posts[1].headers["Authorization"] == "Basic dXNlcjpwYXNz"


def test_a_webhook_can_be_replaced_and_removed(fake: FakeSops) -> None:
    with Receiver() as receiver:
        for path in ("/old", "/new"):
            fake.set_webhook(TEMPLATE, receiver.url + path)
        fake.create_task(TEMPLATE)
        fake.advance(10)
        receiver.wait_for(1, "/new")
        fake.remove_webhook("Two steps with outputs")
        silent = fake.create_task(TEMPLATE, callback_url=f"{receiver.url}/cb")
        fake.advance(10)
        receiver.wait_for(1, "/cb")
        assert [post.path for post in receiver.received] == ["/new", "/cb"]
        assert _history(fake, silent) == []


def test_what_was_before_a_webhook_is_not_posted(fake: FakeSops) -> None:
    with Receiver() as receiver:
        before = fake.create_task()
        fake.advance(60)
        fake.set_webhook("Two steps with outputs", receiver.url)
        after = fake.create_task()
        fake.advance(60)
        posts = receiver.wait_for(1)
        assert [post.json()["delivery_id"] for post in posts] == [after]
    assert fake.task(before).state == "FINISHED"


def test_what_was_before_it_is_removed_is_still_posted(fake: FakeSops) -> None:
    with Receiver() as receiver:
        fake.set_webhook("Two steps with outputs", receiver.url)
        with fake.site.lock:  # nobody looks at the task meanwhile
            task_id = fake.create_task()
            fake.advance(60)
            fake.remove_webhook("Two steps with outputs")
        fake.advance(1)
        (post,) = receiver.wait_for(1)
    assert post.json()["delivery_id"] == task_id


def test_tasks_of_others_and_children_are_told_of_too(fake: FakeSops) -> None:
    """Whoever has started them: a child task is one of its own template."""
    with Receiver() as receiver:
        fake.set_webhook("Child flow", receiver.url)
        parent = fake.create_task("With an independent subprocess")
        fake.advance(60)
        (post,) = receiver.wait_for(1)
    assert post.json()["event"]["info"]["task_id"] in fake.task(parent).child_ids


def test_from_another_process() -> None:
    with Receiver() as receiver, FakeSops(start_delay=0) as fake:
        client = FakeSopsClient(fake.url)
        client.set_webhook(TEMPLATE, receiver.url, authorization=BEARER, retry_times=0)
        task_id = client.create_task(TEMPLATE)
        client.advance(10)
        (post,) = receiver.wait_for(1)
        assert (post.json()["delivery_id"], post.headers["Authorization"]) == (task_id, "Bearer tok-1")
        client.remove_webhook(TEMPLATE)
        assert fake.site.template(TEMPLATE).webhook is None
        with pytest.raises(RuntimeError, match="no template 'none'"):
            client.set_webhook("none", receiver.url)


TOML = """
[[template]]
id = 1001
name = "Told"

  [[template.node]]
  key = "show"
  plugin = "bk_display"

  [template.webhook]
  endpoint = "{endpoint}"
  authorization = {{ type = "bearer", token = "{token}" }}
  {more}
"""


def test_from_the_templates_file(tmp_path: Path) -> None:
    path = tmp_path / "templates.toml"
    with Receiver() as receiver:
        path.write_text(TOML.format(endpoint=receiver.url, token="tok-2", more='headers = { X-Site = "a" }'))
        with FakeSops(templates=path) as fake:
            fake.create_task("Told")
            fake.advance(10)
            (post,) = receiver.wait_for(1)
    assert (post.headers["Authorization"], post.headers["X-Site"]) == ("Bearer tok-2", "a")
    for endpoint, more in (("ftp://x", ""), ("http://x", "retries = 2"), ("http://x", 'events = ["task_revoked"]')):
        path.write_text(TOML.format(endpoint=endpoint, token="tok-2", more=more))
        with pytest.raises(TemplateError, match="template 'Told'"):
            FakeSops(templates=path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"endpoint": "nowhere"}, "http address, not 'nowhere'"),
        ({"events": ["task_revoked"]}, "task_finished, task_failed, not"),
        ({"events": "task_failed"}, "not 'task_failed'"),
        ({"authorization": {"type": "bearer"}}, "bearer: token; basic: password, username"),
        ({"authorization": {"type": "digest", "token": "x"}}, "bearer: token"),
        ({"authorization": {"token": "x"}}, "has a type"),
    ],
)
def test_what_a_webhook_cannot_be(fake: FakeSops, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fake.set_webhook(TEMPLATE, **{"endpoint": "http://127.0.0.1:9/", **settings})


def test_an_older_sops_has_none(tmp_path: Path) -> None:
    path = tmp_path / "templates.toml"
    with Receiver() as receiver:
        path.write_text(TOML.format(endpoint=receiver.url, token="tok-2", more=""))
        with FakeSops(release="3.28", templates=path, start_delay=0) as fake:
            with pytest.raises(ValueError, match=r"SOPS 3\.28 has no webhooks"):
                fake.set_webhook("Told", receiver.url)
            task_id = fake.create_task("Told", callback_url=f"{receiver.url}/cb")
            fake.advance(10)
            receiver.wait_for(1)
            call = Caller(fake)
            assert "task_webhook_history" not in call("get_task_detail", task_id, include_webhook_history="x")["data"]
            assert call.send("apply_webhook_configs").status == 302
        assert [post.path for post in receiver.received] == ["/cb"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"events": ["*"], "template_ids": [101, 102]}, 200, 3599999),
        ({"events": ["*"], "template_ids": []}, 500, "50000"),
        ({"events": ["*"], "template_ids": ["101"]}, 500, "50000"),
        ({"events": ["*"], "template_ids": [130]}, 500, "50000"),
        ({"events": 5, "template_ids": [101]}, 500, "50000"),
    ],
)
def test_the_api_enables_none(fake: FakeSops, body: dict[str, Any], status: int, code: Any) -> None:
    reply = Caller(fake).send("apply_webhook_configs", endpoint="http://127.0.0.1:9/", **body)
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert fake.site.template(TEMPLATE).webhook is None
