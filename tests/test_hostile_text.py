# SPDX-License-Identifier: Apache-2.0
"""Whatever SOPS or a gateway says ends one wait rightly: in the worker and in the triggerer, over real HTTP.

What a trigger fires, a task logs, raises, pushes or returns must be storable: an event that is not ends the triggerer's
process, and a line in a log that is not that of the worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from airflow_provider_sops import exceptions
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.hooks.sops import SopsHook
from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator, SopsOperateTaskOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.trigger_events import Outcome, read_event
from airflow_provider_sops.triggers import shared_pollers, wait_loop
from tests.hostile import CODE_POINTS, SHOWN, TEXT, assert_event, assert_storable, change, fill, refuse, say
from tests.tasks import TaskInstance, collect_log
from tests.triggers.test_sops import INTERVAL, fire, trigger

Connect = Callable[..., None]
#: for an HTTP header, in which not all of them can stand
HEADER = "".join(f"a{chr(code)}" for code in CODE_POINTS if 0x80 <= code < 0x100)
HEADER_SHOWN = "".join(f"a\\x{code:02x}" for code in CODE_POINTS if 0x80 <= code < 0x100)
LOGIN_PAGE = f"<html>{TEXT[:-10]}</html>"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll faster than SOPS' cache, which the fake goes without here, and look again sooner."""
    monkeypatch.setattr(shared_pollers, "Poller", partial(Poller, min_interval=INTERVAL))
    monkeypatch.setattr(wait_loop, "_RECHECK", INTERVAL)


class Ran:
    """What has come of a sensor or an operator."""

    def __init__(self, operator: Any) -> None:
        self.ti = TaskInstance()
        self.lines = collect_log(operator)
        self.error: BaseException | None = None
        self.result: Any = None
        try:
            self.result = operator.execute(self.ti.context)
        except Exception as error:
            self.error = error
        assert_storable(self.lines, "log")
        assert_storable(self.result, "result")
        assert_storable(self.ti.xcoms, "XComs")
        one: BaseException | None = self.error
        while one is not None:
            assert_storable(str(one), type(one).__name__)
            assert_storable({name: value for name, value in vars(one).items() if name[0] != "_"}, "attributes")
            one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def sensor(task_id: int, **arguments: Any) -> SopsTaskSensor:
    return SopsTaskSensor(task_id="wait", sops_task_id=task_id, poke_interval=0.01, **arguments)


def event_of(task_id: int, caplog: pytest.LogCaptureFixture, **arguments: Any) -> dict[str, Any]:
    """Run a trigger, and look at its event and its log."""
    caplog.set_level(logging.INFO)
    event = fire(trigger(task_id, **arguments))
    assert_event(event)
    assert_storable([record.getMessage() for record in caplog.records], "log")
    assert_event(read_event(task_id, event).observation.reason)
    return event


# ---- a task's names, and why its nodes failed ----


def test_a_good_end(sops: FakeSops, connect: Connect, api_type: str, caplog: pytest.LogCaptureFixture) -> None:
    connect(sops, api_type)
    task_id = sops.create_task()
    sops.advance(3600)
    fill(sops, task_id)
    ran = Ran(sensor(task_id))
    assert ran.error is None
    assert ran.result["task_name"] == SHOWN
    event = event_of(task_id, caplog)
    assert (event["outcome"], event["status"]["task_name"]) == (Outcome.SUCCESS.value, SHOWN)
    resumed = sensor(task_id)
    assert resumed.execute_complete(TaskInstance().context, event)["task_name"] == SHOWN
    outputs = Ran(SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=task_id))
    assert outputs.error is None
    assert any(f"{SHOWN!r} finished at" in line for line in outputs.lines)


def test_a_bad_end(sops: FakeSops, connect: Connect, api_type: str, caplog: pytest.LogCaptureFixture) -> None:
    connect(sops, api_type)
    task_id = sops.create_task("Always fails")
    sops.advance(5)
    fill(sops, task_id)
    ran = Ran(sensor(task_id))
    assert type(ran.error) is exceptions.SopsTaskFailedException
    assert f"failed: {SHOWN}" in str(ran.error)
    assert any(f"{SHOWN!r}: FAILED" in line for line in ran.lines)
    event = event_of(task_id, caplog)
    assert (event["outcome"], event["status"]["task_name"]) == (Outcome.FAILURE.value, SHOWN)
    outputs = Ran(SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=task_id))
    assert type(outputs.error) is exceptions.SopsOutputsException


