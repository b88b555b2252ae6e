# SPDX-License-Identifier: Apache-2.0
"""Run a SOPS task for each of several hosts in parallel, and use the outputs of each.

Trigger it with the hosts: ``airflow dags test sops_run_tasks_in_parallel -c '{"hosts": ["10.0.0.8", "10.0.0.9"]}'``.
The waits are deferred, so they hold no worker; a pool on ``run`` limits how many SOPS tasks are started at a time. It
uses the connection ``sops_default``, and the business that the connection names.
"""

from __future__ import annotations

from typing import Any

import pendulum

# These names work on Airflow 2.11 and 3; with Airflow 3 alone, take them from `airflow.sdk`.
from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_sops.operators.sops import SopsRunTaskOperator


@dag(
    dag_id="sops_run_tasks_in_parallel",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    params={
        "template": Param("Two steps with outputs", type="string", description="Name of a template of the business"),
        "hosts": Param(["10.0.0.8", "10.0.0.9"], type="array", description="The hosts to work on"),
    },
    tags=["sops", "example"],
    doc_md=__doc__,
)
def sops_run_tasks_in_parallel() -> None:
    @task
    def constants_of_each(params: dict[str, Any]) -> list[dict[str, str]]:
        """Give the constants of each SOPS task."""
        return [{"IP": host} for host in params["hosts"]]

    @task
    def check(exit_code: str) -> None:
        """Use one output of each SOPS task."""
        if exit_code != "0":
            raise ValueError(f"It ended with exit code {exit_code}.")

    @task
    def report(outputs: list[dict[str, Any]]) -> list[str]:
        """Use the outputs of all."""
        return [f"{each['IP']}: {each['EXIT']}" for each in outputs]

    run = SopsRunTaskOperator.partial(
        task_id="run",
        template_name="{{ params.template }}",
        deferrable=True,
        retries=2,
    ).expand(constants=constants_of_each())
    # where an output is expanded, it is taken out of each one's dict
    check.expand(exit_code=run.output.map(lambda outputs: outputs["EXIT"]))
    report(run.output)


sops_run_tasks_in_parallel()
