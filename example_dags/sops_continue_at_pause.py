# SPDX-License-Identifier: Apache-2.0
"""Run a SOPS task that stops at a pause node, and let it go on from the DAG.

The SOPS task does its first half and waits at the node ``confirm``; the DAG then checks what it wants to check, and
confirms. It uses the connection ``sops_default``, and the business that the connection names.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

# These names work on Airflow 2.11 and 3; with Airflow 3 alone, take them from `airflow.sdk`.
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_sops.operators.sops import (
    SopsGetTaskOutputsOperator,
    SopsOperateNodeOperator,
    SopsRunTaskOperator,
)
from airflow_provider_sops.sensors.sops import SopsTaskSensor

with DAG(
    dag_id="sops_continue_at_pause",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    params={
        "template": Param("Pause for a person", type="string", description="Name of a template of the business"),
        "node": Param("confirm", type="string", description="The name of the pause node in it"),
    },
    tags=["sops", "example"],
    doc_md=__doc__,
):
    start = SopsRunTaskOperator(
        task_id="start",
        template_name="{{ params.template }}",
        wait_for_completion=False,
    )

    @task
    def check(sops_task_id: int) -> str:
        """Check whatever has to be right before the second half."""
        return f"the first half of {sops_task_id} is good"

    sops_task_id = start.output["sops_task_id"]
    checked = check(sops_task_id)
    # it waits until the SOPS task has come to the node
    confirm = SopsOperateNodeOperator(
        task_id="confirm",
        sops_task_id=sops_task_id,
        sops_node_name="{{ params.node }}",
        action="callback",
        data={"answer": "{{ ti.xcom_pull('check') }}"},
        node_timeout=timedelta(minutes=10),
    )
    wait = SopsTaskSensor(task_id="wait", sops_task_id=sops_task_id, timeout=timedelta(hours=1))
    outputs = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=sops_task_id)
    checked >> confirm >> wait >> outputs