def test_what_a_running_task_is_at(sops: FakeSops, connect: Connect) -> None:
    connect(sops)
    task_id = sops.create_task("Long sleep")
    sops.advance(1)
    fill(sops, task_id)
    ran = Ran(sensor(task_id, timeout=0.001, soft_fail=True))
    assert any(f"now: {SHOWN}" in line for line in ran.lines)
    paused = Ran(SopsOperateTaskOperator(task_id="operate", sops_task_id=task_id, action="pause"))
    again = Ran(SopsOperateTaskOperator(task_id="operate", sops_task_id=task_id, action="pause"))
    assert (paused.error, again.error) == (None, None)


# ---- errors ----

#: what is answered, the error it is, and what must be seen of it
REFUSALS: dict[str, tuple[dict[str, Any], type[exceptions.SopsException], str]] = {
    "a message": (refuse(TEXT), exceptions.SopsNotFoundException, f": {SHOWN} [request id {SHOWN[:99]}"),
    "a message of many lines": (
        refuse(f"Traceback (most recent call last):\n{TEXT}\n\nError: {TEXT}"),
        exceptions.SopsNotFoundException,
        f"Error: {SHOWN[:99]}",
    ),
    "a dict": (refuse({TEXT: [TEXT]}), exceptions.SopsNotFoundException, SHOWN[:99]),
    "a list": (refuse([TEXT, {"a": 10**400}]), exceptions.SopsNotFoundException, SHOWN[:99]),
    "a number": (refuse(10**4000), exceptions.SopsNotFoundException, "1000"),
    "nothing": (refuse(None), exceptions.SopsNotFoundException, "SOPS says no"),
    "a code that is a text": (refuse("no", TEXT), exceptions.SopsApiException, f"(code {SHOWN[:50]}"),
    "a code without an end": (refuse("no", "9" * 5_000), exceptions.SopsApiException, "(code 9999"),
    "a code of more than 64 bits": (refuse("no", 10**400), exceptions.SopsApiException, "SOPS says no: no"),
    "a code that is no number": (refuse("no", float("inf")), exceptions.SopsApiException, "SOPS says no: no"),
    "a gateway's message": (
        say(403, {"code": 1640301, "message": TEXT, "result": False, "data": None}),
        exceptions.SopsApiPermissionException,
        f": {SHOWN}",
    ),
    "a gateway's headers": (
        say(
            403,
            "",
            **{
                "X-Bkapi-Error-Code": "1640301",
                "X-Bkapi-Error-Message": HEADER,
                "X-Bkapi-Request-Id": HEADER,
                "Retry-After": "9" * 5_000,
            },
        ),
        exceptions.SopsApiPermissionException,
        "the API gateway",
    ),
    "a redirect": (
        say(302, "", Location=f"http://login.example.com/{HEADER}"),
        exceptions.SopsInvalidAnswerException,
        "http://login.example.com/a",
    ),
    "a page": (
        say(200, LOGIN_PAGE.encode("utf-8", "replace").decode()),
        exceptions.SopsInvalidAnswerException,
        "is not one of SOPS': ",
    ),
    "nesting without an end": (say(200, "[" * 100_000), exceptions.SopsInvalidAnswerException, "is not one of SOPS'"),
    "a number of 5,000 digits": (
        say(200, '{"result": true, "data": ' + "9" * 5_000 + "}"),
        exceptions.SopsInvalidAnswerException,
        "is not one of SOPS'",
    ),
    "a state": (change(lambda status: {"state": TEXT}), exceptions.SopsInvalidAnswerException, SHOWN[:50]),
    "a state without an end": (
        change(lambda status: {"state": ["RUNNING"] * 9_999}),
        exceptions.SopsInvalidAnswerException,
        "where a word belongs",
    ),
    "a short time": (
        change(lambda status: {"finish_time": "\0\ud800"}),
        exceptions.SopsInvalidAnswerException,
        r"not a time: '\x00\ud800'",
    ),
    "a time": (change(lambda status: {"finish_time": TEXT}), exceptions.SopsInvalidAnswerException, "not a time"),
}


