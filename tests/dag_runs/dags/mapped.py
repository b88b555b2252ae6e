# SPDX-License-Identifier: Apache-2.0
"""Mapped over tasks whose ids an upstream task gives; and one id as an XComArg."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor

with DAG("mapped", schedule=None, start_date=pendulum.datetime(2024, 1, 1)):

    @task
    def ids(dag_run: Any = None) -> list[int]:
        """Return the tasks to wait for."""
        found: list[int] = dag_run.conf["ids"]
        return found

    @task
    def first(some: list[int]) -> int:
        """Return one of them."""
        return some[0]

    @task
    def gather(ips: Any) -> list[str]:
        """Collect one output of each."""
        return sorted(ips)

    wanted = ids()
    wait = SopsTaskSensor.partial(task_id="wait", poke_interval=0.3).expand(sops_task_id=wanted)
    outputs = SopsGetTaskOutputsOperator.partial(task_id="outputs").expand(sops_task_id=wanted)
    wait >> outputs
    gather(outputs.output["IP"])
    one = first(wanted)  # type: ignore[arg-type]
    outputs >> SopsGetTaskOutputsOperator(task_id="one", sops_task_id=one)
