# SPDX-License-Identifier: Apache-2.0
"""Waits that their trigger starts and ends: from the serialized DAG on, as Airflow's scheduler and triggerer do it."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseOperator,
    TaskDeferred,
)

from airflow_provider_sops import compat, exceptions
from airflow_provider_sops.links.sops import SopsTaskLink
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from airflow_provider_sops.triggers import wait_start
from airflow_provider_sops.wait_spec import TRIGGER_TIMEOUT_MARGIN
from tests.sensors.test_outputs import LONG, THREE
from tests.sensors.test_sops import BAD, Run, check, start  # noqa: F401 (a fixture)
from tests.tasks import collect_log
from tests.triggers.ended import Supervisor
from tests.triggers.test_verdict_cases import busy, defer, in_triggerer  # noqa: F401 (fixtures)
from tests.verdict_cases import CASES, HOUR, Case, change_secret, restore_secret

pytestmark = pytest.mark.skipif(not compat.TRIGGERS_START_TASKS, reason="this Airflow starts sensors in a worker")

LINK = compat.link_key(SopsTaskLink())
LEFT = "A worker will start this wait, not its trigger"
ENDS = Case("ends", "success", LONG, within=HOUR)
START = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)


class Started:
    """A wait that was started by its trigger, and ended by it or by a worker."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.supervisor = Supervisor(run.ti)
        self.event: Any = None
        self.conf: dict[str, Any] = {}
        #: a worker has gone on with it
        self.workers = 0

    @property
    def by_trigger(self) -> bool:
        return bool(self.event == "success")


def serialized(dag: DAG) -> Any:
    """What the scheduler and the triggerer have of a DAG."""
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.to_dict(dag)


def as_a_triggerer(started: Started, data: dict[str, Any], try_number: int, timeout_after: float) -> Any:
    """Let Airflow's own code make the task instance, and render the trigger."""
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun
    from airflow.executors.workloads.task import TaskInstanceDTO
    from airflow.jobs.triggerer_job_runner import TriggerRunner
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    ti = started.run.ti
    dag_run = DagRun(
        dag_id=ti.dag_id, run_id=ti.run_id, logical_date=START, data_interval_start=START, data_interval_end=START,
        run_after=START, start_date=START, end_date=None, run_type=DagRunType.MANUAL,
        state=DagRunState.RUNNING, conf=started.conf, consumed_asset_events=[], partition_key=None, partition_date=None,
    )  # fmt: skip
    dto = TaskInstanceDTO(
        id=uuid.uuid4(), dag_version_id=uuid.uuid4(), task_id=ti.task_id, dag_id=ti.dag_id, run_id=ti.run_id,
        try_number=try_number, map_index=ti.map_index, pool_slots=1, priority_weight=1, queue="default",
    )  # fmt: skip

    def prepare(trigger: Any) -> None:
        runtime_ti = TriggerRunner.create_runtime_ti(dto, data, dag_run.model_dump(exclude_unset=True))
        context = runtime_ti.get_template_context()
        trigger.task_instance = runtime_ti
        trigger.timeout_after = datetime.datetime.fromtimestamp(timeout_after, datetime.UTC)
        trigger.render_template_fields(context=context)

    return prepare


