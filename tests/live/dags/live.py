# SPDX-License-Identifier: Apache-2.0
"""DAGs of deferred waits and runs, all at once in the triggerer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_sops.compat import TRIGGERS_PUSH_XCOMS
from airflow_provider_sops.operators.sops import SopsRunTaskOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor

START = pendulum.datetime(2025, 1, 1)
LONG: dict[str, Any] = {"template_name": "Long sleep", "constants": {"seconds": "36000"}, "deferrable": True}


def dag_of(dag_id: str, **params: Any) -> DAG:
    """Make a DAG that is started by hand."""
    return DAG(dag_id, schedule=None, start_date=START, max_active_tasks=100, params=params)


with dag_of("waits", waits=[]):

    @task
    def waits(params: dict[str, Any]) -> list[dict[str, Any]]:
        """What the run was given: ids of SOPS tasks and of connections."""
        found: list[dict[str, Any]] = params["waits"]
        return found

    SopsTaskSensor.partial(task_id="wait", deferrable=True, poke_interval=10).expand_kwargs(waits())

with dag_of("runs"):
    SopsRunTaskOperator(task_id="good", **LONG)
    SopsRunTaskOperator(task_id="bad", template_name="Always fails", deferrable=True)
    SopsRunTaskOperator(task_id="late", execution_timeout=timedelta(seconds=45), **LONG)

with dag_of("run_one"):
    SopsRunTaskOperator(task_id="run", retries=1, retry_delay=timedelta(seconds=1), **LONG)

with dag_of("run_one_with_little_patience"):
    SopsRunTaskOperator(task_id="run", max_outage=15, **LONG)

#: Where this Airflow has no such ends, its DAGs wait as others do, so that all of the file is read.
ENDS: dict[str, Any] = {"end_from_trigger": TRIGGERS_PUSH_XCOMS or None, "deferrable": True}

with dag_of("ended", sops_task_id=0):
    wait = SopsTaskSensor(
        task_id="wait", sops_task_id="{{ params.sops_task_id }}", poke_interval=10, push_outputs=True, **ENDS
    )
    run = SopsRunTaskOperator(task_id="run", **{**LONG, **ENDS})

    @task
    def use(ip: str, twin: str, result: dict[str, Any]) -> list[Any]:
        """What a later task gets."""
        return [ip, twin, result["outputs"]]

    @task
    def each(pair: Any) -> list[Any]:
        """One for each output."""
        return list(pair)

    use(wait.output["IP"], wait.output["${IP}"], wait.output)
    each.expand(pair=run.output)

with dag_of("ended_badly"):
    SopsRunTaskOperator(
        task_id="run",
        template_name="Always fails",
        retries=1,
        retry_delay=timedelta(seconds=1),
        **ENDS,
    )

with dag_of("ended_many", waits=[]):

    @task
    def many(params: dict[str, Any]) -> list[dict[str, Any]]:
        """What the run was given: ids of SOPS tasks."""
        found: list[dict[str, Any]] = params["waits"]
        return found

    SopsTaskSensor.partial(task_id="wait", poke_interval=10, push_outputs=True, **ENDS).expand_kwargs(many())
