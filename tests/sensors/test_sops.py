# SPDX-License-Identifier: Apache-2.0
"""The sensor, poked and rescheduled: the table of situations, its log, its result, its limits."""

from __future__ import annotations

import datetime
import itertools
import json
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
)

from airflow_provider_sops import exceptions
from airflow_provider_sops.exceptions import SopsConfigException, SopsException, SopsTaskFailedException
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from airflow_provider_sops.testing import FakeSops
from tests import secrets
from tests.servers import Server, read_request
from tests.tasks import TaskInstance, collect_log
from tests.times import MovedTime, move_time
from tests.verdict_cases import CASES, HOUR, MINUTE, Case, StillWaiting, World

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:
    from airflow.exceptions import AirflowRescheduleException

AIRFLOWS_SENSOR = sys.modules[BaseSensorOperator.__module__]


@dataclass
class Run:
    """A sensor's run over its whole wait, whatever its mode."""

    world: World
    ti: TaskInstance = field(default_factory=TaskInstance)
    lines: list[str] = field(default_factory=list)
    pokes: int = 0
    result: Any = None
    error: BaseException | None = None

    def sensor(self, **arguments: Any) -> SopsTaskSensor:
        wanted = {"task_id": "wait", "sops_task_id": self.world.task_id, **self.world.case.arguments}
        sensor = SopsTaskSensor(**{"timeout": 24 * HOUR, **wanted, **arguments})
        self.lines_of_sensor = collect_log(sensor)
        return sensor

    def poke(self, **arguments: Any) -> None:
        """Wait in one process, as ``mode="poke"`` does."""
        sensor = self.sensor(**arguments)
        try:
            self.result = sensor.execute(self.ti.context)
        except Exception as error:
            self.error = error
        self.lines += self.lines_of_sensor

    def reschedule(self, **arguments: Any) -> None:
        """Wait in a new process for each poke, as ``mode="reschedule"`` does."""
        begin = datetime.datetime.fromtimestamp(self.world.now, datetime.UTC)
        while True:
            self.pokes += 1
            sensor = self.sensor(mode="reschedule", **arguments)
            try:
                self.result = sensor.execute(self.ti.context)
            except AirflowRescheduleException as later:
                self.lines += self.lines_of_sensor
                self.ti.first_poke = begin
                try:
                    self.world.sleep(later.reschedule_date.timestamp() - self.world.now)
                except StillWaiting as error:
                    self.error = error
                    return
                continue
            except Exception as error:
                self.error = error
            self.lines += self.lines_of_sensor
            return


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, connect: Callable[..., None]) -> Iterator[Callable[..., Run]]:
    """Make the world of a case, and let the sensor live in its time."""
    worlds: list[World] = []

    def start(case: Case, api_type: str = "apigw") -> Run:
        world = World(case).__enter__()
        worlds.append(world)
        connect(world.fake, api_type)
        run = Run(world)
        moved = WorldTime(world)
        move_time(monkeypatch, moved, AIRFLOWS_SENSOR.__name__)
        monkeypatch.setattr(AIRFLOWS_SENSOR, "timezone", moved)
        if hasattr(AIRFLOWS_SENSOR, "_orig_start_date"):  # Airflow 2 asks its database
            monkeypatch.setattr(AIRFLOWS_SENSOR, "_orig_start_date", lambda **ti: run.ti.first_poke)
        return run

    yield start
    for world in worlds:
        world.__exit__()


class WorldTime(MovedTime):
    """The time of a world, as the modules :mod:`time` and Airflow's ``timezone`` tell it."""

    def __init__(self, world: World) -> None:
        super().__init__(world.sleep)
        self.world = world

    def time(self) -> float:
        return self.world.now

    def monotonic(self) -> float:
        return self.world.now

    def utcnow(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.world.now, datetime.UTC)


