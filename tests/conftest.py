# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all tests. Nothing here imports Airflow: most tests do without it."""

from __future__ import annotations

import atexit
import gc
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain, product
from pathlib import Path
from typing import Any
from zlib import crc32

# before anything imports Airflow, which makes its home when it is imported
_PROCESS = os.getpid()
AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="airflow-home-"))
(AIRFLOW_HOME / "dags").mkdir()
os.environ["AIRFLOW_HOME"] = str(AIRFLOW_HOME)
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(AIRFLOW_HOME / "dags")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

import pytest  # noqa: E402

from airflow_provider_sops.testing import FakeSops  # noqa: E402
from tests import secrets  # noqa: E402
from tests.clients import secret_sops  # noqa: E402

SAMPLES = Path(__file__).parent / "samples"
ENDPOINTS = ("apigw", "esb")


@atexit.register
def _remove_airflow_home() -> None:
    if os.getpid() == _PROCESS:  # not in a process that Airflow forked
        shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What runs on every SOPS takes long."""
    parser.addoption("--all-ways", action="store_true", help="let tests that go one way each go all of them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let tests that go one way each (a endpoint, a mode) go another one each, so that all together go all of them."""
    if not config.getoption("--all-ways"):
        items[:] = [item for item in items if _is_its_way(item)]


def _is_its_way(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("one_way_each")
    if marker is None or not isinstance(item, pytest.Function):
        return True
    params = {"api_type": ENDPOINTS, **marker.kwargs}
    ways = list(product(*params.values()))
    rest = item.nodeid
    for word in chain.from_iterable(params.values()):
        rest = rest.replace(word, "")
    return ways[crc32(rest.encode()) % len(ways)] == tuple(item.callspec.params[name] for name in params)


def pytest_configure(config: pytest.Config) -> None:
    """No test may show a secret."""
    config.pluginmanager.register(secrets, "secrets-do-not-show")


@pytest.fixture(params=ENDPOINTS)
def api_type(request: pytest.FixtureRequest) -> str:
    """Each of the two endpoints."""
    return str(request.param)


@pytest.fixture
def make_sops() -> Iterator[Callable[..., FakeSops]]:
    """Make fake SOPS servers whose credentials are the secrets that must not show."""
    with ExitStack() as stack:
        yield lambda **arguments: stack.enter_context(secret_sops(**arguments))


@pytest.fixture
def sops(make_sops: Callable[..., FakeSops]) -> FakeSops:
    """A fake SOPS without its caches."""
    return make_sops()


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Hold off the garbage collector, for what reads JSON that is nested without an end.

    Before Python 3.12 it runs in the depth of the C parser too, where whatever is due to be finalized, be it another
    test's, fails for want of depth; pytest reports that as this test's failure.
    """
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let Airflow's connection ``sops_default`` lead to a fake SOPS."""

    def connect(fake: FakeSops, api_type: str = "apigw", *, conn_id: str = "sops_default", **extra: Any) -> None:
        connection = json.dumps(fake.connection(api_type, **extra))
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)

    return connect


def sample(path: str) -> Any:
    """Read a recorded answer."""
    return json.loads((SAMPLES / path).read_text())
