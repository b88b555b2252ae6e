# SPDX-License-Identifier: Apache-2.0
"""Wait for a SOPS task that somebody else started, then use its outputs in a shell command.

Trigger it with the id of the SOPS task: ``airflow dags test sops_wait_and_use_outputs -c '{"sops_task_id": 50001}'``.
It uses the connection ``sops_default``, and the business that the connection names.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

# These names work on Airflow 2.11 and 3; with Airflow 3 alone, take them from `airflow.sdk`.
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_sops.sensors.sops import SopsTaskSensor

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ModuleNotFoundError:  # Airflow 2.11 without the standard provider
    from airflow.operators.bash import BashOperator

with DAG(
    dag_id="sops_wait_and_use_outputs",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    params={"sops_task_id": Param(type="integer", minimum=1, description="The id of the SOPS task")},
    tags=["sops", "example"],
    doc_md=__doc__,
):
    wait = SopsTaskSensor(
        task_id="wait",
        sops_task_id="{{ params.sops_task_id }}",
        push_outputs=True,
        keys=["IP", "EXIT"],
        timeout=timedelta(hours=1),
    )
    # Outputs are data from other machines: quote=True keeps them from being run as shell code.
    use = BashOperator(
        task_id="use",
        bash_command="""{{ macros.sops.render(
            'echo the host $<IP> ended with exit code $<EXIT>', ti.xcom_pull('wait')['outputs'], quote=True
        ) }}""",
    )
    wait >> use
