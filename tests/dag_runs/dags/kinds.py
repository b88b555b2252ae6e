# SPDX-License-Identifier: Apache-2.0
"""Outputs of every kind go through real XComs, by key, by XComArg and in the returned dict."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator

with DAG("kinds", schedule=None, start_date=pendulum.datetime(2024, 1, 1)):
    outputs = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id="{{ dag_run.conf['kinds'] }}")
    selected = SopsGetTaskOutputsOperator(
        task_id="selected", sops_task_id="{{ dag_run.conf['kinds'] }}", keys=["{{ dag_run.conf['key'] }}"]
    )
    silent = SopsGetTaskOutputsOperator(
        task_id="silent", sops_task_id="{{ dag_run.conf['kinds'] }}", do_xcom_push=False
    )

    @task
    def pull(ti: Any = None, dag_run: Any = None) -> dict[str, str]:
        """Return what a downstream task gets, by its repr: the kind shows in it."""
        found = {}
        returned = ti.xcom_pull(task_ids="outputs")
        for name in dag_run.conf["names"]:
            bare, dressed = (ti.xcom_pull(task_ids="outputs", key=key) for key in (name, f"${{{name}}}"))
            assert repr(bare) == repr(dressed) == repr(returned[name]), name
            found[name] = repr(bare)
        return found

    @task
    def by_argument(ip: Any, nested: Any, chinese: Any) -> list[Any]:
        """Get single outputs as arguments."""
        return [ip, nested, chinese]

    outputs >> pull()
    # (Airflow's types do not say that a result has keys)
    by_argument(outputs.output["IP"], outputs.output["nested"], outputs.output["${chinese}"])  # type: ignore[index]
    selected >> silent
