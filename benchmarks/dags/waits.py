# SPDX-License-Identifier: Apache-2.0
"""The DAGs of ``airflow_bench.py``: each waits for some remote jobs, and starts a task that does nothing after each.

The empty tasks cost no process: Airflow's scheduler ends them itself. The jobs are counted from ``first``, a parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.dbt.cloud.sensors.dbt import DbtCloudJobRunSensor
from airflow.providers.http.sensors.http import HttpSensor
from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_provider_sops.sensors.sops import SopsTaskSensor

#: Waits in one DAG run.
WAITS = 10
COMMON: dict[str, Any] = {"deferrable": True, "poke_interval": 10, "timeout": 3600}
SOPS: dict[str, Any] = {"sops_conn_id": "sops_bench", "bk_biz_id": 2, **COMMON}
DBT: dict[str, Any] = {"dbt_cloud_conn_id": "dbt_bench", "account_id": 1, **COMMON}
HTTP: dict[str, Any] = {"http_conn_id": "http_bench", **COMMON}

#: By the name on the command line: the sensor, its arguments, the argument that says for what it waits, and its form.
CONTESTANTS: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "dbt": (DbtCloudJobRunSensor, DBT, "run_id", "{}"),
    "http": (HttpSensor, HTTP, "endpoint", "jobs/{}"),
    "sops": (SopsTaskSensor, SOPS, "sops_task_id", "{}"),
    "ended": (SopsTaskSensor, {**SOPS, "end_from_trigger": True}, "sops_task_id", "{}"),
    "started": (
        SopsTaskSensor,
        {**SOPS, "end_from_trigger": True, "start_from_trigger": True, "scope": "cmdb_biz"},
        "sops_task_id",
        "{}",
    ),
}


def dag_of(dag_id: str) -> DAG:
    """Make a DAG that is started by hand."""
    start = pendulum.datetime(2025, 1, 1)
    return DAG(dag_id, schedule=None, start_date=start, max_active_runs=50, max_active_tasks=50, params={"first": 0})


@task
def ids(form: str, params: Any = None) -> list[str]:
    """What a mapped task is expanded over."""
    return [form.format(int(params["first"]) + number) for number in range(WAITS)]


def unmapped(make: Callable[..., Any], arguments: dict[str, Any], field: str, form: str) -> None:
    """One task for each wait, and one after each."""
    for number in range(WAITS):
        wanted = form.format(f"{{{{ params.first + {number} }}}}")
        make(task_id=f"wait_{number}", **{**arguments, field: wanted}) >> EmptyOperator(task_id=f"next_{number}")


def mapped(make: Any, arguments: dict[str, Any], field: str, form: str) -> None:
    """One mapped task for all waits, and one task after all of them."""
    waits = make.partial(task_id="wait", **arguments).expand(**{field: ids(form)})
    waits >> EmptyOperator(task_id="next")


for name, contestant in CONTESTANTS.items():
    with dag_of(name):
        unmapped(*contestant)
    if name != "started":  # Airflow starts mapped tasks in a worker
        with dag_of(f"{name}_mapped"):
            mapped(*contestant)
