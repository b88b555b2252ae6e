# SPDX-License-Identifier: Apache-2.0
"""A wait that its trigger ends, and that it starts where this Airflow lets it."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_sops.sensors.sops import SopsTaskSensor

with DAG(
    dag_id="sops_wait_without_worker",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
):
    SopsTaskSensor(
        task_id="wait",
        sops_task_id="{{ dag_run.conf['sops_task_id'] }}",
        push_outputs=True,
        deferrable=True,
        start_from_trigger=True,
        end_from_trigger=True,
    )