@pytest.fixture
def wait(
    busy: list[int],  # noqa: F811
    start: Callable[..., Run],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Started]:
    """Wait as the scheduler, a triggerer and, for what is left to it, a worker of Airflow do."""
    from airflow.models.trigger import Trigger
    from airflow.sdk.execution_time import task_runner
    from airflow.serialization.decoders import smart_decode_trigger_kwargs
    from airflow.serialization.serialized_objects import DagSerialization

    def wait(
        case: Case,
        prepare: Callable[[Started], object] = lambda started: None,
        *,
        dag_arguments: dict[str, Any] | None = None,
        build: Callable[[DAG], object] = lambda dag: None,
        after: Callable[[Any], object] = lambda sensor: None,
        try_number: int = 1,
        later: float = 0.0,
        **arguments: Any,
    ) -> Started:
        # a trigger takes a moment for what a worker reads at once
        started = Started(start(dataclasses.replace(case, within=max(case.within, 5.0))))
        run, supervisor = started.run, started.supervisor
        run.ti.try_number = try_number
        run.pokes = 2  # a trigger and perhaps a worker
        prepare(started)
        arguments = {
            "task_id": run.ti.task_id, "sops_task_id": run.world.task_id, "timeout": 24 * HOUR, "deferrable": True,
            "start_from_trigger": True, "end_from_trigger": True, **run.world.case.arguments, **arguments,
        }  # fmt: skip

        def sensor(**more: Any) -> Any:
            with DAG(run.ti.dag_id, schedule=None, start_date=START, **(dag_arguments or {})) as dag:
                build(dag)
                asked = {**arguments, **more}
                if "sops_task_id_of" in asked:
                    asked["sops_task_id"] = asked.pop("sops_task_id_of")()
                made = SopsTaskSensor(**asked)
                after(made)
                return made

        data = serialized(sensor().dag)
        task: Any = DagSerialization.from_dict(data).get_task(run.ti.task_id)
        assert task.start_from_trigger is True
        args = task.start_trigger_args
        row = Trigger(classpath=args.trigger_cls, kwargs=args.trigger_kwargs)
        kwargs = {
            name: smart_decode_trigger_kwargs(value)  # type: ignore[no-untyped-call]
            for name, value in row.kwargs.items()
        }
        moments = [
            run.world.now + timeout.total_seconds() for timeout in (args.timeout, task.execution_timeout) if timeout
        ]
        as_prepared = as_a_triggerer(started, data, try_number, min(moments))
        rendered = {}

        def render(trigger: Any) -> None:
            as_prepared(trigger)
            rendered.update({name: getattr(trigger, name) for name in SopsTaskSensor.template_fields})

        run.world.sleep(later)
        with monkeypatch.context() as patch:
            patch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
            try:
                started.event = in_triggerer(run, (row.classpath, kwargs), busy, 7, prepare=render)
            except Exception as error:
                run.error = error
                return started
        run.ti.xcoms.update(supervisor.pushed)
        if started.by_trigger:
            run.result = run.ti.xcoms.pop("return_value", None)
            return started
        run.ti.xcoms.pop("return_value", None)
        event, method = started.event, args.next_method
        while True:
            started.workers += 1
            templated = {name for name, value in arguments.items() if isinstance(value, str | list)}
            worker = sensor(**{name: value for name, value in rendered.items() if name in templated})
            run.lines_of_sensor = collect_log(worker)
            try:
                run.result = worker.resume_execution(method, {"event": event}, run.ti.context)
            except TaskDeferred as deferral:
                run.lines += run.lines_of_sensor
                event, method = in_triggerer(run, deferral.trigger.serialize(), busy), deferral.method_name
                continue
            except Exception as error:
                run.error = error
            run.lines += run.lines_of_sensor
            return started

    return wait


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_table_of_situations(case: Case, wait: Callable[..., Started]) -> None:
    started = wait(case)
    check(started.run)
    assert started.by_trigger == (case.expected == "success")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_table_of_situations_with_an_end_in_a_worker(case: Case, wait: Callable[..., Started]) -> None:
    started = wait(case, end_from_trigger=False)
    check(started.run)
    assert not started.by_trigger


@pytest.mark.parametrize("case", BAD, ids=str)
def test_soft_fail(case: Case, wait: Callable[..., Started]) -> None:
    started = wait(case, soft_fail=True)
    expected = AirflowSkipException if case.expected == "failure" else getattr(exceptions, case.exception)
    assert type(started.run.error) is expected, started.run.error


# ---- the same as by a worker ----

SAME: list[dict[str, Any]] = [
    {},
    {"push_outputs": True},
    {"push_outputs": True, "keys": ["${IP}", "EXIT"]},
    {"push_outputs": True, "keys": "IP"},
    {"push_outputs": True, "do_xcom_push": False},
]


