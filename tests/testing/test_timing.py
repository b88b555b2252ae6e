# SPDX-License-Identifier: Apache-2.0
"""Caches, the race at the end and callbacks, against what was observed on a real SOPS."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.testing.api import answering
from tests.testing.calls import Caller
from tests.testing.recorded import Player, sample


@pytest.fixture
def fake() -> Iterator[FakeSops]:
    with FakeSops(start_delay=0.11) as fake:
        fake.clock.stop()
        yield fake


def _observe(call: Caller, what: str, task_id: int, fresh: Any) -> list[Any]:
    """What the recorded timelines note of each API's answer."""
    api = what.split()[0]
    nonce = {"nonce": fresh} if "fresh" in what else {}
    if api == "get_task_status":
        data = call(api, task_id, **nonce)["data"]
        return [data["state"], bool(data["finish_time"])]
    if api == "get_tasks_status":
        row = call(api, task_id_list=[task_id], **nonce)["data"][0]
        status = row["status"]
        return [status["state"], bool(status["finish_time"]), bool(row["finish_time"]), row["current_flow"]]
    if api == "get_task_detail":
        data = call(api, task_id, **nonce)["data"]
        return [bool(data["finish_time"]), len(data["outputs"])]
    row = call(api, keyword="status cache")["data"][0]
    return [row["is_started"], row["is_finished"], bool(row["finish_time"])]


def _noted(noted: list[Any]) -> list[Any]:
    """An observation without the times themselves."""
    return [bool(item) if item is None or item == "" or str(item)[:2] == "20" else item for item in noted]


def test_the_recorded_timeline_of_the_caches(fake: FakeSops) -> None:
    """CREATED is not cached by get_task_status, but by get_tasks_status; both keep the rest for ten seconds."""
    task_id = fake.create_task("Long sleep", name="status cache", constants={"seconds": "4.3"}, start=False)
    call = Caller(fake)
    fake.start_task(task_id)
    begin = fake.clock.now()
    for at, what, noted in sample("03-status-10s-cache", "timeline"):
        fake.advance(begin + at - fake.clock.now())
        expected = _noted(noted)
        if what == "get_task_detail fresh":
            expected = [expected[0], noted[1]]
        assert _observe(call, what, task_id, at) == expected, (at, what)
    # The plain reads above were repeated all the time; what they saw changed only when the cache had run out.


def test_the_plain_status_stays_old_for_ten_seconds(fake: FakeSops) -> None:
    call = Caller(fake)
    task_id = fake.create_task()
    fake.advance(0.2)
    assert call("get_task_status", task_id)["data"]["state"] == "RUNNING"
    assert call("get_tasks_status", task_id_list=[task_id])["data"][0]["status"]["state"] == "RUNNING"
    fake.advance(9.9)
    assert call.state(task_id) == "FINISHED"
    assert call("get_task_status", task_id)["data"]["state"] == "RUNNING"
    assert call("get_tasks_status", task_id_list=[task_id])["data"][0]["status"]["state"] == "RUNNING"
    fake.advance(0.2)
    assert call("get_task_status", task_id)["data"]["state"] == "FINISHED"
    assert call("get_tasks_status", task_id_list=[task_id])["data"][0]["status"]["state"] == "FINISHED"


def test_detail_is_cached_for_a_minute_errors_too(fake: FakeSops) -> None:
    call = Caller(fake)
    foreign = fake.create_task("Of another project")
    assert call("get_task_detail", foreign)["code"] == 3540400
    fake.task(foreign).project_id = fake.project_id
    fake.advance(59)
    assert call("get_task_detail", foreign)["code"] == 3540400
    assert call("get_task_detail", foreign, nonce=1)["code"] == 0
    fake.advance(1.1)
    assert call("get_task_detail", foreign)["code"] == 0


