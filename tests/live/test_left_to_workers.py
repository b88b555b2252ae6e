# SPDX-License-Identifier: Apache-2.0
"""Sites where a trigger may end nothing: what listens to ends is told, and a custom XCom backend stores all values."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_sops.compat import TRIGGERS_PUSH_XCOMS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.conftest import SETTINGS
from tests.live.fake import connection_json
from tests.live.logs import find_tracebacks
from tests.live.processes import wait_until
from tests.live.test_waits import OUTPUTS, PATIENCE

pytestmark = pytest.mark.skipif(not TRIGGERS_PUSH_XCOMS, reason="triggers of this Airflow push no XComs")

DAGS = Path(__file__).parent / "dags_of_a_site"
DAG_ID = "of_a_site"
LISTENER = """
from pathlib import Path

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin


class Listener:
    @hookimpl
    def on_task_instance_success(self, previous_state, task_instance):
        with (Path(__file__).parent / "ended.txt").open("a") as told:
            told.write(task_instance.task_id + "\\n")


class ListenerPlugin(AirflowPlugin):
    name = "listener"
    listeners = [Listener()]
"""
#: the site's settings, and what the log says
SITES = {
    "listener": ({}, "a plugin of this Airflow listens to the ends of tasks"),
    "xcom_backend": ({"AIRFLOW__CORE__XCOM_BACKEND": "tests.live.xcom_backend.OwnForm"}, "[core] xcom_backend is"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", SITES)
def test_a_worker_ends_all_and_says_why(kind: str, tmp_path: Path, fake: FakeSopsClient) -> None:
    settings, why = SITES[kind]
    plugins, home = tmp_path / "plugins", tmp_path / "airflow"
    plugins.mkdir()
    home.mkdir()
    if kind == "listener":
        (plugins / "listener.py").write_text(LISTENER)
    own = {
        "AIRFLOW_CONN_SOPS_DEFAULT": connection_json(fake),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        "AIRFLOW__SOPS__END_FROM_TRIGGER": "True",
    }
    with Standalone(home, DAGS, **SETTINGS | own | settings) as site:
        task_id = fake.create_task("Long sleep", constants={"seconds": "36000"})
        run_id = site.api.trigger(DAG_ID, {"sops_task_id": task_id})
        for name in ("wait", "run"):
            wait_until(f"{name} waits", lambda: site.states(DAG_ID, run_id, name) == {"deferred": 1}, seconds=PATIENCE)  # noqa: B023
        path = f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/wait/links"
        wait_until("the link is there", lambda: fake.url in str(site.api.ask("GET", path)), seconds=PATIENCE)
        fake.advance(36000)
        assert site.api.wait_for_run(DAG_ID, run_id, seconds=PATIENCE) == "success"
        for name in ("wait", "run"):
            assert site.api.log(DAG_ID, run_id, name).count(f"A worker will end this task, not its trigger: {why}") == 1
        expected = ["127.0.0.1", "127.0.0.1", OUTPUTS, OUTPUTS]
        if kind == "listener":
            assert site.api.xcom(DAG_ID, run_id, "use") == expected
            assert sorted((plugins / "ended.txt").read_text().split()) == ["run", "use", "wait"]
        found = find_tracebacks(site.written())
        assert not found, "\n".join(found)
