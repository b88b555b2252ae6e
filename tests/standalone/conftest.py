# SPDX-License-Identifier: Apache-2.0
"""One ``airflow standalone`` and two fakes: a process of its own, and one that can be stopped and keeps its tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_sops.testing import FakeSops, FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.fake import connection_json, fake_process


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSopsClient]:
    """A fake SOPS in a process of its own, behind the connection ``sops_default``."""
    with fake_process(tmp_path_factory.mktemp("fake")) as client:
        yield client


@pytest.fixture(scope="session")
def frail() -> Iterator[FakeSops]:
    """A fake SOPS with two replicas, behind the connection ``sops_frail``; down, it keeps its tasks."""
    with FakeSops(replicas=2) as fake:
        yield fake


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, fake: FakeSopsClient, frail: FakeSops) -> Iterator[Standalone]:
    """An Airflow with the DAGs of these tests."""
    home = tmp_path_factory.mktemp("airflow")
    connections = {
        "AIRFLOW_CONN_SOPS_DEFAULT": connection_json(fake),
        "AIRFLOW_CONN_SOPS_FRAIL": json.dumps(frail.connection()),
    }
    with Standalone(home, Path(__file__).parent / "dags", **connections) as standalone:
        yield standalone
