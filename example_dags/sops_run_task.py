# SPDX-License-Identifier: Apache-2.0
"""Run a SOPS task from a template and use its outputs.

Trigger it with the template and the host: ``airflow dags test sops_run_task -c '{"host": "10.0.0.8"}'``. However often
Airflow retries, the SOPS task is started once. It uses the connection ``sops_default``, and the business that the
connection names.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

# These names work on Airflow 2.11 and 3; with Airflow 3 alone, take them from `airflow.sdk`.
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_sops.operators.sops import SopsRunTaskOperator

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ModuleNotFoundError:  # Airflow 2.11 without the standard provider
    from airflow.operators.bash import BashOperator

with DAG(
    dag_id="sops_run_task",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    params={
        "template": Param("Two steps with outputs", type="string", description="Name of a template of the business"),
        "host": Param("10.0.0.8", type="string", description="The host to work on"),
    },
    tags=["sops", "example"],
    doc_md=__doc__,
):
    run = SopsRunTaskOperator(
        task_id="run",
        template_name="{{ params.template }}",
        constants={"IP": "{{ params.host }}"},
        retries=2,
        execution_timeout=timedelta(hours=1),
    )
    # Outputs are data from other machines: quote=True keeps them from being run as shell code.
    use = BashOperator(
        task_id="use",
        bash_command="""{{ macros.sops.render(
            'echo the host $<IP> ended with exit code $<EXIT>', ti.xcom_pull('run'), quote=True
        ) }}""",
    )
    run >> use
