# SPDX-License-Identifier: Apache-2.0
"""Runs DAG files in another process and gives what came of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_sops.testing import FakeSops
from tests.output import PLAIN_OUTPUT, plain

RUNNER = Path(__file__).with_name("run_dags.py")


@dataclass(frozen=True)
class DagRun:
    """What came of one run of a DAG."""

    state: str
    tasks: dict[str, set[str]]
    xcoms: dict[tuple[str, str], list[Any]]
    rendered: dict[str, dict[str, Any]]
    log: str

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        """Return the one value under a key of a task that is not mapped."""
        (value,) = self.xcoms[task_id, key]
        return value


def environ(fake: FakeSops, home: Path, dags: Path) -> dict[str, str]:
    """Return the environment of an Airflow whose connection ``sops_default`` leads to a fake."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return own | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_SOPS_DEFAULT": json.dumps(fake.connection()),
        **PLAIN_OUTPUT,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def run_dags(
    fake: FakeSops, home: Path, dags: Path, confs: dict[Path, dict[str, Any]]
) -> dict[Path, dict[str, DagRun]]:
    """Run all DAGs of these files, and give by file and DAG id what came of them.

    :param home: Airflow's home for them, made anew.
    :param dags: the folder of the files.
    :param confs: what each file's DAGs are triggered with.
    """
    home.mkdir(parents=True, exist_ok=True)
    jobs, results = home / "jobs.json", home / "results.json"
    jobs.write_text(json.dumps([{"file": str(file), "conf": conf} for file, conf in confs.items()]))
    done = subprocess.run(
        [sys.executable, RUNNER, jobs, results],
        env=environ(fake, home, dags),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    found = {}
    for file, result in json.loads(results.read_text()).items():
        assert "error" not in result, f"{result['error']}\n{Path(file).read_text()}"
        assert result["dags"], f"{file} has no DAG"
        found[Path(file)] = {dag_id: _dag_run(run, done.stdout) for dag_id, run in result["dags"].items()}
    return found


def _dag_run(run: dict[str, Any], log: str) -> DagRun:
    tasks: dict[str, set[str]] = {}
    for task_id, _, state in run["tasks"]:
        tasks.setdefault(task_id, set()).add(state)
    xcoms: dict[tuple[str, str], list[Any]] = {}
    for task_id, _, key, value in run["xcoms"]:
        xcoms.setdefault((task_id, key), []).append(value)
    rendered = {task_id: fields for task_id, _, fields in run["rendered"]}
    return DagRun(run["state"], tasks, xcoms, rendered, plain(log))
