# SPDX-License-Identifier: Apache-2.0
"""Good and bad ends: rescheduled, skipped, failed, and what a macro does with outputs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator, SopsRunTaskOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor


class Says(BaseOperator):
    """Returns its text, rendered."""

    template_fields = ("text",)

    def __init__(self, text: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context: object) -> str:
        """Return the text."""
        return self.text


with DAG("ends", schedule=None, start_date=pendulum.datetime(2024, 1, 1)):
    rescheduled = SopsTaskSensor(
        task_id="rescheduled", sops_task_id="{{ dag_run.conf['running'] }}", mode="reschedule", poke_interval=0.5
    )
    outputs = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id="{{ dag_run.conf['running'] }}")
    text = "ping $<IP>; exit ${EXIT}"
    macro = "{{ macros.sops.render('" + text + "', ti.xcom_pull(task_ids='outputs'), quote=True) }}"
    rescheduled >> outputs >> Says(text=macro, task_id="says")

    unknown = "{{ macros.sops.render('ping $<HOST>', ti.xcom_pull(task_ids='outputs')) }}"
    outputs >> Says(text=unknown, task_id="says_unknown")

    skipped = SopsTaskSensor(task_id="skipped", sops_task_id="{{ dag_run.conf['failed'] }}", soft_fail=True)
    skipped >> Says(text="never", task_id="after_skipped")
    failed = SopsTaskSensor(task_id="failed", sops_task_id="{{ dag_run.conf['failed'] }}")
    failed >> Says(text="never", task_id="after_failed")
    revoked = SopsTaskSensor(task_id="revoked", sops_task_id="{{ dag_run.conf['revoked'] }}", retries=3)
    absent = SopsGetTaskOutputsOperator(
        task_id="absent", sops_task_id="{{ dag_run.conf['running'] }}", keys=["IP", "HOST"]
    )
    rescheduled >> absent
    unreadable = SopsTaskSensor(
        task_id="unreadable", sops_task_id="{{ dag_run.conf['running'] }}", bk_biz_id="{{ 4000 + 242 }}", soft_fail=True
    )
    out_of_time = SopsRunTaskOperator(
        task_id="out_of_time",
        template_name="Long sleep",
        constants={"seconds": 36000},
        deferrable=True,
        execution_timeout=timedelta(seconds=8),
    )
