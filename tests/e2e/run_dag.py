# SPDX-License-Identifier: Apache-2.0
"""Run a DAG file with `dag.test()` and write what came of it: `run_dag.py DAG_FILE CONF_JSON RESULT_FILE`.

A process of its own, since a real run changes Airflow's settings for the rest of the process it runs in.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path

from airflow import settings
from airflow.utils.db import initdb


def main() -> None:
    """Run the DAG once and write its state, its tasks' states and what they returned."""
    dag_file, conf, result_file = Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
    settings.initialize()  # type: ignore[no-untyped-call]
    initdb()
    # after Airflow's own filters, so that they do not hide these
    warnings.filterwarnings("error", module=f"airflow_provider_sops|{dag_file.stem}")
    sys.path.insert(0, str(dag_file.parent))
    dag = importlib.import_module(dag_file.stem).dag
    run = dag.test(run_conf=conf)
    instances = {instance.task_id: instance for instance in run.get_task_instances()}
    result = {
        "state": str(run.state),
        "tasks": {task_id: str(instance.state) for task_id, instance in instances.items()},
        "returned": {task_id: instance.xcom_pull(task_id) for task_id, instance in instances.items()},
    }
    result_file.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
