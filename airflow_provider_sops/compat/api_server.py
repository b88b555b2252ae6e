# SPDX-License-Identifier: Apache-2.0
"""What Airflow's API server has and no public interface gives: its database's connections and asset events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import conf


def team_of(dag_id: str) -> str:
    """Return the team whose connections the tasks of a DAG use; empty where Airflow has no teams. Blocks."""
    if not conf.getboolean("core", "multi_team", fallback=False):
        return ""
    from airflow.models.dag import DagModel

    return DagModel.get_team_name(dag_id) or ""


def look_up_connection_in_api_server(conn_id: str, team: str = "") -> Any:
    """Look a connection up where Airflow's database is at hand. Blocks.

    :param team: whose it is, see :func:`team_of`.
    :return: the connection; ``None`` where there is none.
    """
    from airflow.models.connection import Connection
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    try:
        return Connection.get_connection_from_secrets(conn_id, **({"team_name": team} if team else {}))
    except AirflowNotFoundException:
        return None


def register_asset_event(asset: Any, extra: Mapping[str, Any], session: Any, partition_key: str | None = None) -> None:
    """Store an event of an asset, and queue the DAGs that are scheduled on it, as Airflow's own API does.

    :param asset: its row in the database.
    :param partition_key: Airflow 3.2 and newer, see :data:`HAS_PARTITION_KEYS`.
    """
    from airflow.assets.manager import asset_manager

    options: dict[str, Any] = {} if partition_key is None else {"partition_key": partition_key}
    asset_manager.register_asset_change(asset=asset, extra=dict(extra), session=session, **options)
