# SPDX-License-Identifier: Apache-2.0
"""DAGs that wait for many SOPS tasks at once in the triggerer; run with ``{"conn_id": …, "sops_task_ids": […]}``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_sops.sensors.sops import SopsTaskSensor

#: what the sensors of each DAG are told
DAGS: dict[str, dict[str, Any]] = {
    "waits": {},
    "waits_with_a_deadline": {"timeout": timedelta(minutes=4)},
    "waits_with_little_patience": {"max_outage": timedelta(minutes=1)},
}

for dag_id, arguments in DAGS.items():
    with DAG(
        dag_id,
        schedule=None,
        start_date=pendulum.datetime(2025, 1, 1),
        max_active_tasks=100,
        params={"conn_id": "sops_default", "sops_task_ids": []},
    ):

        @task
        def sops_task_ids(params: Any = None) -> list[int]:
            wanted: list[int] = params["sops_task_ids"]
            return wanted

        SopsTaskSensor.partial(
            task_id="wait", sops_conn_id="{{ params.conn_id }}", deferrable=True, poke_interval=10, **arguments
        ).expand(sops_task_id=sops_task_ids())
