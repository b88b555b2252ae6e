# SPDX-License-Identifier: Apache-2.0
"""The provider's app as Airflow's API server has it: over real HTTP, beside a real database of Airflow."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_sops.compat import HAS_ASSETS

if not HAS_ASSETS:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def database() -> None:
    """Make Airflow's database, in the home of the tests."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def api_server(database: None) -> Iterator[str]:
    """Serve a fresh app where Airflow mounts it.

    :return: its address.
    """
    import uvicorn
    from starlette.applications import Starlette

    from airflow_provider_sops.plugins.sops import SopsPlugin

    root = Starlette()
    for app in SopsPlugin.fastapi_apps:
        fresh: Any = type(app["app"])(app["app"].factory)
        root.mount(app["url_prefix"], fresh)
    server = uvicorn.Server(uvicorn.Config(root, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
