# SPDX-License-Identifier: Apache-2.0
"""Airflow tasks for the tab "SOPS": one for each state of a SOPS task, mapped ones, a retried and a foreign one."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_provider_sops.operators.sops import SopsRunTaskOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor

with DAG(
    dag_id="sops_tab",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    default_args={"sops_conn_id": "sops_tab", "poke_interval": 2, "poll_interval": 2},
):
    SopsRunTaskOperator(task_id="finished", template_name="Release a service", task_name="Release of 3.4.1")
    SopsRunTaskOperator(
        task_id="running",
        template_name="Release a service",
        task_name="Release that takes long",
        constants={"deploy_seconds": "36000"},
        deferrable=True,
    )
    SopsRunTaskOperator(
        task_id="retried",
        template_name="Release that fails",
        task_name="Release that fails",
        retries=1,
        retry_delay=timedelta(seconds=1),
        on_retry="rerun",
    )
    SopsRunTaskOperator.partial(task_id="mapped", template_name="Checks of one host").expand(
        constants=[{"IP": "10.0.0.1"}, {"IP": "10.0.0.2"}]
    )
    SopsTaskSensor(task_id="waiting", sops_task_id="{{ dag_run.conf['sops_task_id'] }}", deferrable=True)
    SopsTaskSensor(
        task_id="without_worker",
        sops_task_id="{{ dag_run.conf['sops_task_id'] }}",
        deferrable=True,
        start_from_trigger=True,
    )
    EmptyOperator(task_id="foreign")
