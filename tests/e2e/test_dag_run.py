# SPDX-License-Identifier: Apache-2.0
"""The main job in a real run of a DAG: wait for a SOPS task (deferred, and poked), push its outputs, use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from airflow_provider_sops.testing import FakeSops

HERE = Path(__file__).parent


def test_a_dag_waits_and_uses_the_outputs(tmp_path: Path) -> None:
    result_file, log_file = tmp_path / "result.json", tmp_path / "log.txt"
    with FakeSops(caches=False) as fake, log_file.open("w") as log:
        task_id = fake.create_task("Long sleep")
        environ = {
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_SOPS_DEFAULT": json.dumps(fake.connection()),
        }
        conf = json.dumps({"sops_task_id": task_id})
        command: list[str | Path] = [
            sys.executable, HERE / "run_dag.py", HERE / "dags" / "wait_and_use.py", conf, result_file,
        ]  # fmt: skip
        run = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT)
        try:
            # only a trigger asks for many tasks at once; when it has, the task may end
            deadline = time.monotonic() + 120
            while not fake.count("get_tasks_status") and run.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            deferred = fake.count("get_tasks_status") > 0
            fake.advance(3600)
            run.wait(120)
        finally:
            run.kill()
            run.wait()
    said = log_file.read_text()
    assert run.returncode == 0, said
    assert deferred, said
    result = json.loads(result_file.read_text())
    succeeded = dict.fromkeys(("defer", "poke", "outputs", "use"), "success")
    assert (result["state"], result["tasks"]) == ("success", succeeded), said
    assert result["returned"]["defer"]["state"] == "FINISHED"
    assert result["returned"]["defer"] == result["returned"]["poke"]
    assert result["returned"]["outputs"] == {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}
    assert result["returned"]["defer"]["outputs"] == result["returned"]["outputs"]
    assert result["returned"]["use"] == {
        "text": "ping 127.0.0.1; exit 0",
        "pulled": {
            task_id: {"IP": "127.0.0.1", "${IP}": "127.0.0.1", "EXIT": "0", "${EXIT}": "0"}
            for task_id in ("defer", "poke", "outputs")
        },
    }
