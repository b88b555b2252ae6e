# SPDX-License-Identifier: Apache-2.0
"""Which waits are started by their trigger: what Airflow's scheduler is told when a DAG is read, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, Param, TaskDeferred, TaskGroup

from airflow_provider_sops import trigger_start
from airflow_provider_sops.compat import TRIGGERS_START_TASKS
from airflow_provider_sops.operators.sops import SopsRunTaskOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.triggers.sops import SopsTaskTrigger
from airflow_provider_sops.wait_spec import WaitSpec
from tests.tasks import TaskInstance, collect_log

starts = pytest.mark.skipif(not TRIGGERS_START_TASKS, reason="this Airflow starts sensors in a worker")
SAID = "A worker starts this wait, not its trigger: "


class OwnPoke(SopsTaskSensor):
    def poke(self, context: Any) -> bool:
        return True


class OwnExecute(SopsTaskSensor):
    def execute(self, context: Any) -> Any: ...


def dag_of(**arguments: Any) -> DAG:
    return DAG("dag", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC), **arguments)


def sensor_of(kind: type[SopsTaskSensor] = SopsTaskSensor, **arguments: Any) -> Any:
    wanted = {"task_id": "waits", "sops_task_id": 1, "deferrable": True, "start_from_trigger": True}
    return kind(**{**wanted, **arguments})


@starts
def test_one_outside_of_a_dag_is_refused() -> None:
    with pytest.raises(ValueError, match="it is made outside of its DAG"):
        sensor_of()


@starts
def test_the_order_for_the_wait_stands_in_the_dag() -> None:
    with dag_of():
        sensor = sensor_of(
            sops_task_id="{{ params.id }}",
            push_outputs=True,
            keys=("IP",),
            timeout=60,
            poke_interval=20,
            on_failed="wait",
            failed_grace=timedelta(minutes=5),
            allowed_states=["REVOKED", "FINISHED"],
            end_from_trigger=True,
            execution_timeout=timedelta(minutes=1),
        )
    args = sensor.start_trigger_args
    assert sensor.start_from_trigger is True
    assert args.trigger_cls == f"{SopsTaskTrigger.__module__}.{SopsTaskTrigger.__name__}"
    assert args.next_method == "execute_complete"
    assert args.trigger_kwargs.keys() == set(WaitSpec._fields)
    order = {
        "sops_task_id": "{{ params.id }}",
        "bk_biz_id": None,
        "scope": None,
        "sops_conn_id": "sops_default",
        "keys": ["IP"],
        "push_outputs": True,
        "end_from_trigger": True,
        "timeout": 60.0,
        "execution_timeout": 60.0,
        "poll_interval": 20.0,
        "on_failed": "wait",
        "failed_grace": 300.0,
        "allowed_states": ["FINISHED", "REVOKED"],
        "deadline": None,
    }
    assert order.items() <= args.trigger_kwargs.items()
    assert json.loads(json.dumps(args.trigger_kwargs)) == args.trigger_kwargs


@starts
def test_it_is_never_set_on_the_class() -> None:
    with dag_of():
        sensor_of()
    assert (SopsTaskSensor.start_from_trigger, SopsTaskSensor.start_trigger_args) == (False, None)


@starts
def test_a_dag_is_the_same_whenever_it_is_read() -> None:
    def read() -> Any:
        from airflow.serialization.serialized_objects import DagSerialization

        with dag_of() as dag:
            sensor_of(keys={"b", "a"}, push_outputs=True)
        return json.dumps(DagSerialization.to_dict(dag)["dag"]["tasks"], sort_keys=True)

    assert read() == read()


def test_it_is_off_by_default() -> None:
    sensor = SopsTaskSensor(task_id="waits", sops_task_id=1, deferrable=True)
    assert (sensor.start_from_trigger, sensor.start_trigger_args) == (False, None)


def test_it_needs_a_deferrable_sensor() -> None:
    with pytest.raises(ValueError, match=r"^start_from_trigger: needs deferrable=True$"):
        sensor_of(deferrable=False)


def test_a_mapped_task_is_refused() -> None:
    with pytest.raises(ValueError, match="start_from_trigger: Airflow starts mapped tasks in a worker"):
        SopsTaskSensor.partial(task_id="waits", deferrable=True, start_from_trigger=True)


@pytest.mark.skipif(TRIGGERS_START_TASKS, reason="this Airflow starts sensors in the triggerer")
def test_an_airflow_that_would_start_it_unrendered_is_told_nothing() -> None:
    with dag_of():
        sensor = sensor_of(sops_task_id="{{ params.id }}")
    assert (sensor.start_from_trigger, sensor.start_trigger_args) == (False, None)


def test_the_operator_is_not_started_so() -> None:
    with pytest.raises(Exception, match="start_from_trigger"):
        SopsRunTaskOperator(task_id="run", template_id=1, deferrable=True, start_from_trigger=True)


def mapped_before() -> Any:
    return BaseOperator.partial(task_id="before").expand(doc=["a", "b"]).output


def before() -> Any:
    return BaseOperator(task_id="before").output


def in_a_mapped_group() -> Any:
    from airflow.sdk import task_group

    made: list[Any] = []

    @task_group
    def each(value: Any) -> None:
        made.append(BaseOperator(task_id="before").output)

    each.expand(value=[1, 2])
    return made[0]


UNKNOWN = "uses what is not known in a triggerer: "
#: arguments, those of the DAG, a part of the reason
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"params": {"x": Param(type="integer")}}, "these params have a type, or no default: x; use dag_run.conf"),
    (
        {},
        {"params": {"x": Param(1, type="integer"), "y": 1, "z": None}},
        "these params have a type, or no default: x, z;",
    ),
    ({"params": {"x": Param(1, type="integer")}}, {}, "these params have a type, or no default: x"),
    ({"inlets": ["x"]}, {}, "it has inlets or outlets"),
    ({"outlets": ["x"]}, {}, "it has inlets or outlets"),
    ({"kind": OwnPoke}, {}, "its class has a start of its own"),
    ({"kind": OwnExecute}, {}, "its class has a start of its own"),
    ({"sops_task_id": lambda: before().map(str)}, {}, "sops_task_id is made of other tasks' results"),
    ({"sops_task_id": mapped_before}, {}, "sops_task_id comes from a mapped task"),
    ({"sops_task_id": in_a_mapped_group}, {}, "sops_task_id comes from a mapped task"),
    ({"keys": before}, {}, "keys is a list from another task"),
    ({"keys": lambda: [before().map(str)]}, {}, "an item of keys is made of"),
    ({"keys": "{{ params.keys }}"}, {"render_template_as_native_obj": True}, "keys is one template"),
    ({"sops_task_id": "{{ own }}"}, {"user_defined_macros": {"own": 1}}, f"sops_task_id {UNKNOWN}own"),
    ({"keys": ["{{ own }}"]}, {"user_defined_macros": {"own": 1}}, f"keys {UNKNOWN}own"),
    ({"sops_task_id": "{{ 1 | own }}"}, {"user_defined_filters": {"own": str}}, "sops_task_id cannot be rendered"),
    ({"sops_task_id": "{{ 1"}, {}, "sops_task_id cannot be rendered in a triggerer: "),
    ({"bk_biz_id": "{{ prev_start_date_success }}"}, {}, f"bk_biz_id {UNKNOWN}prev_start_date_success"),
]


@starts
@pytest.mark.parametrize(("arguments", "dag_arguments", "why"), REFUSED, ids=[why for _, _, why in REFUSED])
def test_what_a_trigger_would_do_otherwise_is_refused(arguments: Any, dag_arguments: Any, why: str) -> None:
    with dag_of(**dag_arguments):
        given = {name: value() if callable(value) and name != "kind" else value for name, value in arguments.items()}
        with pytest.raises(ValueError) as refused:  # noqa: PT011 (its text is compared)
            sensor_of(**given, push_outputs=True)
    assert str(refused.value).startswith(f"start_from_trigger: a trigger cannot start this task: {why}")


@starts
def test_a_mapped_task_group_is_refused() -> None:
    from airflow.sdk import task_group

    @task_group
    def each(value: Any) -> None:
        sensor_of()

    with dag_of(), pytest.raises(ValueError, match="it is in a mapped task group"):
        each.expand(value=[1, 2])


@starts
def test_a_task_group_that_is_not_mapped_may_hold_it() -> None:
    with dag_of(), TaskGroup("group"):
        sensor = sensor_of(sops_task_id=before())
    assert sensor.start_trigger_args.trigger_kwargs["sops_task_id"] == (
        "{{ task_instance.xcom_pull(task_ids='group.before', dag_id='dag', key='return_value', map_indexes=-1) }}"
    )
    assert sensor.upstream_task_ids == {"group.before"}


@starts
@pytest.mark.parametrize(
    ("arguments", "site", "ends"),
    [
        ({}, "", False),
        ({}, "True", True),
        ({"end_from_trigger": False}, "True", False),
        ({"end_from_trigger": True}, "", True),
        ({"multiple_outputs": True}, "True", False),
    ],
)
def test_who_ends_it(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], site: str, ends: bool) -> None:
    monkeypatch.setenv("AIRFLOW__SOPS__END_FROM_TRIGGER", site)
    with dag_of():
        sensor = sensor_of(**arguments)
    assert sensor.start_trigger_args.trigger_kwargs["end_from_trigger"] is ends


@starts
def test_where_a_plugin_listens_a_worker_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SOPS__END_FROM_TRIGGER", "True")
    monkeypatch.setattr("airflow_provider_sops.trigger_end.has_listeners", lambda: True)
    with dag_of():
        sensor = sensor_of()
    assert sensor.start_trigger_args.trigger_kwargs["end_from_trigger"] is False


# ---- started by a worker after all ----


@pytest.fixture
def waiting(sops: FakeSops, connect: Callable[..., None]) -> int:
    connect(sops)
    return sops.create_task("Long sleep")


def started_in_worker(sensor: Any) -> list[str]:
    """Start a sensor in a worker, and return what it has said of that."""
    lines = collect_log(sensor)
    with pytest.raises(TaskDeferred):
        sensor.execute(TaskInstance().context)
    return [line for line in lines if line.startswith(SAID)]


def test_an_old_airflow_starts_it_in_a_worker_and_says_so(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with dag_of():
        sensor = sensor_of(sops_task_id=waiting)
    monkeypatch.setattr(trigger_start, "TRIGGERS_START_TASKS", False)
    assert started_in_worker(sensor) == [f"{SAID}it needs Airflow 3.3 or newer."]


@starts
def test_one_of_a_mapped_task_is_started_in_a_worker_and_says_so(waiting: int) -> None:
    params = {"x": Param(type="integer")}
    with dag_of(default_args={"start_from_trigger": True}, params=params) as dag:
        mapped = SopsTaskSensor.partial(task_id="waits", deferrable=True).expand(sops_task_id=[waiting])
    sensor = mapped.unmap({"sops_task_id": waiting})
    assert started_in_worker(sensor) == [f"{SAID}Airflow starts mapped tasks in a worker."]
    from airflow.serialization.serialized_objects import DagSerialization

    serialized: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("waits")
    assert not serialized.start_from_trigger


@starts
def test_where_a_worker_is_all_there_is_nothing_is_said(waiting: int) -> None:
    """``dag.test()`` and ``airflow tasks test``."""
    with dag_of():
        sensor = sensor_of(sops_task_id=waiting)
    assert started_in_worker(sensor) == []
