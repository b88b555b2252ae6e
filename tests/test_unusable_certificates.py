# SPDX-License-Identifier: Apache-2.0
"""Certificates that are not there are an error of the connection, in every mode: at once, and never a skip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sops.exceptions import SopsConfigException
from airflow_provider_sops.hooks.sops import SopsHook
from airflow_provider_sops.operators.sops import (
    SopsGetTaskOutputsOperator,
    SopsOperateNodeOperator,
    SopsOperateTaskOperator,
    SopsRunTaskOperator,
)
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from airflow_provider_sops.testing import FakeSops
from tests.tasks import TaskInstance
from tests.triggers.test_sops import fire, trigger

NOWHERE = "/nowhere/ca.pem"
SAYS = rf"^verify: '{NOWHERE}' is not there: no such file or directory on this machine"
Connect = Callable[..., None]


@pytest.mark.parametrize("mode", [{}, {"mode": "reschedule"}, {"deferrable": True}], ids=str)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_sensor_in_a_worker(sops: FakeSops, connect: Connect, mode: dict[str, Any], soft_fail: bool) -> None:
    connect(sops, verify=NOWHERE)
    sensor = SopsTaskSensor(task_id="t", sops_task_id=1, soft_fail=soft_fail, **mode)
    # a rescheduled sensor's execute asks the database of Airflow 2 before it pokes
    run: Any = sensor.poke if mode.get("mode") == "reschedule" else sensor.execute
    with pytest.raises(SopsConfigException, match=f"{SAYS}$"):
        run(TaskInstance().context)
    assert sops.count() == 0


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_sensor_in_a_triggerer(sops: FakeSops, connect: Connect, soft_fail: bool) -> None:
    task_id = sops.create_task("Long sleep")
    connect(sops, verify=NOWHERE)
    event = fire(trigger(task_id))
    connect(sops)  # of the worker
    sensor = SopsTaskSensor(task_id="t", sops_task_id=task_id, deferrable=True, soft_fail=soft_fail)
    with pytest.raises(SopsConfigException, match=rf"{SAYS} \(found by the triggerer\)$") as caught:
        sensor.resume_execution("execute_complete", {"event": event}, TaskInstance().context)
    assert caught.value.field == "verify"
    assert sops.count() == 0


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (SopsGetTaskOutputsOperator, {"sops_task_id": 1}),
        (SopsOperateTaskOperator, {"sops_task_id": 1, "action": "pause"}),
        (SopsOperateNodeOperator, {"sops_task_id": 1, "action": "skip", "sops_node_id": "n"}),
        (SopsRunTaskOperator, {"template_id": 101}),
    ],
)
def test_an_operator(sops: FakeSops, connect: Connect, kind: type[Any], arguments: dict[str, Any]) -> None:
    connect(sops, verify=NOWHERE)
    with pytest.raises(SopsConfigException, match=f"{SAYS}$"):
        kind(task_id="t", **arguments).execute(TaskInstance().context_with(dag_run=None))
    assert sops.count() == 0


def test_the_test_of_a_connection(sops: FakeSops, connect: Connect) -> None:
    connect(sops, verify=NOWHERE)
    works, text = SopsHook().test_connection()
    assert not works
    assert text.startswith(f"verify: '{NOWHERE}' is not there")
