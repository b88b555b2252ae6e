# SPDX-License-Identifier: Apache-2.0
"""The layer ``core/`` and the fake work in a program that has no Airflow."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_sops.core
import airflow_provider_sops.testing

PROGRAM = """
import importlib, sys

class NoAirflow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "airflow":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoAirflow())
for name in sys.argv[1:]:
    importlib.import_module(name)

from airflow_provider_sops.connection import parse_connection
from airflow_provider_sops.core.http.client import SopsClient
from airflow_provider_sops.core.task_outputs import read_outputs
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.testing import FakeSops

with FakeSops() as fake:
    task_id = fake.create_task()
    fake.advance(10)
    fields = fake.connection()
    del fields["conn_type"]
    with SopsClient(parse_connection(**fields).endpoint) as client:
        print(client.run(read_outputs(task_id, Project(2))).values["IP"])
assert not any(name.partition(".")[0] == "airflow" for name in sys.modules)
"""
#: What runs a task: imported when one runs.
RUNNING = {
    f"airflow_provider_sops.{name}"
    for name in (
        "core.models",
        "core.poll.poller",
        "core.run.task_run",
        "core.wait.task_wait",
        "operators.run_attempt",
        "operators.run_spec",
        "task_log",
        "trigger_events",
        "wait_failures",
        "wait_results",
    )
}
HTTP_LIBRARIES = {"requests", "httpx", "urllib3", "pendulum"}


def modules_of(package: object) -> list[str]:
    name, path = package.__name__, package.__path__  # type: ignore[attr-defined]
    return [f"{name}.{module.name}" for module in pkgutil.iter_modules(path) if not module.name.startswith("_")]


def test_all_of_it_can_be_imported_and_used() -> None:
    modules = modules_of(airflow_provider_sops.core) + modules_of(airflow_provider_sops.testing)
    modules.remove("airflow_provider_sops.testing.pytest_plugin")  # needs pytest, which is there; no Airflow either
    done = subprocess.run([sys.executable, "-c", PROGRAM, *modules], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("127.0.0.1\n", 0), done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "operators.sops",
        "sensors.sops",
        "triggers.sops",
        "hooks.sops",
        "links.sops",
        "plugins.sops",
        "get_provider_info",
    ],
)
def test_reading_a_dag_imports_neither_http_libraries_nor_what_runs_tasks(name: str) -> None:
    """They are imported when they are first used, not whenever a DAG file is parsed."""
    path = Path(airflow_provider_sops.core.__path__[0]).parent
    waiting, seen = [f"airflow_provider_sops.{name}"], set()
    while waiting:
        module = waiting.pop()
        stem = path.parent / module.replace(".", "/")
        file = next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.exists()), None)
        if module in seen or file is None:
            continue
        seen.add(module)
        for node in ast.parse(file.read_text()).body:  # at the top of a module only
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for imported in names:
                assert imported.partition(".")[0] not in HTTP_LIBRARIES, f"{module} imports {imported}"
            waiting += [imported for imported in names if imported.startswith("airflow_provider_sops")]
    assert f"airflow_provider_sops.{name}" in seen
    if name != "hooks.sops":
        assert not seen & RUNNING
