# SPDX-License-Identifier: Apache-2.0
"""The provider on Airflow's command line: providers, connections of every spelling, runs of the examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow import __version__ as airflow_version

from airflow_provider_sops import __version__
from airflow_provider_sops.testing import FakeSops
from tests.example_dags.test_example_dags import CONFS
from tests.output import PLAIN_OUTPUT, own_words

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "example_dags"
BIN = Path(sys.executable).parent


def environ(home: Path, **settings: str) -> dict[str, str]:
    """The environment of an Airflow with a home of its own and no connection."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")}
    return own | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        **PLAIN_OUTPUT,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        **settings,
    }


def run(command: list[str | Path], env: dict[str, str]) -> str:
    """Run a program.

    :return: all that it printed.
    """
    done = subprocess.run(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        cwd=env["AIRFLOW_HOME"],
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def airflow(commands: list[list[str]], home: Path, **settings: str) -> list[Any]:
    """Run commands of Airflow.

    :return: what each printed, read as JSON where it is.
    """
    result = home / "result.json"
    run([sys.executable, HERE / "run_commands.py", json.dumps(commands), result], environ(home, **settings))
    return [read(text) for text in json.loads(result.read_text())]


def read(text: str) -> Any:
    """Read JSON, which may stand after lines of a log."""
    for start, character in enumerate(text):
        if character in "[{" and (start == 0 or text[start - 1] == "\n"):
            try:
                return json.loads(text[start:])
            except ValueError:
                continue
    return text


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeSops]:
    """A fake SOPS."""
    with FakeSops(caches=False) as fake:
        yield fake


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of an Airflow with a database."""
    home = tmp_path_factory.mktemp("airflow")
    run([BIN / "airflow", "db", "migrate"], environ(home))
    return home


def uri(fake: FakeSops) -> str:
    """The connection as an address, with the extra fields as a query."""
    connection = fake.connection()
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in connection["extra"].items())
    return f"sops://{connection['login']}:{connection['password']}@{quote(connection['host'], safe='')}/?{query}"


def test_providers(home: Path) -> None:
    lists = ["list", "hooks", "links", "triggers", "widgets", "behaviours"]
    *found, one = airflow(
        [
            *(["providers", name, "-o", "json"] for name in lists),
            ["providers", "get", "airflow-provider-sops", "--full"],
        ],
        home,
    )
    by_name = {name: json.dumps(rows) for name, rows in zip(lists, found, strict=True)}
    (provider,) = [row for row in found[0] if row["package_name"] == "airflow-provider-sops"]
    assert (provider["version"], "SOPS" in provider["description"]) == (__version__, True)
    (hook,) = [row for row in found[1] if row["connection_type"] == "sops"]
    assert hook["class"] == "airflow_provider_sops.hooks.sops.SopsHook"
    assert (hook["conn_id_attribute_name"], hook["hook_name"]) == ("sops_conn_id", "BlueKing SOPS")
    assert "airflow_provider_sops.links.sops.SopsTaskLink" in by_name["links"]
    assert "airflow_provider_sops.triggers.sops" in by_name["triggers"]
    # without Flask AppBuilder, Airflow 3.0 and 3.1 show none here; their web page has its own way
    if airflow_version >= "3.2" or find_spec("flask_appbuilder"):
        assert "extra__sops__bk_username" in by_name["widgets"]
        assert '"sops"' in by_name["behaviours"]
    assert "conn-fields" in str(one)


def test_a_connection_is_added_shown_and_tested(home: Path, fake: FakeSops) -> None:
    connection = fake.connection()
    extra = json.dumps(connection["extra"])
    added = {
        "by_fields": [
            *("--conn-type", "sops"),
            *("--conn-host", connection["host"]),
            *("--conn-login", connection["login"]),
            *("--conn-password", connection["password"]),
            *("--conn-extra", extra),
        ],
        "by_json": ["--conn-json", json.dumps(connection)],
        "by_uri": ["--conn-uri", uri(fake)],
    }
    adds = [["connections", "add", conn_id, *how] for conn_id, how in added.items()]
    gets = [["connections", "get", conn_id, "-o", "json"] for conn_id in added]
    tests = [["connections", "test", conn_id] for conn_id in added]
    printed = airflow([*adds, *gets, *tests], home)
    for rows in printed[3:6]:
        (shown,) = rows
        assert shown["conn_type"] == "sops"
        assert (shown["host"], shown["login"]) == (connection["host"], connection["login"])
        fields = json.loads(shown["extra_dejson"]) if isinstance(shown["extra_dejson"], str) else shown["extra_dejson"]
        assert (fields["bk_username"], str(fields["bk_biz_id"])) == ("admin", "2")
    assert ["Connection success!" in said for said in printed[6:]] == [True] * 3


def backend(folder: Path, connections: dict[str, Any]) -> dict[str, str]:
    """The settings of a secrets backend that reads connections from a file."""
    file = folder / "connections.json"
    file.write_text(json.dumps(connections))
    return {
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(file)}),
    }


def test_a_connection_from_the_environment_and_from_a_secrets_backend(
    home: Path, fake: FakeSops, tmp_path: Path
) -> None:
    connection = fake.connection()
    settings = {
        "AIRFLOW_CONN_ENV_URI": uri(fake),
        "AIRFLOW_CONN_ENV_JSON": json.dumps(connection),
        **backend(tmp_path, {"file_uri": uri(fake), "file_json": connection}),
    }
    conn_ids = ("env_uri", "env_json", "file_uri", "file_json")
    printed = airflow([["connections", "test", conn_id] for conn_id in conn_ids], home, **settings)
    assert ["Connection success!" in said for said in printed] == [True] * 4


# a sensor and an operator; tests/example_dags runs all examples
@pytest.mark.parametrize("dag_id", ["sops_wait_and_use_outputs", "sops_run_task"])
def test_an_example_runs_with_a_connection_from_a_secrets_backend(
    home: Path, fake: FakeSops, tmp_path: Path, dag_id: str
) -> None:
    settings = backend(tmp_path, {"sops_default": fake.connection()})
    conf = json.dumps(CONFS[dag_id](fake))
    said = run([BIN / "airflow", "dags", "test", dag_id, "--conf", conf], environ(home, **settings))
    assert "state=success" in said or "state:success" in said, said
    assert fake.app_secret not in own_words(said)
