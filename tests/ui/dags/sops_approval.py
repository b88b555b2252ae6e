# SPDX-License-Identifier: Apache-2.0
"""A DAG that asks what a SOPS task waits for."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_sops.compat.required_actions import HAS_REQUIRED_ACTIONS

if HAS_REQUIRED_ACTIONS:
    from airflow_provider_sops.operators.sops import SopsApprovalOperator

    with DAG("sops_approval", schedule=None, start_date=pendulum.datetime(2025, 1, 1)):
        SopsApprovalOperator(
            task_id="approve",
            sops_task_id="{{ dag_run.conf.sops_task_id }}",
            sops_conn_id="sops_approval",
            on_reject="revoke",
            params={"reason": Param("", type="string", description="Why, or why not")},
        )
