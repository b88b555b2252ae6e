# SPDX-License-Identifier: Apache-2.0
"""What Airflow's API server has and no public interface gives: its database's task instances, connections, events."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_sops.compat import HAS_LOOPS


def find_row(session: Any, *, dag_id: str, run_id: str, task_id: str, map_index: int) -> Any:
    """Return a task instance's row, with ``run_start``; ``None`` when there is none.

    Of a task in a loop (Airflow 3.4) it is that of the latest iteration: the address of a page does not tell them
    apart.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance as TI
    from sqlalchemy import and_, select

    columns: list[Any] = [TI.id, TI.dag_id, TI.run_id, TI.task_id, TI.state, TI.max_tries]
    index: Any = TI.map_index
    if HAS_LOOPS:
        index = import_module("airflow.models.task_coordinates").public_map_index_expression(TI)
        columns += [getattr(TI, name) for name in ("region_id", "region_index", "dag_version_id")]
    found = (
        select(*columns, TI.map_index.label("map_index"), DagRun.start_date.label("run_start"))
        .join(DagRun, and_(DagRun.dag_id == TI.dag_id, DagRun.run_id == TI.run_id))
        .where(TI.dag_id == dag_id, TI.run_id == run_id, TI.task_id == task_id, index == map_index)
        .order_by(TI.map_index.desc())
    )
    return session.execute(found).first()


def iteration_of_row(session: Any, row: Any) -> int | None:
    """Return the iteration of the loop that a task is in; ``None`` outside of loops.

    :param row: see :func:`find_row`.
    """
    if HAS_LOOPS:
        resolver = import_module("airflow.models.task_coordinates").TaskCoordinateResolver
        found = resolver.for_dag(None, session).get_loop_iteration(row)
        return None if found is None else int(found[1])
    return None


def max_tries_of_row(session: Any, row: Any) -> set[int]:
    """Return the ``max_tries`` that a task instance has had, which a clear raises.

    :param row: see :func:`find_row`.
    """
    from sqlalchemy import select

    tries: Any
    if HAS_LOOPS:  # Airflow 3.4 keeps earlier tries beside the present one
        from airflow.models.taskinstance import TaskInstance as tries
    else:
        from airflow.models.taskinstancehistory import TaskInstanceHistory as tries
    earlier = select(tries.max_tries).where(*is_of_row(tries, row, by_id=False)).distinct()
    found = session.scalars(earlier.execution_options(include_all_attempts=True)).all()
    return {number for number in (*found, row.max_tries) if number is not None}


def is_of_row(model: Any, row: Any, *, by_id: bool = True) -> list[Any]:
    """Return the conditions for what belongs to a task instance, which Airflow 3.4 keeps by its id.

    :param row: see :func:`find_row`.
    :param by_id: what belongs to its present try alone, where Airflow tells it.
    """
    if by_id and HAS_LOOPS:
        return [model.task_instance_id == row.id]
    return [getattr(model, name) == getattr(row, name) for name in ("dag_id", "run_id", "task_id", "map_index")]


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
