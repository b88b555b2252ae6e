# SPDX-License-Identifier: Apache-2.0
"""One Airflow on PostgreSQL with a triggerer of its own, and one fake SOPS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.fake import connection_json, fake_process
from tests.live.logs import find_tracebacks
from tests.live.postgres import Postgres

DAGS = Path(__file__).parent / "dags"
SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "16",
    "AIRFLOW__SECRETS__BACKEND": "tests.live.slow_secrets.SlowSecretsBackend",
    # an owner that stands still is soon taken for gone
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Each race costs a minute."""
    parser.addoption("--races", type=int, default=5, help="how often thirty waits end as soon as they are deferred")
    parser.addoption("--many", type=int, default=100, help="how many waits end within a second (a multiple of twenty)")
    parser.addoption("--kills", type=int, default=4, help="how often a part of Airflow is killed while tasks end")
    parser.addoption("--many-runs", type=int, default=1, help="how often they do")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat the race, and the ends of many, as often as was asked for."""
    ask = metafunc.config.getoption
    if "race" in metafunc.fixturenames:
        metafunc.parametrize("race", range(1, ask("--races") + 1))
    if "many" in metafunc.fixturenames:
        metafunc.parametrize("many", [ask("--many")] * ask("--many-runs"))


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSopsClient]:
    """A fake SOPS in a process of its own, behind the connection ``sops_default``."""
    with fake_process(tmp_path_factory.mktemp("fake")) as client:
        yield client


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, fake: FakeSopsClient) -> Iterator[Standalone]:
    """An Airflow with the DAGs of these tests; at the end no log holds a traceback that nobody expected."""
    home = tmp_path_factory.mktemp("airflow")
    with Postgres(home / "postgres.out") as postgres:
        settings = SETTINGS | {"AIRFLOW_CONN_SOPS_DEFAULT": connection_json(fake)}
        database = f"postgresql+psycopg2://{postgres.address}"
        with Standalone(home, DAGS, database=database, **settings) as standalone:
            yield standalone
            found = find_tracebacks(standalone.written())
            assert not found, "\n".join(found)


@pytest.fixture(autouse=True)
def _triggerer_lives(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test ends the triggerer, unless it does so itself and starts another."""
    yield
    if "site" in request.fixturenames:
        site: Standalone = request.getfixturevalue("site")
        assert site.members("triggerer"), "the triggerer has ended"
