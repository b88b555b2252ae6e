# SPDX-License-Identifier: Apache-2.0
"""A DAG that runs many SOPS tasks at once and waits for them in the triggerers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_sops.operators.sops import SopsRunTaskOperator

with DAG("runs", schedule=None, start_date=pendulum.datetime(2025, 1, 1), max_active_tasks=1000, params={"count": 300}):

    @task
    def constants(params: Any = None) -> list[dict[str, str]]:
        """The hosts, one for each SOPS task."""
        return [{"IP": f"10.0.{n // 250}.{n % 250}", "seconds": "36000"} for n in range(params["count"])]

    SopsRunTaskOperator.partial(
        task_id="run",
        template_name="Long sleep",
        deferrable=True,
        # a busy machine is slow to resume a task, and the fake starts at once
        start_timeout=timedelta(minutes=10),
        retries=5,
        retry_delay=timedelta(seconds=5),
    ).expand(constants=constants())