def check(run: Run) -> None:
    """Compare what a run came to with what its case expects."""
    case, error = run.world.case, run.error
    if case.expected == "success":
        assert error is None
        assert run.result["state"] == case.state
        assert run.result["sops_task_id"] == run.world.task_id
        assert run.ti.xcoms["sops_task_url"].startswith(f"{run.world.fake.url}/taskflow/execute/7/?instance_id=")
        times = [datetime.datetime.fromisoformat(run.result[name]) for name in ("start_time", "end_time")]
        assert all(time.utcoffset() is not None for time in times)
    elif case.expected == "wait":
        assert isinstance(error, StillWaiting)
    else:
        assert type(error) is getattr(exceptions, case.exception), error
        for words in case.says:
            assert words in str(error)
        if case.expected == "failure":
            assert isinstance(error, SopsTaskFailedException)
            assert error.sops_task_id == run.world.task_id
            assert case.state in ("", error.state)
        else:
            assert isinstance(error, SopsException)
    if case.expected != "wait":
        assert run.world.elapsed >= case.not_before - 0.001
    for words in case.logs:
        told = sum(words in line for line in run.lines)
        # a process does not know exactly what the one before it has told
        assert told == 1 or (told == 2 and run.pokes > 1), run.lines


@pytest.mark.parametrize("case", CASES, ids=str)
def test_poked(case: Case, start: Callable[..., Run]) -> None:
    run = start(case)
    run.poke()
    check(run)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rescheduled(case: Case, start: Callable[..., Run]) -> None:
    run = start(case, "esb")
    run.reschedule()
    check(run)


# ---- soft_fail ----

BAD = [case for case in CASES if case.expected in ("failure", "error")]


@pytest.mark.parametrize("case", BAD, ids=str)
def test_soft_fail_skips_on_a_bad_end_and_on_nothing_else(case: Case, start: Callable[..., Run]) -> None:
    run = start(case)
    run.poke(soft_fail=True)
    if case.expected == "failure":
        assert type(run.error) is AirflowSkipException
        assert type(run.error.__cause__) is getattr(exceptions, case.exception)
        assert str(run.error) == str(run.error.__cause__)
        assert any(words in line for line in run.lines for words in (*case.says, "has ended as"))
    else:
        assert type(run.error) is getattr(exceptions, case.exception)


@pytest.mark.parametrize("name", ["is revoked", "fails", "may not be seen by the user", "cannot be read any more"])
def test_soft_fail_does_the_same_rescheduled(name: str, start: Callable[..., Run]) -> None:
    (case,) = (case for case in BAD if case.name == name)
    run = start(case)
    run.reschedule(soft_fail=True)
    expected = AirflowSkipException if case.expected == "failure" else getattr(exceptions, case.exception)
    assert type(run.error) is expected


@pytest.mark.parametrize("timeout", [300, timedelta(minutes=5)])
@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_timeout(start: Callable[..., Run], mode: str, timeout: Any, soft_fail: bool) -> None:
    run = start(Case("long", "wait", "Long sleep", within=HOUR))
    getattr(run, mode)(timeout=timeout, soft_fail=soft_fail)
    assert type(run.error) is (AirflowSkipException if soft_fail else AirflowSensorTimeout)
    assert 300 <= run.world.elapsed <= 400


def test_a_timeout_comes_in_an_outage_too(start: Callable[..., Run]) -> None:
    events = ((30.0, lambda fake, task_id: fake.faults.add(kind="html", times=None)),)
    case = Case("out", "wait", "Long sleep", arguments={"max_outage": HOUR}, events=events, within=HOUR)
    run = start(case)
    run.reschedule(timeout=300)
    assert type(run.error) is AirflowSensorTimeout
    assert 300 <= run.world.elapsed <= 400


def test_an_answer_that_trickles_does_not_hold_it_beyond_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = 0

    def trickle(connection: socket.socket) -> None:
        nonlocal pieces
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(200):
            connection.sendall(b" ")
            pieces += 1
            if server.wait(0.05):
                return

    with Server(trickle) as server:
        extra = {"bk_username": "admin", "bk_biz_id": 2, "timeout": 0.2}
        fields = {"conn_type": "sops", "host": f"{server.url}/prod", "login": "app", "password": secrets.APP_SECRET}
        monkeypatch.setenv("AIRFLOW_CONN_SOPS_DEFAULT", json.dumps(fields | {"extra": {"api_type": "apigw"} | extra}))
        sensor = SopsTaskSensor(task_id="wait", sops_task_id=5, timeout=1, poke_interval=0.1)
        lines = collect_log(sensor)
        with pytest.raises(AirflowSensorTimeout):
            sensor.execute(TaskInstance().context)
    assert any("Cannot read the status of SOPS task 5" in line and "no answer in time" in line for line in lines)
    assert pieces < 100  # of the first answer alone there would have been more


