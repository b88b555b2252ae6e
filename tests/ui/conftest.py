# SPDX-License-Identifier: Apache-2.0
"""One ``airflow standalone`` and one fake SOPS for all tests of the web page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import ROOT, Standalone
from tests.live.fake import fake_process
from tests.live.processes import free_ports, wait_until


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSopsClient]:
    """A fake SOPS in a process of its own."""
    with fake_process(tmp_path_factory.mktemp("fake")) as client:
        yield client


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """An Airflow with the example DAGs and those of these tests, without any connection."""
    home = tmp_path_factory.mktemp("airflow")
    dags = Path(shutil.copytree(ROOT / "example_dags", home / "dags"))
    shutil.copytree(Path(__file__).parent / "dags", dags, dirs_exist_ok=True)
    # as the form's help says of headers
    settings = {
        "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES": "headers",
        "AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN": ".+",
        # so that a picture of a log shows its lines to their ends
        "AIRFLOW__API__DEFAULT_WRAP": "True",
    }
    with Standalone(home, dags, **settings) as standalone:
        yield standalone
        secrets = (b"demo-secret", b"demo-token", b"demo-access-token")
        shown = [path for path in standalone.written() if any(secret in path.read_bytes() for secret in secrets)]
        assert not shown, f"a secret shows in {shown}"


@pytest.fixture(scope="session")
def prefixed_url(site: Standalone) -> str:
    """The address of a second API server of the site, below a path prefix, as behind a proxy of a company."""
    (port,) = free_ports(1)
    before, url = dict(site.env), f"http://127.0.0.1:{port}/air/flow"
    site.env |= {"AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": url}
    try:
        server = site.start("api-server")
    finally:
        site.env = before
    wait_until("it listens", lambda: f":{port}" in server.tail() and "startup complete" in server.tail(), seconds=200)
    return url
