# SPDX-License-Identifier: Apache-2.0
"""The same as ``sops_wait_and_use_outputs`` in TaskFlow style, and in two steps: one waits, the next takes the outputs.

Trigger it with the id of the SOPS task: ``airflow dags test sops_taskflow -c '{"sops_task_id": 50001}'``.
It uses the connection ``sops_default``, and the business that the connection names.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum

# These names work on Airflow 2.11 and 3; with Airflow 3 alone, take them from `airflow.sdk`.
from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_sops.core.variables import render
from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor


@dag(
    dag_id="sops_taskflow",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    params={"sops_task_id": Param(type="integer", minimum=1, description="The id of the SOPS task")},
    tags=["sops", "example"],
    doc_md=__doc__,
)
def sops_taskflow() -> None:
    @task
    def which_task(params: dict[str, Any]) -> int:
        """Find the id of the SOPS task to wait for: here a parameter, elsewhere the answer of another system."""
        sops_task_id: int = params["sops_task_id"]
        return sops_task_id

    @task
    def is_good(exit_code: str) -> bool:
        """Use one output: an output is an XCom of its own name."""
        return exit_code == "0"

    @task
    def report(outputs: dict[str, Any]) -> str:
        """Use several outputs in a text. It is for people: what a shell runs needs ``quote=True``."""
        return render("The host $<IP> ended with exit code ${EXIT}.", outputs)

    sops_task_id = which_task()
    wait = SopsTaskSensor(task_id="wait", sops_task_id=sops_task_id, timeout=timedelta(hours=1))
    outputs = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=sops_task_id)
    wait >> outputs
    is_good(outputs.output["EXIT"])
    report(outputs.output)


sops_taskflow()
