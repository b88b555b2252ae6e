# SPDX-License-Identifier: Apache-2.0
"""What Airflow's database alone tells: arguments that are kept rendered no more, and whose connections are used."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path

import pytest
from airflow.models.connection import Connection

from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.web import task_page_words as words
from tests.web.task_page.conftest import Site, add_instance
from tests.web.task_page.test_task_page import text_of

Connect = Callable[..., None]
HAS_TEAMS = "team_name" in signature(Connection.get_connection_from_secrets).parameters
#: Each task has a SOPS task's id of its own.
DAG = """
from airflow.sdk import DAG, BaseOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor

with DAG("{dag_id}", schedule=None):
    SopsTaskSensor(task_id="wait", sops_task_id={task_id})
    SopsTaskSensor(task_id="templated", sops_task_id="{{{{ params.task_id }}}}")
    SopsTaskSensor(task_id="templated_connection", sops_task_id={task_id}, sops_conn_id="{{{{ params.conn }}}}")
    SopsTaskSensor.partial(task_id="mapped", bk_biz_id=2).expand(sops_task_id=[{task_id}])
    SopsTaskSensor.partial(task_id="mapped_over_connections", sops_task_id={task_id}).expand(sops_conn_id=["x"])
    BaseOperator(task_id="other")
"""


@pytest.fixture
def write_dag(site: Site, tmp_path: Path) -> Iterator[Callable[[str, int], None]]:
    """Let Airflow read a DAG file of a bundle, as its DAG processor does."""
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    try:
        dagbag = importlib.import_module("airflow.dag_processing.dagbag")
    except ImportError:  # Airflow 3.1
        dagbag = importlib.import_module("airflow.models.dagbag")

    def write(dag_id: str, task_id: int) -> None:
        (tmp_path / f"{dag_id}.py").write_text(DAG.format(dag_id=dag_id, task_id=task_id))
        with create_session() as session:
            session.merge(DagBundleModel(name="written"))
        bag = dagbag.DagBag(tmp_path, bundle_path=tmp_path)
        assert not bag.import_errors, bag.import_errors
        dagbag.sync_bag_to_db(bag, "written", None)

    yield write
    with create_session() as session:
        for model in (SerializedDagModel, DagVersion):
            session.execute(model.__table__.delete())


class TestWrittenArguments:
    """Airflow keeps the rendered arguments of the latest runs only."""

    @pytest.mark.parametrize("airflow_task", ["wait", "templated", "mapped"])
    def test_the_task_is_found_without_rendered_ones(
        self,
        site: Site,
        sops: FakeSops,
        connect: Connect,
        write_dag: Callable[[str, int], None],
        airflow_task: str,
    ) -> None:
        connect(sops)
        task_id = sops.create_task(name="the one")
        write_dag("dag", task_id)
        map_index = 0 if airflow_task == "mapped" else -1
        xcoms = {} if airflow_task == "wait" else {"sops_task_id": task_id}
        add_instance(task_id=airflow_task, map_index=map_index, is_rendered=False, xcoms=xcoms)
        assert "the one" in text_of(site.page(task_id=airflow_task, map_index=map_index))

    def test_what_needs_to_be_rendered_tells_nothing(
        self, site: Site, sops: FakeSops, connect: Connect, write_dag: Callable[[str, int], None]
    ) -> None:
        connect(sops)
        write_dag("dag", sops.create_task())
        add_instance(task_id="templated", is_rendered=False)
        assert text_of(site.page(task_id="templated")) == " ".join(words.NO_TASK_YET)

    @pytest.mark.parametrize(
        ("airflow_task", "map_index"), [("templated_connection", -1), ("mapped_over_connections", 0)]
    )
    def test_a_connection_that_is_not_known_any_more_is_not_guessed(
        self,
        site: Site,
        sops: FakeSops,
        connect: Connect,
        write_dag: Callable[[str, int], None],
        airflow_task: str,
        map_index: int,
    ) -> None:
        connect(sops)
        write_dag("dag", sops.create_task(name="the one"))
        add_instance(task_id=airflow_task, map_index=map_index, is_rendered=False)
        answer = site.page(task_id=airflow_task, map_index=map_index)
        assert "not known any more which connection" in text_of(answer)

    @pytest.mark.parametrize("airflow_task", ["other", "a task that was removed"])
    def test_a_task_of_another_kind(self, site: Site, write_dag: Callable[[str, int], None], airflow_task: str) -> None:
        write_dag("dag", 1)
        add_instance(task_id=airflow_task, is_rendered=False)
        assert text_of(site.page(task_id=airflow_task)) == " ".join(words.NOT_OURS)

    def test_a_dag_that_is_not_there_any_more(self, site: Site) -> None:
        add_instance("gone", is_rendered=False)
        assert text_of(site.page("gone")) == " ".join(words.NOT_OURS)


@pytest.mark.skipif(not HAS_TEAMS, reason="before Airflow 3.2 no connection belongs to a team")
@pytest.mark.parametrize("has_team", [True, False])
def test_the_connection_is_that_of_the_dags_team(
    site: Site,
    make_sops: Callable[..., FakeSops],
    connect: Connect,
    write_dag: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
    has_team: bool,
) -> None:
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.team import Team
    from airflow.utils.session import create_session

    everyones, own = make_sops(), make_sops()
    connect(everyones)
    monkeypatch.setenv("AIRFLOW_CONN__BLUE___SOPS_DEFAULT", json.dumps(own.connection()))
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    for sops, name in ((everyones, "everyone's"), (own, "the team's")):
        task_id = sops.create_task(name=name)
    dag_id = "with_a_team" if has_team else "without_a_team"  # Airflow remembers for a time whose a DAG is
    write_dag(dag_id, task_id)
    with create_session() as session:
        bundle = session.get(DagBundleModel, "written")
        assert bundle
        bundle.teams = [Team(name="blue")] if has_team else []
    try:
        add_instance(dag_id, is_rendered=False)
        assert ("the team's" if has_team else "everyone's") in text_of(site.page(dag_id))
    finally:
        with create_session() as session:
            session.execute(Team.__table__.delete())
