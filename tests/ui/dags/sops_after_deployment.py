# SPDX-License-Identifier: Apache-2.0
"""A DAG that a webhook of SOPS starts."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, task

from airflow_provider_sops.assets import ended_tasks

with DAG("sops_after_deployment", schedule=[Asset("deployed")], start_date=pendulum.datetime(2025, 1, 1)):

    @task
    def commands(triggering_asset_events: Any = None) -> list[str]:
        """Use the outputs."""
        return [f"ping {ended['outputs']['IP']}" for ended in ended_tasks(triggering_asset_events) if ended["outputs"]]

    commands()
