# SPDX-License-Identifier: Apache-2.0
"""A deployment as anybody has one, to be shown in pictures."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_sops.operators.sops import SopsRunTaskOperator

with DAG(
    dag_id="deploy_service",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    params={"version": Param("3.4.1", type="string")},
):
    SopsRunTaskOperator(
        task_id="deploy",
        template_name="Deploy to hosts",
        task_name="Deploy version {{ params.version }}",
        constants={"version": "{{ params.version }}"},
        sops_conn_id="sops_deploy",
        poll_interval=2,
        deferrable=True,
    )
