# SPDX-License-Identifier: Apache-2.0
"""Run DAGs with ``dag.test()``, one after the other, and write what came of them: ``run_dags.py JOBS RESULTS``.

A process of its own, since a real run changes Airflow's settings for the rest of the process it runs in; one for many
DAGs, since Airflow takes longer to start than to run them. JOBS is a JSON list of ``{"file": path, "conf": {…}}``,
RESULTS a JSON object with, for each file, each DAG's state, its tasks' states, XComs and rendered fields.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import traceback
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

from airflow import __version__, settings
from airflow.configuration import AIRFLOW_HOME
from airflow.utils.db import initdb

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # before Airflow 3.2
    from airflow.models.dagbag import DagBag  # type: ignore[no-redef]

#: Airflow 3.4 keeps XComs and rendered fields by the id of a try, each a row of its own: the present ones, as before it
OF_AIRFLOW_3_4 = """
create temp view task_instance as
    select *, region_index as map_index from main.task_instance where working_set;
create temp view xcom as
    select dag_id, task_id, map_index, key, value from xcom_v2 join task_instance ti on ti.id = task_instance_id;
create temp view rendered_task_instance_fields as
    select dag_id, task_id, map_index, rendered_fields from rtif_v2 join task_instance ti on ti.id = task_instance_id;
"""


def run(file: Path, conf: dict[str, Any]) -> dict[str, Any]:
    """Run all DAGs of a file."""
    bag = DagBag(dag_folder=str(file))
    if bag.import_errors:
        return {"error": str(bag.import_errors)}
    if __version__.startswith("3.0."):
        make_outlets_known(bag)
    results = {}
    for dag_id, dag in bag.dags.items():
        try:
            state = str(dag.test(run_conf=conf).state)
        except Exception:
            state = traceback.format_exc()
        results[dag_id] = {"state": state, **read_database(dag_id)}
    return {"dags": results}


def make_outlets_known(bag: DagBag) -> None:
    """Do what ``dag.test()`` of Airflow 3.0 leaves out: a task fails whose outlet's asset is not known."""
    from airflow.models.asset import AssetActive, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    outlets = {outlet.name: outlet for dag in bag.dags.values() for task in dag.tasks for outlet in task.outlets}
    with create_session() as session:
        known = set(session.scalars(select(AssetModel.name)))
        for name in outlets.keys() - known:
            session.add(model := AssetModel.from_public(outlets[name]))
            session.flush()
            session.add(AssetActive.for_asset(model))


def read_database(dag_id: str) -> dict[str, Any]:
    """Read a DAG's tasks' states, XComs and rendered fields, in the order of the tasks' ends."""
    with closing(sqlite3.connect(Path(AIRFLOW_HOME, "airflow.db"))) as db:
        if any(row[1] == "region_index" for row in db.execute("pragma table_info(task_instance)")):
            db.executescript(OF_AIRFLOW_3_4)
        tasks = db.execute("select task_id, map_index, state from task_instance where dag_id = ?", [dag_id])
        states = [[task_id, map_index, state] for task_id, map_index, state in tasks]
        rows = db.execute("select task_id, map_index, key, value from xcom where dag_id = ?", [dag_id])
        xcoms = [[task_id, map_index, key, _json(value)] for task_id, map_index, key, value in rows]
        rows = db.execute(
            "select task_id, map_index, rendered_fields from rendered_task_instance_fields where dag_id = ?", [dag_id]
        )
        rendered = [[task_id, map_index, json.loads(fields)] for task_id, map_index, fields in rows]
    return {"tasks": states, "xcoms": xcoms, "rendered": rendered}


def _json(value: Any) -> Any:
    # SQLite gives a JSON number back as a number
    return json.loads(value) if isinstance(value, str | bytes) else value


def main() -> None:
    """Run the jobs."""
    jobs = json.loads(Path(sys.argv[1]).read_text())
    settings.initialize()  # type: ignore[no-untyped-call]
    initdb()
    # after Airflow's own filters, so that they do not hide these
    stems = "|".join(Path(job["file"]).stem for job in jobs)
    warnings.filterwarnings("error", module=f"airflow_provider_sops|.*({stems})")
    results = {job["file"]: run(Path(job["file"]), job["conf"]) for job in jobs}
    Path(sys.argv[2]).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
