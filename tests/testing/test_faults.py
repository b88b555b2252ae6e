# SPDX-License-Identifier: Apache-2.0
"""Faults on demand, as a client sees them."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from airflow_provider_sops.testing import FakeSops, Request
from tests.testing.calls import Caller

LOST = (OSError, http.client.HTTPException)


@pytest.fixture
def fake() -> Iterator[FakeSops]:
    with FakeSops(caches=False) as fake:
        fake.clock.stop()
        yield fake


@pytest.fixture
def call(fake: FakeSops) -> Caller:
    return Caller(fake)


def test_unknown_kind(fake: FakeSops) -> None:
    with pytest.raises(ValueError, match="no fault 'explode'; there are latency, drop"):
        fake.faults.add(kind="explode")


def test_a_lost_request_does_nothing(fake: FakeSops, call: Caller) -> None:
    fake.faults.add("create_task", kind="drop")
    with pytest.raises(LOST):
        call("create_task", 101, name="lost")
    assert fake.tasks == []
    assert (fake.requests[-1].api, fake.requests[-1].status) == ("create_task", 0)
    assert call("create_task", 101, name="there")["result"] is True


def test_a_lost_answer_leaves_its_effect(fake: FakeSops, call: Caller) -> None:
    fake.faults.add("create_task", kind="drop_after")
    with pytest.raises(LOST):
        call("create_task", 101, name="made")
    assert [task.name for task in fake.tasks] == ["made"]


def test_an_effect_that_comes_when_it_is_released(fake: FakeSops, call: Caller) -> None:
    fake.faults.add("create_task", kind="delayed_effect", times=2)
    for name in ("one", "two"):
        with pytest.raises(LOST):
            call("create_task", 101, name=name)
    assert call("get_task_list", keyword="one")["data"] == []
    assert fake.release() == 2
    assert [task.name for task in fake.tasks] == ["one", "two"]
    assert fake.release() == 0


def test_an_effect_that_comes_later(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task(start=False)
    fake.faults.add("start_task", kind="delayed_effect", seconds=30)
    with pytest.raises(LOST):
        call("start_task", task_id)
    fake.advance(29)
    assert fake.task(task_id).state == "CREATED"
    fake.advance(1)
    fake.task(task_id)
    fake.advance(0.2)
    assert fake.task(task_id).state == "RUNNING"


def test_times_and_after(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task()
    fault = fake.faults.add("get_task_status", kind="status", times=2, after=1)
    statuses = [call.send("get_task_status", task_id).status for _ in range(5)]
    assert statuses == [200, 502, 502, 200, 200]
    assert fault.hits == 2


def test_until_it_is_removed(fake: FakeSops, call: Caller) -> None:
    fault = fake.faults.add(kind="status", status=504, times=None)
    assert [call.send("get_task_list").status for _ in range(3)] == [504] * 3
    fake.faults.remove(fault)
    assert call.send("get_task_list").status == 200
    fake.faults.add(kind="html", times=None)
    fake.faults.clear()
    assert call("get_task_list")["result"] is True


def test_only_one_task(fake: FakeSops, call: Caller) -> None:
    good, bad = fake.create_task(), fake.create_task()
    fake.faults.add(kind="status", task_id=bad, times=None)
    assert [call.send("get_task_status", task_id).status for task_id in (good, bad)] == [200, 502]
    assert call.send("get_tasks_status", task_id_list=[good, bad]).status == 502


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, 1642902), (500, 1650001), (502, 1650201), (503, 1650300), (504, 1650401), (404, 1640401)],
)
def test_http_errors_of_the_gateway(fake: FakeSops, call: Caller, status: int, code: int) -> None:
    fake.faults.add(kind="status", status=status, retry_after=7)
    reply = call.send("get_task_list")
    assert (reply.status, reply.json()["code"], reply.headers["Retry-After"]) == (status, code, "7")
    assert reply.headers["X-Bkapi-Error-Code"] == str(code)
    assert (fake.requests[-1].status, fake.requests[-1].code) == (status, code)


def test_http_errors_with_words_of_their_own(fake: FakeSops, call: Caller) -> None:
    fake.faults.add(kind="status", status=429, code=1642904, message="slow down")
    assert call("get_task_list")["message"] == "slow down"
    fake.faults.add(kind="status", status=500, body={"result": False, "code": "50000"})
    assert call("get_task_list") == {"result": False, "code": "50000"}
    fake.faults.add(kind="status", status=502)
    esb = Caller(fake, "esb").send("get_task_list")
    assert (esb.status, esb.json()["code"], "request_id" in esb.json()) == (502, 1306201, True)


def test_pages_instead_of_json(fake: FakeSops, call: Caller) -> None:
    fake.faults.add(kind="html")
    reply = call.send("get_task_list")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<form>" in reply.text
    fake.faults.add(kind="redirect", location="http://login.example.com/")
    reply = call.send("get_task_list")
    assert (reply.status, reply.headers["Location"]) == (302, "http://login.example.com/")


def test_cut_off_answers(fake: FakeSops, call: Caller) -> None:
    fake.faults.add(kind="truncate")
    with pytest.raises(http.client.IncompleteRead):
        call("get_task_list")
    fake.faults.add(kind="not_json")
    reply = call.send("get_task_list")
    assert reply.headers["Content-Type"] == "application/json"
    with pytest.raises(json.JSONDecodeError):
        reply.json()
    assert call("get_task_list")["result"] is True


def test_wrong_types(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task()
    fake.faults.add(kind="wrong_types", times=3)
    assert call("get_task_status", task_id)["data"]["state"] == 5
    assert isinstance(call("get_task_detail", task_id)["data"], list)
    assert isinstance(call("get_tasks_status", task_id_list=[task_id])["data"], dict)


def test_latency(fake: FakeSops, call: Caller) -> None:
    fake.faults.add("get_task_list", kind="latency", seconds=0.3)
    begin = time.monotonic()
    assert call("get_task_list")["result"] is True
    assert time.monotonic() - begin >= 0.3


def test_a_slow_answer_holds_up_no_other(fake: FakeSops) -> None:
    """Latency is a wait of its own connection."""
    fake.faults.add("get_task_list", kind="latency", seconds=5)

    def ask() -> None:
        with pytest.raises(LOST):
            Caller(fake)("get_task_list")

    threading.Thread(target=ask, daemon=True).start()
    while fake.count("get_task_list") == 0:
        time.sleep(0.01)
    assert Caller(fake)("get_template_list")["result"] is True
    assert fake.requests[0].status == 0


def test_a_replica_that_lags_behind(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task()
    fake.advance(5)
    fake.faults.add("get_task_status", kind="stale")
    fake.faults.add("get_tasks_status", kind="stale")
    status = call("get_task_status", task_id)["data"]
    assert (status["state"], status["finish_time"]) == ("RUNNING", None)
    running = {row["name"]: row["state"] for row in status["children"].values() if row["name"]}
    assert running == {"show vars": "FINISHED", "sleep1": "FINISHED", "sleep2": "RUNNING"}
    row = call("get_tasks_status", task_id_list=[task_id])["data"][0]
    assert (row["status"]["state"], row["finish_time"], row["current_flow"]) == ("RUNNING", "", "execute_task")
    assert call.state(task_id) == "FINISHED"


def test_a_lagging_replica_of_a_task_that_failed_and_of_a_new_one(fake: FakeSops, call: Caller) -> None:
    failed, new = fake.create_task("Parallel, one branch fails"), fake.create_task(start=False)
    fake.advance(1)
    fake.operate_node(failed, "bad", "skip")
    assert fake.task(failed).state == "RUNNING"
    fake.faults.add(kind="stale", times=None)
    assert call("get_task_status", failed)["data"]["state"] == "FAILED"
    assert call("get_task_status", new)["data"]["state"] == "CREATED"
    started = fake.create_task("Long sleep")
    fake.advance(1)
    assert "id" not in call("get_task_status", started)["data"]


def test_the_race_for_a_number_of_reads(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task()
    fake.faults.add(kind="end_race", reads=2)
    assert call.state(task_id) == "CREATED"
    fake.advance(5)
    ends = [call("get_task_status", task_id)["data"]["finish_time"] is not None for _ in range(3)]
    assert ends == [False, False, True]
    fake.faults.add("get_task_detail", kind="end_race", reads=1)
    racing, written = (call("get_task_detail", task_id)["data"] for _ in range(2))
    assert (racing["finish_time"], len(racing["outputs"])) == ("", 3)
    assert written["finish_time"] != ""


def test_a_poisoned_batch(fake: FakeSops, call: Caller) -> None:
    good, bad = fake.create_task(), fake.create_task()
    fake.faults.add(kind="poison", task_id=bad, times=None)
    answer = call("get_tasks_status", task_id_list=[good, bad])
    assert (answer["result"], answer["code"]) == (False, 3599999)
    assert str(bad) in answer["message"]
    assert call("get_tasks_status", task_id_list=[good])["result"] is True
    assert call("get_task_status", bad)["result"] is True


def test_a_function_of_the_test(fake: FakeSops, call: Caller) -> None:
    seen = []

    def answer(request: Request) -> tuple[int, dict[str, int]] | None:
        seen.append(request.params)
        return (418, {"teapot": 1}) if len(seen) == 1 else None

    fake.faults.add("get_task_list", kind="function", function=answer, times=None)
    assert call.send("get_task_list", keyword="a").status == 418
    assert call("get_task_list", keyword="b")["result"] is True
    assert seen == [{"keyword": "a"}, {"keyword": "b"}]


def test_on_request_is_told_before_and_after(fake: FakeSops, call: Caller) -> None:
    told: list[tuple[str, str, int, int]] = []

    def listen(phase: str, request: Request) -> None:
        told.append((phase, request.api, len(fake.tasks), request.status))

    fake.on_request = listen
    call("create_task", 101, name="x")
    assert told == [("before", "create_task", 0, 0), ("after", "create_task", 1, 200)]


@pytest.mark.parametrize("kind", ["drop", "delayed_effect", "status"])
def test_faults_come_before_the_effect(fake: FakeSops, call: Caller, kind: str) -> None:
    task_id = fake.create_task("Long sleep")
    fake.advance(1)
    fake.faults.add("operate_task", kind=kind)
    revoke: Callable[[], object] = lambda: call("operate_task", task_id, action="revoke")  # noqa: E731
    if kind == "status":
        revoke()
    else:
        with pytest.raises(LOST):
            revoke()
    assert fake.task(task_id).state == "RUNNING"
