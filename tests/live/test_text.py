# SPDX-License-Identifier: Apache-2.0
"""Text of SOPS that no database takes ends the one wait that it is about, rightly, and no other; nor the triggerer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.conftest import DAGS, SETTINGS
from tests.live.fake import connection_json
from tests.live.logs import find_tracebacks
from tests.live.processes import wait_until
from tests.live.test_waits import PATIENCE, all_deferred

#: Every control character below a blank, and half of a pair of surrogates.
NASTY = "".join(map(chr, range(0x20))) + "\ud800"


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory, fake: FakeSopsClient) -> Iterator[Standalone]:
    """An Airflow on SQLite."""
    home = tmp_path_factory.mktemp("sqlite")
    with Standalone(home, DAGS, **SETTINGS, AIRFLOW_CONN_SOPS_DEFAULT=connection_json(fake)) as standalone:
        yield standalone
        found = find_tracebacks(standalone.written())
        assert not found, "\n".join(found)


@pytest.mark.parametrize("database", ["site", "on_sqlite"])
def test_it_ends_its_own_wait_rightly(request: pytest.FixtureRequest, fake: FakeSopsClient, database: str) -> None:
    site: Standalone = request.getfixturevalue(database)
    plain, named, refused = (
        fake.create_task("Long sleep", constants={"seconds": "36000"}, name=name)
        for name in ("plain", f"named {NASTY}", f"refused {NASTY}")
    )
    run_id = site.api.trigger("waits", {"waits": [{"sops_task_id": one} for one in (plain, named, refused)]})
    wait_until("all wait", lambda: all_deferred(site, run_id, 3), seconds=PATIENCE)
    triggerer = {one.pid for one in site.members("triggerer")}
    fake.operate(refused, "revoke", user=NASTY)
    wait_until("one has failed", lambda: site.states("waits", run_id, "wait").get("failed") == 1, seconds=PATIENCE)
    fake.advance(36000)
    assert site.api.wait_for_run("waits", run_id, seconds=PATIENCE) == "failed"
    assert site.states("waits", run_id, "wait") == {"success": 2, "failed": 1}
    assert site.api.xcom("waits", run_id, "wait", map_index=0)["task_name"] == "plain"
    name = site.api.xcom("waits", run_id, "wait", map_index=1)["task_name"]
    assert name.startswith("named \\x00\\x01")
    assert name.endswith("\\ud800")
    assert "has ended as REVOKED" in site.api.log("waits", run_id, "wait", map_index=2)
    assert triggerer == {one.pid for one in site.members("triggerer")}
