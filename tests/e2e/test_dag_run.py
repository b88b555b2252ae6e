# SPDX-License-Identifier: Apache-2.0
"""The main job in a real run of a DAG: wait for a SOPS task, push its outputs, use them; and a deferral."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from airflow_provider_sops.testing import FakeSops

HERE = Path(__file__).parent


def test_a_dag_waits_and_uses_the_outputs(tmp_path: Path) -> None:
    with FakeSops(caches=False) as fake:
        task_id = fake.create_task("Two steps with outputs")
        environ = {
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_SOPS_DEFAULT": json.dumps(fake.connection()),
        }
        result_file = tmp_path / "result.json"
        command = [sys.executable, HERE / "run_dag.py", HERE / "dags" / "wait_and_use.py"]
        done = subprocess.run(
            [*command, json.dumps({"sops_task_id": task_id}), result_file],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout
    result = json.loads(result_file.read_text())
    assert result["tasks"] == {"wait": "success", "outputs": "success", "use": "success"}, done.stdout
    assert result["state"] == "success"
    assert result["returned"]["wait"]["state"] == "FINISHED"
    assert result["returned"]["outputs"] == {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}
    assert result["returned"]["use"] == {
        "text": "ping 127.0.0.1; exit 0",
        "pulled": {"IP": "127.0.0.1", "${IP}": "127.0.0.1", "EXIT": "0", "${EXIT}": "0"},
    }
