# SPDX-License-Identifier: Apache-2.0
"""DAGs that ask in Airflow what SOPS tasks wait for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_sops.operators.sops import SopsApprovalOperator, SopsRunTaskOperator

START = pendulum.datetime(2025, 1, 1)

with DAG("approvals", schedule=None, start_date=START, max_active_tasks=100):

    @task
    def list_tasks(dag_run: Any = None) -> list[int]:
        """The SOPS tasks to ask about."""
        found: list[int] = dag_run.conf["sops_task_ids"]
        return found

    SopsApprovalOperator.partial(
        task_id="approve",
        sops_node_name="confirm",
        retries=3,
        retry_delay=timedelta(seconds=2),
        params={"reason": Param("", type="string")},
        on_reject="revoke",
        max_outage=60,
    ).expand(sops_task_id=list_tasks())

with DAG("assigned", schedule=None, start_date=START):
    SopsApprovalOperator(
        task_id="approve",
        sops_task_id="{{ dag_run.conf.sops_task_id }}",
        assigned_users={"id": "alice", "name": "alice"},
        response_timeout=timedelta(seconds=60),
        on_timeout="approve",
    )

with DAG("beside", schedule=None, start_date=START):
    run = SopsRunTaskOperator(
        task_id="run", template_name="Pause for a person", deferrable=True, poll_interval=10, push_outputs=True
    )

    @task.sensor(poke_interval=2, timeout=300, mode="reschedule")
    def started(ti: object = None) -> object:
        """The SOPS task, as soon as it is there."""
        from airflow.providers.common.compat.sdk import PokeReturnValue

        found = ti.xcom_pull("run", key="sops_task_id")  # type: ignore[attr-defined]
        return PokeReturnValue(is_done=found is not None, xcom_value=found)

    approve = SopsApprovalOperator(task_id="approve", sops_task_id=started())

    @task
    def report(answer: object) -> object:
        """What the run gave."""
        return answer

    # (Airflow's types do not say that a result has keys)
    approve >> report(run.output["IP"])  # type: ignore[index]