def test_a_stopped_task_is_not_retried_by_airflow(start: Callable[..., Run]) -> None:
    (case,) = (case for case in CASES if case.name == "is revoked")
    run = start(case)
    run.poke()
    assert isinstance(run.error, AirflowFailException)


# ---- what it costs SOPS ----


def times_of(fake: FakeSops, api: str) -> list[float]:
    return [request.time for request in fake.requests if request.api == api]


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


@pytest.mark.parametrize(
    ("mode", "arguments", "interval"),
    [
        ("poke", {}, 10),
        ("poke", {"poke_interval": 3}, 3),
        ("poke", {"poke_interval": timedelta(seconds=25)}, 25),
        ("reschedule", {}, 60),
        ("reschedule", {"poke_interval": 20}, 20),
    ],
)
def test_it_asks_no_faster_than_the_cache_can_answer(
    start: Callable[..., Run], mode: str, arguments: dict[str, Any], interval: float
) -> None:
    run = start(Case("long", "success", "Long sleep", within=HOUR))
    getattr(run, mode)(**arguments)
    assert run.result["state"] == "FINISHED"
    for gap in gaps(times_of(run.world.fake, "get_task_status")):
        assert gap == pytest.approx(interval, abs=0.01)


def test_its_polls_can_be_answered_from_the_cache(start: Callable[..., Run]) -> None:
    run = start(Case("long", "success", "Long sleep", within=HOUR))
    run.poke()
    asked = [request.params for request in run.world.fake.requests if request.api == "get_task_status"]
    assert len(asked) > 50
    assert all(params == {} for params in asked)
    assert run.world.fake.count("get_task_detail") == 1
    assert run.world.fake.count("get_tasks_manual_intervention_state") == 1  # ten minutes without a change
    assert run.world.fake.count() == len(asked) + 2
    assert run.world.fake.connections == 1


def test_the_detail_alone_is_asked_for_once_a_minute(start: Callable[..., Run]) -> None:
    case = Case("long", "success", "Long sleep", fake={"granted": ["get_task_detail"]}, within=HOUR)
    run = start(case)
    run.poke()
    assert gaps(times_of(run.world.fake, "get_task_detail")) == [pytest.approx(60, abs=0.01)] * 11
    assert run.world.fake.count("get_task_status") == 1
    run = start(case)
    run.poke(poke_interval=15)
    assert all(gap == pytest.approx(15, abs=0.01) for gap in gaps(times_of(run.world.fake, "get_task_detail")))


def test_the_cost_of_the_detail_alone_is_told_of_by_the_first_poke_only(start: Callable[..., Run]) -> None:
    run = start(Case("long", "success", "Long sleep", fake={"granted": ["get_task_detail"]}, within=HOUR))
    run.reschedule()
    assert run.pokes > 9
    assert sum("get_task_detail alone" in line for line in run.lines) == 1


def test_exponential_backoff(start: Callable[..., Run]) -> None:
    run = start(Case("long", "success", "Long sleep", within=HOUR))
    run.poke(exponential_backoff=True, max_wait=200)
    pauses = gaps(times_of(run.world.fake, "get_task_status"))
    assert pauses[0] < pauses[3]
    assert max(pauses) <= 200
    assert len(pauses) < 20


# ---- its log ----


def test_the_log_has_one_line_for_each_change(start: Callable[..., Run]) -> None:
    run = start(Case("steps", "success", "With a subprocess", fake={"caches": False}))
    run.poke(poke_interval=0.25)
    assert run.world.fake.count("get_task_status") > 8
    own = [line.split(": ", 1)[1] for line in run.lines if line.startswith("SOPS task")]
    assert own == [
        "CREATED, 0 of 5 nodes done.",
        "RUNNING, 2 of 5 nodes done, now: child sleep.",
        "FINISHED, 5 of 5 nodes done.",
    ]
    assert all("'With a subprocess'" in line for line in run.lines if line.startswith("SOPS task"))


