# SPDX-License-Identifier: Apache-2.0
"""What a newcomer does who has no Airflow and an empty home: the commands of the page Install that set one up, then
those of the README and its first DAG, up to a run in the web page's Airflow. A fake SOPS stands in for the newcomer's
own site.

What makes the checkout and the environment is left out (``git``, ``make``, ``source``): these tests run in one.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from airflow import __version__ as airflow_version

from airflow_provider_sops.testing import FakeSops
from tests.docs.blocks import INSTALL, README, Block, blocks, lead_to
from tests.live.airflow import Api, airflow_environ
from tests.live.processes import Process, free_ports, wait_until

DAG_ID = "use_sops_outputs"
#: the id that the page uses: the first task of the fake
TASK_ID = 50001
#: settings with which tests spare themselves what a newcomer has to do
_SPARED = ("HOME", "DAGS_FOLDER", "LOAD_EXAMPLES", "ALL_ADMINS", "TEST_CONNECTION", "REFRESH_INTERVAL")

pytestmark = pytest.mark.skipif(airflow_version < "3.3", reason="the page installs the newest Airflow")


def _way() -> list[Block]:
    """Return the blocks that set up an Airflow, and those of the README up to the first run of the first DAG."""
    heading = INSTALL.read_text().splitlines().index("## No Airflow yet") + 1
    way = [*(block for block in blocks(INSTALL) if block.line > heading), *blocks(README)]
    first_run = next(index for index, block in enumerate(way) if "airflow dags test" in block.text)
    return way[: first_run + 1]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeSops]:
    """The newcomer's own SOPS, with a finished task."""
    with FakeSops() as fake:
        assert fake.create_task("Two steps with outputs") == TASK_ID
        fake.advance(10)
        yield fake


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has nothing yet; only the ports are others, as many tests may run here."""
    home = tmp_path_factory.mktemp("home")
    (port,) = free_ports(1)
    known = airflow_environ(home, port)
    spared = {name: value for name, value in known.items() if not name.endswith(_SPARED)}
    return spared | _exported() | {"HOME": str(home)}


def _exported() -> dict[str, str]:
    """Return what the page Install sets in each terminal."""
    (command,) = [block.text for block in _way() if block.text.startswith("export AIRFLOW__")]
    return dict(setting.split("=") for setting in command.split()[1:])


@pytest.fixture(scope="module")
def done(fake: FakeSops, environ: dict[str, str]) -> str:
    """Do what the page says, in its order.

    :return: what the last command printed.
    """
    printed = ""
    for block in _way():
        text = lead_to(fake, block.text)
        if block.language == "python":
            _save(text, environ)
        elif text.startswith(("mkdir ", "airflow ")) and "standalone" not in text:
            printed = _run(text, environ)
    return printed


def _save(text: str, environ: dict[str, str]) -> None:
    """Save the DAG where the page says; no folder is made for it."""
    (named,) = set(re.findall(r"`~/(airflow/dags/\w+\.py)`", README.read_text()))
    Path(environ["HOME"], named).write_text(text)


def _run(script: str, environ: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euc", script],
        env=environ,
        cwd=environ["HOME"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_first_dag_runs(done: str) -> None:
    assert "127.0.0.1 ended with 0" in done


def test_the_web_page_is_there_and_runs_it(done: str, environ: dict[str, str], tmp_path: Path) -> None:
    (command,) = [block.text.strip() for block in _way() if "airflow standalone" in block.text]
    text = INSTALL.read_text()
    (password_file,) = re.findall(r"`~/(airflow/\w+\.json\.generated)`", text)
    assert "open `http://localhost:8080`. The user is `admin`." in text  # with Airflow's own port
    url = f"http://localhost:{environ['AIRFLOW__API__PORT']}"
    process = Process(["bash", "-euc", f"exec env {command}"], env=environ, log=tmp_path / "log", cwd=tmp_path)
    try:
        assert '"Airflow is ready"' in text
        wait_until("it is ready", lambda: _says(process, "Airflow is ready"), seconds=300)
        wait_until("the page answers", lambda: _answers(url), seconds=60)
        password = json.loads(Path(environ["HOME"], password_file).read_text())["admin"]
        assert f"Password for user 'admin': {password}" in process.log.read_text()
        api = Api(url)
        login = {"username": "admin", "password": password}
        answer = api.session.post(f"{url}/auth/token", json=login, timeout=30)
        api.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        run_id = api.trigger(DAG_ID, {"sops_task_id": TASK_ID})
        assert api.wait_for_run(DAG_ID, run_id, seconds=300) == "success"
        assert api.xcom(DAG_ID, run_id, "use") == "127.0.0.1 ended with 0"
    finally:
        process.stop()


def _says(process: Process, what: str) -> bool:
    assert process.running, process.tail()
    return what in process.log.read_text(errors="replace")


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).ok
    except requests.RequestException:
        return False
