# SPDX-License-Identifier: Apache-2.0
"""A DAG that runs one SOPS task and waits for it in the triggerer."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_sops.operators.sops import SopsRunTaskOperator

with DAG("run_one", schedule=None, start_date=pendulum.datetime(2025, 1, 1)):
    SopsRunTaskOperator(task_id="run", template_name="Long sleep", constants={"seconds": "36000"}, deferrable=True)