def test_the_log_is_not_repeated_by_rescheduled_pokes(start: Callable[..., Run]) -> None:
    run = start(Case("long", "success", "Long sleep", within=HOUR))
    run.reschedule(poke_interval=20)
    assert run.pokes > 25
    own = [line.split(": ", 1)[1] for line in run.lines if line.startswith("SOPS task")]
    assert own[0] == "CREATED, 0 of 3 nodes done."
    assert own[-1] == "FINISHED, 3 of 3 nodes done."
    # how much of it the earlier processes have told is known by the minute only
    assert set(own[1:-1]) == {"RUNNING, 2 of 3 nodes done, now: sleep_long."}
    assert len(own) <= 7


def test_a_pause_is_told_of_by_rescheduled_pokes_too(start: Callable[..., Run]) -> None:
    case = Case(
        "paused",
        "success",
        "Long sleep",
        events=(
            (300.0, lambda fake, task_id: fake.operate(task_id, "pause")),
            (3000.0, lambda fake, task_id: fake.operate(task_id, "resume")),
        ),
        within=2 * HOUR,
    )
    run = start(case)
    run.reschedule()
    paused = [line for line in run.lines if "SUSPENDED" in line]
    assert 3 <= len(paused) <= 12
    assert all(line.endswith(run.ti.xcoms["sops_task_url"]) for line in paused)


# ---- its arguments ----


@pytest.mark.parametrize("default", ["True", "False"])
def test_whether_it_defers_is_airflows_default(monkeypatch: pytest.MonkeyPatch, default: str) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", default)
    assert SopsTaskSensor(task_id="wait", sops_task_id=1).deferrable is (default == "True")
    assert SopsTaskSensor(task_id="wait", sops_task_id=1, deferrable=True).deferrable is True
    assert SopsTaskSensor(task_id="wait", sops_task_id=1, deferrable=False).deferrable is False


def test_it_does_not_defer_unless_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", raising=False)
    assert SopsTaskSensor(task_id="wait", sops_task_id=1).deferrable is False


@pytest.mark.parametrize("task_id", ["abc", "", None, 0, -1, True, 1.5, "1.5", [1], "１２"])
def test_an_id_that_is_none(sops: FakeSops, connect: Callable[..., None], task_id: Any) -> None:
    connect(sops)
    sensor = SopsTaskSensor(task_id="wait", sops_task_id=task_id, soft_fail=True)
    with pytest.raises(SopsConfigException, match=r"^sops_task_id: must be a positive whole number, not "):
        sensor.execute(TaskInstance().context)
    assert sops.count() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"on_failed": "retry"}, "on_failed: must be 'fail' or 'wait', not 'retry'"),
        ({"on_suspended": "resume"}, "on_suspended: must be 'wait' or 'fail', not 'resume'"),
        ({"allowed_states": ["DONE"]}, "allowed_states: DONE is not a final state of SOPS; there are: EXPIRED, FINI"),
        ({"allowed_states": ["FAILED"]}, "allowed_states: FAILED is not a final state"),
        ({"allowed_states": []}, "allowed_states: must name at least one final state"),
        ({"failed_grace": -1}, "failed_grace: must be seconds or a timedelta, not negative"),
        ({"failed_grace": "5m"}, "failed_grace: must be seconds or a timedelta"),
        ({"max_outage": timedelta(seconds=-1)}, "max_outage: must be seconds or a timedelta"),
        ({"max_outage": True}, "max_outage: must be seconds or a timedelta"),
        ({"max_outage": float("nan")}, "max_outage: must be seconds or a timedelta"),
    ],
)
def test_a_wrong_argument_is_told_when_the_dag_is_read(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is looked at)
        SopsTaskSensor(task_id="wait", sops_task_id=1, **arguments)
    assert str(caught.value).startswith(says)


def test_all_that_names_a_task_is_templated() -> None:
    assert set(SopsTaskSensor.template_fields) >= {"sops_task_id", "bk_biz_id", "scope", "sops_conn_id"}


def test_a_single_allowed_state_may_be_a_string(start: Callable[..., Run]) -> None:
    run = start(Case("finishes", "success"))
    run.poke(allowed_states="FINISHED", sops_task_id=f" {run.world.task_id} ")
    assert run.result["state"] == "FINISHED"


def test_the_project_scope(start: Callable[..., Run]) -> None:
    run = start(Case("finishes", "success"))
    run.poke(scope="project", bk_biz_id=str(run.world.fake.project_id))
    assert run.result["state"] == "FINISHED"
    run = start(Case("finishes", "success"))
    run.poke(scope="projekt")
    assert "scope: must be 'cmdb_biz' or 'project', not 'projekt'" in str(run.error)


