# SPDX-License-Identifier: Apache-2.0
"""A DAG with all the main job's parts, and a task that defers, for whatever Airflow is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor


class AnswerTrigger(BaseTrigger):
    """Fires at once, with what it was given."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer = answer

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "wait_and_use.AnswerTrigger", {"answer": self.answer}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(self.answer)


class UseOperator(BaseOperator):
    """Returns its text, by way of a trigger, and the outputs as it pulls them by name."""

    template_fields = ("text",)

    def __init__(self, text: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context: Any) -> None:
        self.defer(trigger=AnswerTrigger(self.text), method_name="resume")

    def resume(self, context: Any, event: str) -> dict[str, Any]:
        pulled = {key: context["ti"].xcom_pull("outputs", key=key) for key in ("IP", "${IP}", "EXIT", "${EXIT}")}
        return {"text": event, "pulled": pulled}


with DAG("wait_and_use", schedule=None, start_date=pendulum.datetime(2024, 1, 1), params={"sops_task_id": 0}) as dag:
    wait = SopsTaskSensor(task_id="wait", sops_task_id="{{ params.sops_task_id }}", poke_interval=0.5)
    outputs = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id="{{ params.sops_task_id }}")
    (
        wait
        >> outputs
        >> UseOperator(
            task_id="use",
            text='{{ macros.sops.render("ping $<IP>; exit ${EXIT}", ti.xcom_pull("outputs"), quote=True) }}',
        )
    )