@pytest.mark.parametrize("arguments", SAME, ids=str)
def test_it_pushes_what_a_worker_pushes(
    arguments: dict[str, Any],
    start: Callable[..., Run],  # noqa: F811
    defer: Callable[..., None],  # noqa: F811
    wait: Callable[..., Started],
) -> None:
    started = wait(ENDS, **arguments)
    assert started.by_trigger
    assert started.workers == 0
    worker = start(ENDS)
    defer(worker, **arguments)
    assert worker.error is None
    if not arguments.get("do_xcom_push", True):
        assert started.supervisor.pushes == []
        return
    own = (LINK, "sops_task_url")
    assert {key: value for key, value in started.run.ti.xcoms.items() if key not in own} == {
        key: value for key, value in worker.ti.xcoms.items() if key not in own
    }
    assert set(started.run.result) == set(worker.result)
    assert started.run.result.get("outputs") == worker.result.get("outputs")
    told = [line for line in worker.lines if "pushed as" in line or "RUNNING" in line or "is FINISHED" in line]
    assert told
    assert [line.partition("'")[2] for line in started.run.lines if "is FINISHED" in line] == [
        line.partition("'")[2] for line in told if "is FINISHED" in line
    ]


def test_the_link_is_there_while_it_waits_and_is_pushed_once(wait: Callable[..., Started]) -> None:
    pushed_at: dict[int, float] = {}

    def prepare(started: Started) -> None:
        started.supervisor.before_push = lambda number: pushed_at.setdefault(number, started.run.world.elapsed)

    started = wait(ENDS, prepare)
    keys = [key for key, _, _ in started.supervisor.pushes]
    assert keys == ["sops_task_url", LINK, "return_value"]
    assert pushed_at[1] < 30 < pushed_at[2]
    assert started.supervisor.pushed[LINK] == started.supervisor.pushed["sops_task_url"]
    assert started.supervisor.pushed[LINK] == started.run.result["task_url"]


def test_a_link_that_cannot_be_pushed_ends_no_wait(wait: Callable[..., Started]) -> None:
    def refuse(number: int) -> None:
        if number == 0 and not refusals:
            refusals.append(number)
            raise RuntimeError("API_SERVER_ERROR")

    refusals: list[int] = []

    def prepare(started: Started) -> None:
        started.supervisor.before_push = refuse

    started = wait(ENDS, prepare)
    assert started.by_trigger
    assert [key for key, _, _ in started.supervisor.pushes] == ["return_value", "sops_task_url", LINK]
    assert sum("The link to the SOPS task could not be pushed: RuntimeError" in line for line in started.run.lines) == 1


def test_a_worker_that_ends_it_pushes_what_names_the_outputs_first(wait: Callable[..., Started]) -> None:
    started = wait(ENDS, end_from_trigger=False, push_outputs=True)
    assert started.workers == 1
    assert started.run.result["outputs"] == THREE
    keys = list(started.run.ti.xcoms)
    assert keys.index("return_value") < keys.index("IP")
    assert started.run.ti.xcoms["return_value"] == started.run.result


# ---- its time ----


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize("later", [0.0, 200.0])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"execution_timeout": datetime.timedelta(hours=3)}, {"execution_timeout": datetime.timedelta(seconds=310)}],
)
def test_a_timeout_is_counted_from_the_start_also_after_a_restart(
    wait: Callable[..., Started], soft_fail: bool, later: float, arguments: dict[str, Any]
) -> None:
    case = Case("long", "wait", LONG, arguments={"timeout": 300}, within=HOUR)
    started = wait(case, later=later, soft_fail=soft_fail, **arguments)
    assert type(started.run.error) is (AirflowSkipException if soft_fail else AirflowSensorTimeout)
    assert "has not ended within 300 s: it is RUNNING" in str(started.run.error)
    assert 299.999 <= started.run.world.elapsed <= 330
    assert started.supervisor.pushed.keys() == {"sops_task_url", LINK}


def test_airflow_s_own_timeout_comes_after_its_own(wait: Callable[..., Started]) -> None:
    with DAG("dag", schedule=None, start_date=START):
        sensor = SopsTaskSensor(task_id="wait", sops_task_id=1, timeout=60, deferrable=True, start_from_trigger=True)
    assert sensor.start_trigger_args is not None
    assert sensor.start_trigger_args.timeout == datetime.timedelta(seconds=60 + TRIGGER_TIMEOUT_MARGIN)


