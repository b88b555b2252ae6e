# SPDX-License-Identifier: Apache-2.0
"""The ended task in the asset events of operators and sensor, and how a DAG that they start reads it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_sops.assets import ended_tasks
from airflow_provider_sops.compat import HAS_ASSETS
from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator, SopsRunTaskOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from airflow_provider_sops.testing import FakeSops
from tests.tasks import TaskInstance, collect_log

SHAPE = {
    "version",
    "sops_task_id",
    "task_name",
    "template_id",
    "state",
    "start_time",
    "end_time",
    "task_url",
    "outputs",
}


class Events(dict[str, Any]):
    """Stands for Airflow's accessors, which go by the asset; on Airflow 3.0 that has no hash."""

    def __getitem__(self, asset: Any) -> Any:
        return self.setdefault(asset.name, SimpleNamespace(extra={"own": "stays"}))


class Outlets:
    """An operator's run with an outlet: what stands in the asset event."""

    def __init__(self, make: Any, **arguments: Any) -> None:
        from airflow.sdk import Asset

        operator = make(task_id="waits", outlets=[Asset("deployed")], **arguments)
        self.lines = collect_log(operator)
        self.ti = TaskInstance()
        events = Events()
        self.returned = operator.execute(self.ti.context_with(outlet_events=events, dag_run=SimpleNamespace()))
        self.extra: dict[str, Any] = next(iter(events.values())).extra if events else {}


on_airflow_3 = pytest.mark.skipif(not HAS_ASSETS, reason="Airflow 2 has datasets")


@pytest.fixture
def finished(sops: FakeSops, connect: Callable[..., None]) -> int:
    connect(sops)
    task_id = sops.create_task()
    sops.advance(10)
    return task_id


@on_airflow_3
@pytest.mark.parametrize("pushes", [True, False])
@pytest.mark.parametrize("make", [SopsTaskSensor, SopsGetTaskOutputsOperator])
def test_an_outlet_holds_the_ended_task(sops: FakeSops, finished: int, make: Any, pushes: bool) -> None:
    own = {"push_outputs": pushes} if make is SopsTaskSensor else {"do_xcom_push": pushes}
    ran = Outlets(make, sops_task_id=finished, bk_biz_id=2, **own)
    ended = {key: value for key, value in ran.extra.items() if key != "own"}
    assert ended.keys() == SHAPE
    assert (ended["version"], ended["sops_task_id"], ended["state"]) == (1, finished, "FINISHED")
    assert ended["outputs"] == {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}
    assert ended["end_time"] > ended["start_time"]
    assert ran.extra["own"] == "stays"
    assert ("IP" in ran.ti.xcoms) is pushes, "the XComs are as without an outlet"


@on_airflow_3
def test_a_run_puts_its_task_into_its_outlet(sops: FakeSops, connect: Callable[..., None]) -> None:
    connect(sops)
    ran = Outlets(SopsRunTaskOperator, template_id=101, bk_biz_id=2, poll_interval=0.1)
    assert ran.extra["sops_task_id"] == ran.ti.xcoms["sops_task_id"]
    assert ran.extra["outputs"] == ran.returned


@on_airflow_3
def test_an_end_without_outputs_stands_there_too(sops: FakeSops, connect: Callable[..., None]) -> None:
    connect(sops)
    task_id = sops.create_task("Long sleep")
    sops.advance(1)
    sops.operate(task_id, "revoke")
    sops.advance(5)
    ran = Outlets(SopsTaskSensor, sops_task_id=task_id, bk_biz_id=2, allowed_states=["REVOKED"])
    assert (ran.extra["state"], ran.extra["outputs"]) == ("REVOKED", {})
    assert ran.extra["end_time"], "which the detail has"


@on_airflow_3
def test_outputs_too_large_for_an_event_are_left_out_and_it_says_so(sops: FakeSops, finished: int) -> None:
    sops.task(finished).outputs.append({"key": "${BIG}", "value": "x" * 70_000, "name": "BIG"})
    ran = Outlets(SopsGetTaskOutputsOperator, sops_task_id=finished, bk_biz_id=2)
    assert ran.extra["outputs"] is None
    assert "more than 65536" in ran.extra["outputs_omitted"]
    assert any(f"asset event of SOPS task {finished} has no outputs" in line for line in ran.lines)
    assert ran.returned["BIG"], "XComs hold it"
    few = Outlets(SopsGetTaskOutputsOperator, sops_task_id=finished, bk_biz_id=2, keys=["IP"])
    assert few.extra["outputs"] == {"IP": "127.0.0.1"}


def test_a_task_without_outlets_reads_no_more_than_before(sops: FakeSops, finished: int) -> None:
    sensor = SopsTaskSensor(task_id="waits", sops_task_id=finished, bk_biz_id=2)
    sensor.execute(TaskInstance().context)
    assert sops.count() == 2, "the status, and the detail for the link"


def ended(task_id: int, state: str = "FINISHED", **more: Any) -> dict[str, Any]:
    base = {"version": 1, "sops_task_id": task_id, "state": state, "end_time": "2026-11-22T13:02:28+00:00"}
    return {**dict.fromkeys(SHAPE), **base, **more}


def event(extra: Any) -> Any:
    return SimpleNamespace(extra=extra)


def test_a_consumer_gets_each_end_once_whoever_reported_it() -> None:
    events = {
        "of an outlet": [event(ended(7)), event({"own": 1}), event({}), event(None)],
        "of a watcher": [
            event({"from_trigger": True, "payload": {"version": 1, "ended_tasks": [ended(7), ended(8)]}}),
            event({"from_trigger": True, "payload": "another trigger's"}),
        ],
        "of a webhook": [event(ended(8)), event(ended(8, "FAILED")), event(ended(9, version=2))],
    }
    found = [(one["sops_task_id"], one["state"]) for one in ended_tasks(events)]
    assert found == [(7, "FINISHED"), (8, "FINISHED"), (8, "FAILED")]