def test_caches_can_be_switched_off() -> None:
    with FakeSops(caches=False) as fake:
        call = Caller(fake)
        task_id = fake.create_task()
        assert call("get_task_detail", task_id)["data"]["finish_time"] == ""
        fake.advance(10)
        assert call("get_task_detail", task_id)["data"]["finish_time"] != ""


def test_the_caches_hold_a_limited_number_of_answers(fake: FakeSops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "CACHE_SIZE", 2)
    call = Caller(fake)
    task_id = fake.create_task()
    for nonce in range(3):
        call("get_task_status", task_id, nonce=nonce)
        call("get_tasks_status", task_id_list=[task_id], nonce=nonce)
    fake.advance(5)
    states = [call("get_tasks_status", task_id_list=[task_id], nonce=nonce)["data"][0] for nonce in (2, 0)]
    assert [row["status"]["state"] for row in states] == ["CREATED", "FINISHED"]


def test_each_replica_has_its_own_cache() -> None:
    """With two web processes answers go back in time."""
    with FakeSops(replicas=2) as fake:
        fake.clock.stop()
        call = Caller(fake)
        task_id = fake.create_task()
        fake.advance(1)
        states = [call("get_task_status", task_id)["data"]["state"]]
        fake.advance(5)
        states += [call("get_task_status", task_id)["data"]["state"] for _ in range(3)]
        assert states == ["RUNNING", "FINISHED", "RUNNING", "FINISHED"]


def test_the_race_at_the_end_looks_as_recorded(fake: FakeSops) -> None:
    """Each combination of state, end time and outputs that the fake gives in a race was seen on the real server."""
    seen = {
        (what, json.dumps(noted))
        for task in sample("15-finish-timing", "timeline")
        for _, what, noted in task["observed"]
    }
    call = Caller(fake)
    task_id = fake.create_task()
    fake.faults.add(kind="end_race", seconds=3)
    fake.advance(4)

    def observation(nonce: int) -> dict[str, str]:
        status = call("get_task_status", task_id, nonce=nonce)["data"]
        row = call("get_tasks_status", task_id_list=[task_id], nonce=nonce)["data"][0]
        detail = call("get_task_detail", task_id, nonce=nonce)["data"]
        assert row["status"]["finish_time"] == status["finish_time"]
        return {
            "get_task_status": json.dumps([status["state"], bool(status["finish_time"])]),
            "get_tasks_status": json.dumps([row["status"]["state"], bool(row["finish_time"]), row["current_flow"]]),
            "get_task_detail": json.dumps([bool(detail["finish_time"]), len(detail["outputs"])]),
        }

    racing = observation(1)
    assert racing["get_tasks_status"] == json.dumps(["FINISHED", False, "execute_task"])
    assert racing["get_task_detail"] == json.dumps([False, 3])
    assert {(what, noted) for what, noted in racing.items() if what != "get_task_status"} <= seen
    fake.advance(3)
    assert set(observation(2).items()) <= seen


def test_callbacks_as_recorded() -> None:
    """What is posted to a callback URL, and how often: once at the end, on each failure, twice on a revoke."""
    recorded: dict[str, list[Any]] = {}
    for post in sample("14b-callback_url", "received-callbacks"):
        body = post["body"]
        fields = json.loads(body) if body.startswith("{") else dict(urllib.parse.parse_qsl(body))
        recorded.setdefault(post["path"], []).append(fields)
    with FakeSops(users={"tester": "*", "tmpl_owner": "*"}, start_delay=0.05) as fake:
        player = Player(fake, "14b-callback_url")
        for exchange in player.exchanges():
            player.play(exchange)
        fake.advance(20)
        own: dict[str, list[Any]] = {}
        for url, fields in fake.callbacks:
            plain = fields if "callback_version" in fields else {name: str(value) for name, value in fields.items()}
            own.setdefault(url.removeprefix(fake.url), []).append(plain)
    for posts in [*recorded.values(), *own.values()]:
        for fields in posts:
            fields.get("task_outputs", []).sort(key=lambda row: row["key"])
    assert own == recorded