@pytest.fixture
def task_id(sops: FakeSops, connect: Connect, api_type: str) -> int:
    connect(sops, api_type)
    return sops.create_task("Long sleep")


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("name", REFUSALS)
def test_an_error_in_the_worker(sops: FakeSops, task_id: int, name: str) -> None:
    fault, kind, says = REFUSALS[name]
    sops.faults.add("get_task_status", **fault)
    sops.faults.add("get_task_detail", **fault)
    ran = Ran(sensor(task_id, max_outage=0))
    error: Any = ran.error
    if isinstance(error, exceptions.SopsOutageException):
        error = error.__cause__
    assert type(error) is kind
    said = str(error).replace("ESB", "the API gateway").replace("\\\\", "\\")
    assert says in said
    assert error.remote_message is None or len(error.remote_message) <= 1000
    assert error.request_id is None or len(error.request_id) <= 128
    works, message = SopsHook().test_connection()
    assert_storable(message)
    assert works in (True, False)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("name", REFUSALS)
def test_an_error_in_the_triggerer(sops: FakeSops, task_id: int, name: str, caplog: pytest.LogCaptureFixture) -> None:
    fault = REFUSALS[name][0]
    for api in ("get_task_status", "get_tasks_status", "get_task_detail"):
        sops.faults.add(api, **fault)
    event = event_of(task_id, caplog, max_outage=0.0)
    assert event["outcome"] == Outcome.FAILURE.value
    assert event["error"]["message"]
    ended = read_event(task_id, event)
    assert ended.observation.error is not None


#: numbers that only decorate a status
DECORATIONS: dict[str, Any] = {
    "Infinity": float("inf"),
    "NaN": float("nan"),
    "more than 64 bits": 2**70,
    "4,000 digits": 10**4000,
    "a text": "soon",
}


@pytest.mark.parametrize("name", DECORATIONS)
def test_a_number_that_decorates_ends_no_wait(
    sops: FakeSops, task_id: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    number = DECORATIONS[name]
    end = "2026-11-22 21:03:25 +0800"
    ended = {"state": "FINISHED", "finish_time": end, "elapsed_time": number}
    children = {"n1": {"name": "n", "state": "FINISHED", "retry": number, "children": {}}}
    sops.faults.add("get_task_status", **change(lambda status: {**ended, "children": children}))
    row = {"id": task_id, "name": "name", "start_time": end, "finish_time": end, "url": "", "status": ended}
    sops.faults.add("get_tasks_status", **say(200, {"result": True, "data": [row], "code": 0}))
    detail = {"id": task_id, "name": "name", "start_time": end, "finish_time": end, "elapsed_time": number}
    sops.faults.add("get_task_detail", **say(200, {"result": True, "data": detail, "code": 0}))
    ran = Ran(sensor(task_id))
    assert ran.error is None
    assert ran.result["elapsed_time"] == 0
    event = event_of(task_id, caplog)
    assert (event["outcome"], event["status"]["elapsed_time"]) == (Outcome.SUCCESS.value, 0)


def test_nesting_of_nodes_ends_no_wait(sops: FakeSops, task_id: int, caplog: pytest.LogCaptureFixture) -> None:
    children: dict[str, Any] = {}
    for level in range(300):
        children = {f"n{level}": {"name": TEXT, "state": "FINISHED", "children": children}}
    ended = {"state": "FINISHED", "finish_time": "2026-11-22 21:03:25 +0800", "children": children}
    sops.faults.add("get_task_status", **change(lambda status: ended))
    sops.deny("get_tasks_status")
    assert Ran(sensor(task_id)).error is None
    assert event_of(task_id, caplog)["outcome"] == Outcome.SUCCESS.value


def test_a_page_that_is_no_address_is_not_linked(sops: FakeSops, task_id: int) -> None:
    sops.advance(3600)
    answer = {"id": task_id, "name": "name", "task_url": f"http://{TEXT}", "outputs": [], "constants": {}}
    sops.faults.add("get_task_detail", **say(200, {"result": True, "data": answer, "code": 0}))
    ran = Ran(sensor(task_id))
    assert ran.error is None
    assert_storable(ran.ti.xcoms)


def test_what_a_dag_says_reaches_sops(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    hook = SopsHook()
    created = hook.create_task(101, "name", constants={"${IP}": TEXT})
    assert sops.task(created.task_id).constants["${IP}"] == TEXT
    assert hook.get_task_list(keyword=TEXT) == []
