# SPDX-License-Identifier: Apache-2.0
"""Waits that say nothing of who ends them: the site's configuration does."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_sops.operators.sops import SopsRunTaskOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor

with DAG("of_a_site", schedule=None, start_date=pendulum.datetime(2025, 1, 1), params={"sops_task_id": 0}):
    wait = SopsTaskSensor(
        task_id="wait",
        sops_task_id="{{ params.sops_task_id }}",
        push_outputs=True,
        deferrable=True,
        start_from_trigger=True,
    )
    run = SopsRunTaskOperator(
        task_id="run", template_name="Long sleep", constants={"seconds": "36000"}, deferrable=True
    )

    @task
    def use(ip: str, twin: str, result: dict[str, Any], ran: dict[str, Any]) -> list[Any]:
        """What a later task gets."""
        return [ip, twin, result["outputs"], ran]

    # (Airflow's types do not say that a result has keys, and may be an argument)
    use(wait.output["IP"], wait.output["${IP}"], wait.output, run.output)  # type: ignore[arg-type, index]