@pytest.mark.parametrize(("later", "expected"), [(0.0, "SopsAuthenticationException"), (120.0, None)])
def test_wrong_credentials_are_tolerated_where_a_triggerer_was_there_before(
    wait: Callable[..., Started], later: float, expected: str | None
) -> None:
    case = Case("rotation", "success", LONG, before=change_secret, events=((180.0, restore_secret),), within=HOUR)
    started = wait(case, later=later)
    if expected is None:
        assert started.by_trigger
    else:
        assert type(started.run.error) is getattr(exceptions, expected)


# ---- what is open when the DAG is read ----


def test_fields_are_rendered(wait: Callable[..., Started]) -> None:
    def prepare(started: Started) -> None:
        started.conf = {"id": started.run.world.task_id, "key": "IP"}

    started = wait(
        ENDS, prepare, push_outputs=True,
        sops_task_id="{{ dag_run.conf['id'] }}", bk_biz_id="{{ 1 + 1 }}", sops_conn_id="sops_{{ 'default' }}",
        keys=["{{ dag_run.conf['key'] }}", "${EXIT}"],
    )  # fmt: skip
    assert started.by_trigger
    assert started.run.result["outputs"].keys() == {"IP", "EXIT"}


PULLS = ["{{ ti.xcom_pull('before') }}", "{{ task_instance.xcom_pull(task_ids='before', key='return_value') }}"]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("sops_task_id", [None, *PULLS])
def test_another_task_s_result_is_rendered(
    wait: Callable[..., Started], native: bool, sops_task_id: str | None
) -> None:
    before: list[Any] = []

    def build(dag: DAG) -> None:
        before[:] = [BaseOperator(task_id="before")]

    def prepare(started: Started) -> None:
        started.supervisor.stored["before", "return_value"] = started.run.world.task_id

    started = wait(
        ENDS, prepare, build=build, dag_arguments={"render_template_as_native_obj": native},
        sops_task_id_of=lambda: sops_task_id or before[0].output,
    )  # fmt: skip
    assert started.by_trigger, (started.run.error, started.run.lines, started.event)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"sops_task_id": "{{ 'x' }}"}, "sops_task_id"),
    ({"bk_biz_id": "{{ 'x' }}"}, "bk_biz_id"),
    ({"scope": "{{ 'x' }}"}, "scope"),
    ({"sops_conn_id": "{{ '' }}"}, "sops_conn_id"),
    ({"push_outputs": True, "keys": ["{{ '' }}"]}, "keys"),
]


@pytest.mark.parametrize(("arguments", "field"), WRONG, ids=[field for _, field in WRONG])
def test_a_wrong_argument_is_a_worker_s_error(
    wait: Callable[..., Started], arguments: dict[str, Any], field: str
) -> None:
    started = wait(ENDS, **arguments)
    assert type(started.run.error) is exceptions.SopsConfigException
    assert field in str(started.run.error)
    assert started.workers == 1
    assert started.supervisor.pushes == []
    assert sum(f"{LEFT}: " in line and field in line for line in started.run.lines) == 1
    assert started.run.world.fake.requests == []


def test_a_connection_that_is_not_there_is_a_worker_s_error(wait: Callable[..., Started]) -> None:
    started = wait(ENDS, sops_conn_id="nowhere")
    assert type(started.run.error).__name__ == "AirflowNotFoundException"
    assert started.workers == 1