def test_the_result(start: Callable[..., Run]) -> None:
    run = start(Case("finishes", "success"))
    run.poke()
    task = run.world.fake.task(run.world.task_id)
    times = {name: datetime.datetime.fromisoformat(run.result.pop(name)) for name in ("start_time", "end_time")}
    assert {name: int(time.timestamp()) for name, time in times.items()} == {
        "start_time": int(task.start_time or 0),
        "end_time": int(task.finish_time or 0),
    }
    assert all(time.utcoffset() == timedelta(hours=8) for time in times.values())
    assert run.result == {
        "sops_task_id": run.world.task_id,
        "state": "FINISHED",
        "elapsed_time": 3,
        "task_url": run.ti.xcoms["sops_task_url"],
        "task_name": "Two steps with outputs",
    }


def test_the_link_is_there_while_it_waits(start: Callable[..., Run]) -> None:
    run = start(Case("long", "wait", "Long sleep", within=MINUTE))
    run.poke()
    assert run.ti.xcoms == {"sops_task_url": run.world.fake.site.task_url(run.world.fake.task(run.world.task_id))}


def test_nothing_is_pushed_where_nothing_is_to_be(start: Callable[..., Run]) -> None:
    run = start(Case("finishes", "success"))
    run.poke(do_xcom_push=False)
    assert run.ti.xcoms == {}


def test_an_address_that_is_none_of_the_web_is_not_pushed(start: Callable[..., Run]) -> None:
    run = start(Case("finishes", "success"))
    run.world.fake.site.task_url = lambda task: "javascript:alert(1)"  # type: ignore[method-assign]
    run.poke()
    assert run.result["state"] == "FINISHED"
    assert run.ti.xcoms == {}


# ---- what changes while it waits ----


def test_a_changed_secret_is_looked_up_again(start: Callable[..., Run], connect: Callable[..., None]) -> None:
    def rotate(fake: FakeSops, task_id: int) -> None:
        fake.apps["demo-app"] = fake.app_secret = f"{fake.app_secret}2"
        connect(fake)

    run = start(Case("long", "success", "Long sleep", events=((90.0, rotate),), within=HOUR))
    run.poke()
    assert run.error is None
    refused = [request for request in run.world.fake.requests if request.status == 401]
    assert len(refused) == 1


def test_a_permission_that_is_taken_away_while_it_waits(start: Callable[..., Run]) -> None:
    events = ((90.0, lambda fake, task_id: fake.deny("get_task_status")),)
    run = start(Case("long", "success", "Long sleep", events=events, within=HOUR))
    run.poke()
    assert run.result["state"] == "FINISHED"
    assert sum("reads get_task_detail alone" in line for line in run.lines) == 1


def test_an_address_without_anybody_teaches_nothing_of_the_apis(start: Callable[..., Run]) -> None:
    (case,) = (case for case in CASES if case.name == "is at an address where nobody answers for a while")
    run = start(case)
    run.poke()
    assert run.result["state"] == "FINISHED"
    assert not any("reads get_task_detail alone" in line for line in run.lines)
    assert run.world.fake.count("get_task_status") > 50


def test_an_outage_keeps_a_rescheduled_sensor_in_its_process(start: Callable[..., Run]) -> None:
    case = Case(
        "out",
        "error",
        "Long sleep",
        events=((100.0, lambda fake, task_id: fake.faults.add(kind="html", times=None)),),
        within=HOUR,
    )
    run = start(case)
    run.reschedule()
    assert type(run.error) is exceptions.SopsOutageException
    assert run.pokes == 3  # at 0, 60 and 120 s
    assert 700 <= run.world.elapsed <= 800
    assert isinstance(run.error.__cause__, exceptions.SopsInvalidAnswerException)
    assert (run.error.task_id, run.error.api) == (run.world.task_id, "get_task_status")


def test_a_node_that_failed_long_ago_leaves_no_grace_to_a_new_process(start: Callable[..., Run]) -> None:
    run = start(Case("fails", "failure", "Always fails", arguments={"failed_grace": 300}, within=HOUR))
    run.reschedule(poke_interval=100)
    assert type(run.error) is SopsTaskFailedException
    assert run.world.elapsed == pytest.approx(300, abs=101)
