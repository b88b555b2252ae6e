# SPDX-License-Identifier: Apache-2.0
"""The asset event of a webhook, in Airflow's database: each end once, whoever has delivered it. Blocks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow_provider_sops.assets import ended_tasks_of_event
from airflow_provider_sops.compat.api_server import register_asset_event
from airflow_provider_sops.core.ended_task import identity_of

#: How far back an earlier delivery is looked for.
MEMORY = timedelta(days=2)
#: SQLite locks no row.
_one_at_a_time = threading.Lock()


class Stored(StrEnum):
    """What has become of an end."""

    STORED = "stored"
    #: an earlier event of the asset tells of it
    KNOWN = "known"
    #: Airflow knows no such asset, or no DAG uses it
    NO_ASSET = "no asset"


def store_ended_task(asset_name: str, ended: Mapping[str, Any], partition_key: str | None) -> Stored:
    """Store the event of an asset that tells of an ended task, unless there is one.

    :param ended: see :func:`~airflow_provider_sops.core.ended_task.make_ended_task`.
    :raises Exception: whatever it is that Airflow's database raises.
    """
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with _one_at_a_time, create_session() as session:
        # the row's lock keeps other processes from doing the same between the look and the event
        query = select(AssetModel).where(AssetModel.name == asset_name, AssetModel.active.has()).with_for_update()
        asset = session.scalar(query)
        if asset is None:
            return Stored.NO_ASSET
        if _is_known(session, asset.id, ended):
            return Stored.KNOWN
        register_asset_event(asset, ended, session, partition_key)
        return Stored.STORED


def _is_known(session: Any, asset_id: int, ended: Mapping[str, Any]) -> bool:
    from airflow.models.asset import AssetEvent
    from sqlalchemy import Text, cast, select

    # as JSON is written in every database; what it finds is compared in full
    part = f'%"sops_task_id": {int(ended["sops_task_id"])}%'
    query = select(AssetEvent.extra).where(
        AssetEvent.asset_id == asset_id,
        AssetEvent.timestamp >= datetime.now(UTC) - MEMORY,
        cast(AssetEvent.extra, Text).like(part),
    )
    identity = identity_of(ended)
    return any(identity_of(one) == identity for extra in session.scalars(query) for one in ended_tasks_of_event(extra))