def test_a_business_that_nobody_names_is_a_worker_s_error(
    wait: Callable[..., Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(started: Started) -> None:
        fields = {
            "conn_type": "sops",
            "host": f"{started.run.world.fake.url}/prod",
            "login": "app",
            "password": "x" * 20,
        }
        extra = {"api_type": "apigw", "bk_username": "admin"}
        monkeypatch.setenv("AIRFLOW_CONN_SOPS_NO_BIZ", json.dumps({**fields, "extra": extra}))

    started = wait(ENDS, prepare, sops_conn_id="sops_no_biz")
    assert type(started.run.error) is exceptions.SopsConfigException
    assert "bk_biz_id: is not given" in str(started.run.error)


def test_a_start_that_fails_here_alone_is_made_by_a_worker(
    wait: Callable[..., Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(sops_conn_id: str) -> Any:
        raise RuntimeError("the secrets backend is away")

    with monkeypatch.context() as patch:
        patch.setattr(wait_start, "look_up_site", away)
        started = wait(ENDS)
    assert started.run.error is None
    assert started.run.result["state"] == "FINISHED"
    assert sum(f"{LEFT}: RuntimeError" in line for line in started.run.lines) == 1
    assert started.workers == 2


def test_waits_that_start_together_look_a_connection_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    async def look_up(sops_conn_id: str) -> Any:
        looked_up.append(sops_conn_id)
        await asyncio.sleep(0)
        return sops_conn_id

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(wait_start._site_of(name) for name in ["a", "b"] * 50))

    monkeypatch.setattr(wait_start, "look_up_site", look_up)
    assert asyncio.run(all_at_once()) == ["a", "b"] * 50
    assert sorted(looked_up) == ["a", "b"]


# ---- an earlier run ----


@pytest.mark.parametrize("expected", ["success", "failure"])
def test_what_an_earlier_run_has_pushed_is_deleted_before_it_waits(wait: Callable[..., Started], expected: str) -> None:
    old = {"IP": "10.0.0.1", "GONE": "x"}

    def prepare(started: Started) -> None:
        for key in (*old, *(f"${{{name}}}" for name in old), "sops_task_url", LINK):
            started.supervisor.stored[started.run.ti.task_id, key] = "old"
        started.supervisor.stored[started.run.ti.task_id, "return_value"] = {"sops_task_id": 1, "outputs": old}

    case = ENDS if expected == "success" else Case("fails", "failure", "Always fails", state="FAILED")
    started = wait(case, prepare, try_number=2, push_outputs=True)
    assert started.supervisor.stored == {}
    assert started.supervisor.deleted[-1] == "return_value"
    check(started.run)


@pytest.mark.parametrize("state", ["success", "running", "scheduled", None])
def test_a_start_that_stood_still_deletes_nothing_of_a_task_that_has_gone_on(
    wait: Callable[..., Started], state: str | None
) -> None:
    pushed = {}

    def prepare(started: Started) -> None:
        started.supervisor.state = state  # type: ignore[assignment]
        pushed[started.run.ti.task_id, "return_value"] = {"outputs": THREE}
        started.supervisor.stored.update(pushed)

    started = wait(ENDS, prepare, try_number=2)
    assert started.event == {"version": 1, "outcome": "start_in_worker"}  # which Airflow drops then
    assert (started.supervisor.stored, started.supervisor.deleted, started.supervisor.pushes) == (pushed, [], [])


def test_nothing_is_asked_for_in_a_first_run(wait: Callable[..., Started]) -> None:
    assert wait(ENDS).supervisor.deleted == []


def test_xcoms_that_cannot_be_deleted_fail_the_task(
    wait: Callable[..., Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(ti: Any, key: str) -> None:
        raise RuntimeError("API_SERVER_ERROR")

    monkeypatch.setattr(wait_start, "delete_xcom", refuse)
    started = wait(ENDS, try_number=2)
    assert type(started.run.error) is AirflowException
    assert "XComs of an earlier run of this task could not be deleted (RuntimeError)" in str(started.run.error)
    assert started.run.world.fake.requests == []


# ---- what is seen in the triggerer ----


def test_a_callback_that_a_cluster_policy_has_set_is_a_worker_s(wait: Callable[..., Started]) -> None:
    started = wait(ENDS, end_from_trigger=None, on_success_callback=lambda context: None)
    assert not started.by_trigger
    assert started.run.result["state"] == "FINISHED"


def test_the_length_for_what_is_expanded_over_it(wait: Callable[..., Started]) -> None:
    lengths: dict[str, Any] = {}

    def after(sensor: Any) -> None:
        BaseOperator.partial(task_id="each").expand(doc=sensor.output)

    started = wait(ENDS, after=after)
    assert started.by_trigger
    lengths = {key: length for key, _, length in started.supervisor.pushes}
    assert lengths == {"return_value": len(started.run.result), "sops_task_url": None, LINK: None}
