# SPDX-License-Identifier: Apache-2.0
"""Start a DAG whenever a SOPS task ends, whoever started it: found by a watcher, or told by SOPS' webhook.

Needs Airflow 3.0 or newer, and one run for each SOPS task Airflow 3.2. For the webhook, the connection needs
``webhook_token`` and ``webhook_asset``, see the documentation.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_sops.assets import ended_tasks
from airflow_provider_sops.triggers.sops import SopsTaskEndedTrigger

COMMON: dict[str, Any] = {"start_date": pendulum.datetime(2025, 1, 1, tz="UTC"), "catchup": False, "tags": ["sops"]}

deployed = Asset(
    "sops_deployed",
    watchers=[AssetWatcher(name="sops", trigger=SopsTaskEndedTrigger(name="deployed", template_ids=[101]))],
)


@task
def use_outputs(triggering_asset_events: Any) -> list[str]:
    """Use the outputs of the SOPS tasks that have ended since the last run."""
    return [f"ping {ended['outputs']['IP']}" for ended in ended_tasks(triggering_asset_events) if ended["outputs"]]


with DAG("sops_start_when_task_ends", schedule=[deployed], **COMMON):
    use_outputs()

try:
    from airflow.sdk import PartitionedAssetTimetable
except ImportError:  # before Airflow 3.2
    pass
else:
    # {"webhook_asset": {"asset": "sops_deployed_each", "partition_key": "task"}} in the connection
    each = PartitionedAssetTimetable(assets=Asset("sops_deployed_each"))
    with DAG("sops_start_for_each_task", schedule=each, **COMMON):
        use_outputs()
