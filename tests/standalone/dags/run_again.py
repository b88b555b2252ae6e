# SPDX-License-Identifier: Apache-2.0
"""DAGs that run one SOPS task, to be killed, cleared and run out of time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_sops.operators.sops import SopsRunTaskOperator

START = pendulum.datetime(2025, 1, 1)


def dag_of(dag_id: str, **arguments: Any) -> DAG:
    """Make a DAG of one task."""
    with DAG(dag_id, schedule=None, start_date=START) as dag:
        SopsRunTaskOperator(
            task_id="run",
            template_name="Long sleep",
            constants={"seconds": "36000"},
            poll_interval=2,
            retries=2,
            retry_delay=timedelta(seconds=1),
            **arguments,
        )
    return dag


in_worker = dag_of("in_worker", deferrable=False)
in_worker_reattached = dag_of("in_worker_reattached", deferrable=False, on_clear="reattach")
deferred = dag_of("deferred", deferrable=True)
deferred_reattached = dag_of("deferred_reattached", deferrable=True, on_clear="reattach")
out_of_time = dag_of("out_of_time", deferrable=False, execution_timeout=timedelta(seconds=20))
out_of_time_deferred = dag_of("out_of_time_deferred", deferrable=True, execution_timeout=timedelta(seconds=20))
