# SPDX-License-Identifier: Apache-2.0
"""Airflow's own API server app with the plugin in it, in this process, and task instances in its database."""

from __future__ import annotations

import importlib
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_sops.compat import HAS_LOOPS, HAS_PLUGIN_TABS

if not HAS_PLUGIN_TABS:
    collect_ignore_glob = ["test_*.py"]

START = datetime(2026, 11, 22, 13, 3, 25, 123456, tzinfo=UTC)
RUN_ID = "manual__2026-11-22T13:03:25+00:00"


@dataclass
class Site:
    """An Airflow, as a browser meets it."""

    app: Any
    client: Any
    made: list[str] = field(default_factory=list)

    def cookie(self, user: str) -> str:
        """What a browser sends of a user who is logged in."""
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        return str(get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=user, role="viewer")))

    def get(self, path: str, *, user: str | None = "anyone", **headers: str) -> Any:
        """Ask for something below ``/sops/task_instance``."""
        cookies = f"_token={self.cookie(user)}" if user else ""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(f"/sops/task_instance/{path}", headers={"cookie": cookies, **named})

    def page(self, dag_id: str = "dag", **query: Any) -> Any:
        """Open the page of a task instance."""
        user = query.pop("user", "anyone")
        headers = query.pop("headers", {})
        query = {"run_id": RUN_ID, "task_id": "wait", "map_index": -1} | query
        parts = [
            f"{name}={quote(str(one), safe='')}"
            for name, value in query.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        return self.get(f"page/{quote(dag_id, safe='')}?{'&'.join(parts)}", user=user, **headers)


@pytest.fixture(scope="session")
def _airflow() -> Any:
    os.environ["AIRFLOW__CORE__AUTH_MANAGER"] = "tests.web.task_page.auth_manager.PickyAuthManager"
    os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] = "False"
    os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = (
        "a secret of these tests, which is long enough for the algorithm that it signs with"
    )
    from airflow.utils.db import initdb

    initdb()
    from airflow.api_fastapi.app import create_app

    return create_app(apps="core")


@pytest.fixture
def site(_airflow: Any) -> Iterator[Site]:
    """An Airflow without any run."""
    from starlette.testclient import TestClient

    with TestClient(_airflow, base_url="http://127.0.0.1") as client:
        yield Site(_airflow, client)
    _empty()


def _empty() -> None:
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    models: dict[Any, None] = dict.fromkeys(
        (_xcom_model(), RenderedTaskInstanceFields, _history_model(), TaskInstance, DagRun, DagModel)
    )
    with create_session() as session:
        for model in models:
            session.execute(model.__table__.delete())


def _xcom_model() -> Any:
    xcom = importlib.import_module("airflow.models.xcom")
    return xcom.XComModelV2 if HAS_LOOPS else xcom.XComModel


def _history_model() -> Any:
    """Where tries before the present one are; Airflow 3.4 keeps them beside it."""
    if HAS_LOOPS:
        return importlib.import_module("airflow.models.taskinstance").TaskInstance
    return importlib.import_module("airflow.models.taskinstancehistory").TaskInstanceHistory


def add_instance(
    dag_id: str = "dag",
    *,
    run_id: str = RUN_ID,
    task_id: str = "wait",
    map_index: int = -1,
    arguments: dict[str, Any] | None = None,
    xcoms: dict[str, Any] | None = None,
    max_tries: int = 0,
    earlier: tuple[int, ...] = (),
    is_rendered: bool = True,
) -> None:
    """Put a task instance into Airflow's database.

    :param arguments: its rendered fields; by default those of a sensor.
    :param earlier: the ``max_tries`` of tries before.
    :param is_rendered: Airflow still has its rendered fields.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import insert, select

    key = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
    index = "region_index" if HAS_LOOPS else "map_index"
    own = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, index: map_index, "max_tries": max_tries}
    own |= {"pool": "default_pool", "pool_slots": 1, "state": "success"}
    with create_session() as session:
        find = select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        run = session.scalar(find)
        if run is None:
            values = {"dag_id": dag_id, "run_id": run_id, "start_date": START, "run_type": "manual", "state": "success"}
            session.execute(insert(DagRun.__table__).values(run_after=START, **values))
            run = session.scalar(find)
        ti_id = _uuid(TaskInstance, "id")
        session.execute(insert(TaskInstance.__table__).values(id=ti_id, try_number=1 + len(earlier), **own))
        history: Any = _history_model()
        for number, tries in enumerate(earlier, 1):
            past = {"id": _uuid(TaskInstance, "id"), "working_set": None} if HAS_LOOPS else {}
            past = past or {"task_instance_id": _uuid(history, "task_instance_id")}
            session.execute(
                insert(history.__table__).values(**{**own, **past, "try_number": number, "max_tries": tries})
            )
        fields = {"sops_conn_id": "sops_default", "bk_biz_id": None, "scope": None} if arguments is None else arguments
        owner = {"task_instance_id": ti_id} if HAS_LOOPS else key
        if is_rendered:
            rendered = insert(RenderedTaskInstanceFields.__table__)
            new_id = {"id": uuid.uuid4()} if HAS_LOOPS else {}
            session.execute(rendered.values(**owner, **new_id, rendered_fields=fields))
        for name, value in (xcoms or {}).items():
            of_run = {"id": uuid.uuid4()} if HAS_LOOPS else {"dag_run_id": run}
            stored = json.loads(json.dumps(value))
            session.execute(insert(_xcom_model().__table__).values(**owner, **of_run, key=name, value=stored))


def _uuid(model: Any, column: str) -> Any:
    """An id as this Airflow's column takes it."""
    number = uuid.uuid4()
    return number if getattr(model.__table__.c[column].type, "as_uuid", False) else str(number)
