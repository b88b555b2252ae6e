# SPDX-License-Identifier: Apache-2.0
"""DAGs that start when a SOPS task ends: told by an operator's outlet, by a watcher, by a webhook."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_sops.assets import ended_tasks
from airflow_provider_sops.compat import HAS_PARTITION_KEYS
from airflow_provider_sops.operators.sops import SopsRunTaskOperator
from airflow_provider_sops.triggers.sops import SopsTaskEndedTrigger

COMMON: dict[str, Any] = {"start_date": pendulum.datetime(2025, 1, 1), "max_active_runs": 100, "catchup": False}

outlet, webhook, by_task = Asset("sops_outlet"), Asset("sops_webhook"), Asset("sops_by_task")
# Two watchers of one asset cannot be told apart by it; each asset has its own.
watched = Asset(
    "sops_watched",
    watchers=[
        AssetWatcher(
            name="sops",
            trigger=SopsTaskEndedTrigger(
                name="live", template_ids=[101, 103, 105], states=["FINISHED", "FAILED"], bk_biz_id=2, poll_interval=10
            ),
        )
    ],
)


@task
def use(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
    """Use the outputs of the SOPS tasks that have ended."""
    return [
        {"id": one["sops_task_id"], "state": one["state"], "command": f"ping {(one['outputs'] or {}).get('IP')}"}
        for one in ended_tasks(triggering_asset_events)
    ]


with DAG("produces", schedule=None, **COMMON):
    SopsRunTaskOperator(task_id="run", template_id=101, bk_biz_id=2, outlets=[outlet])

for name, asset in {"on_outlet": outlet, "on_watch": watched, "on_webhook": webhook}.items():
    with DAG(name, schedule=[asset], **COMMON):
        use()

if HAS_PARTITION_KEYS:
    from airflow.sdk import PartitionedAssetTimetable

    with DAG("on_webhook_by_task", schedule=PartitionedAssetTimetable(assets=by_task), **COMMON):
        use()
