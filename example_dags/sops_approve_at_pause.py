# SPDX-License-Identifier: Apache-2.0
"""Run a SOPS task that stops at a pause node, and let a person decide in Airflow whether it may go on.

``run`` waits, deferred, for the end of the SOPS task; beside it ``approve`` asks in Airflow's Required Actions as soon
as the task has come to its pause node. After an approval the SOPS task goes on, and ``report`` uses its outputs. It
needs Airflow 3.1 or newer, and uses the connection ``sops_default`` and the business that the connection names.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, Param, PokeReturnValue, task

from airflow_provider_sops.operators.sops import SopsApprovalOperator, SopsRunTaskOperator

with DAG(
    dag_id="sops_approve_at_pause",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    params={
        "template": Param("Pause for a person", type="string", description="Name of a template of the business"),
    },
    tags=["sops", "example"],
    doc_md=__doc__,
):
    run = SopsRunTaskOperator(
        task_id="run",
        template_name="{{ params.template }}",
        deferrable=True,
        push_outputs=True,
    )

    @task.sensor(poke_interval=5, timeout=600, mode="reschedule")
    def started(ti: Any = None) -> PokeReturnValue:
        """Find the SOPS task as soon as ``run`` has made it; ``run`` itself ends only with it."""
        sops_task_id = ti.xcom_pull(task_ids="run", key="sops_task_id")
        return PokeReturnValue(is_done=sops_task_id is not None, xcom_value=sops_task_id)

    approve = SopsApprovalOperator(
        task_id="approve",
        sops_task_id=started(),
        on_reject="revoke",
        response_timeout=timedelta(hours=8),
        params={"reason": Param("", type="string", description="Why, or why not")},
    )

    @task
    def report(answer: dict[str, Any], ip: str) -> str:
        """Use the answer and the outputs."""
        return f"{ip} went on: {answer['answer']} in {answer['answered_in']}"

    report(approve.output, run.output["IP"])
