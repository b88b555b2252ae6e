# SPDX-License-Identifier: Apache-2.0
"""The main job, with a deferral, for whatever Airflow is installed."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor


class UseOperator(BaseOperator):
    """Returns its text, and the outputs as it pulls them by name."""

    template_fields = ("text",)

    def __init__(self, text: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context: Any) -> dict[str, Any]:
        pulled = {
            task_id: {key: context["ti"].xcom_pull(task_id, key=key) for key in ("IP", "${IP}", "EXIT", "${EXIT}")}
            for task_id in ("defer", "poke", "outputs")
        }
        return {"text": self.text, "pulled": pulled}


with DAG("wait_and_use", schedule=None, start_date=pendulum.datetime(2024, 1, 1), params={"sops_task_id": 0}) as dag:
    task_id = "{{ params.sops_task_id }}"
    poke = SopsTaskSensor(task_id="poke", sops_task_id=task_id, poke_interval=0.5, push_outputs=True)
    defer = SopsTaskSensor(task_id="defer", sops_task_id=task_id, poke_interval=0.5, push_outputs=True, deferrable=True)
    outputs = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=task_id)
    use = UseOperator(
        task_id="use", text='{{ macros.sops.render("ping $<IP>; exit ${EXIT}", ti.xcom_pull("outputs"), quote=True) }}'
    )
    defer >> poke >> outputs >> use
