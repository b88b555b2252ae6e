# SPDX-License-Identifier: Apache-2.0
"""What templates and upstream tasks give where a text, a list or a dict is meant: numbers, and nothing."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_sops.operators.sops import (
    SopsGetTaskOutputsOperator,
    SopsOperateNodeOperator,
    SopsRunTaskOperator,
)
from airflow_provider_sops.sensors.sops import SopsTaskSensor

FINISHED = "{{ dag_run.conf['kinds'] }}"

with DAG("rendered", schedule=None, start_date=pendulum.datetime(2024, 1, 1), render_template_as_native_obj=True):
    # numbers
    by_number = SopsRunTaskOperator(
        task_id="by_number",
        template_name="{{ 2024 }}",
        task_name="{{ 20261128 }}",
        constants={"1": "{{ 5 }}"},
        wait_for_completion=False,
    )
    # (Airflow's types do not say that a result has keys)
    sops_task_id = by_number.output["sops_task_id"]  # type: ignore[index]
    confirm = SopsOperateNodeOperator(
        task_id="confirm", sops_task_id=sops_task_id, action="callback", sops_node_name="{{ 2 }}"
    )
    confirmed = SopsTaskSensor(
        task_id="confirmed", sops_task_id=sops_task_id, push_outputs=True, keys="{{ 1 }}", poke_interval=0.3
    )
    confirm >> confirmed

    # nothing
    @task
    def nothing() -> None:
        """Return nothing."""

    @task
    def some_keys() -> list[Any]:
        """Give keys, and once none."""
        return [["IP"], None]

    none = nothing()
    SopsGetTaskOutputsOperator(task_id="none_keys", sops_task_id=FINISHED, keys=none)
    SopsTaskSensor(task_id="none_business", sops_task_id=FINISHED, bk_biz_id=none)
    SopsRunTaskOperator(task_id="none_template", template_id=none)
    SopsRunTaskOperator(task_id="no_constants", template_id=101, constants="{{ [] }}")  # type: ignore[arg-type]
    SopsRunTaskOperator(task_id="no_nodes", template_id=101, execute_task_nodes_id="{{ [] }}")
    SopsTaskSensor(task_id="no_business", sops_task_id=FINISHED, bk_biz_id="{{ '' }}", soft_fail=True)
    SopsGetTaskOutputsOperator.partial(task_id="mapped_keys", sops_task_id=FINISHED).expand(keys=some_keys())
