# SPDX-License-Identifier: Apache-2.0
"""A real ``airflow standalone`` with a home and ports of its own, its REST API and its database."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests
import sqlalchemy

from airflow_provider_sops.compat import HAS_LOOPS
from tests.live.processes import Found, Process, family, free_ports, kill, wait_until

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])


class Api:
    """The REST API of Airflow 3, as an admin of a site where everybody is one."""

    prefix = "api/v2"
    health = "monitor/health"
    parts: tuple[str, ...] = ("scheduler", "triggerer", "dag_processor")
    new_run: Mapping[str, Any] = {"logical_date": None}
    #: without it, Airflow 2 only says what it would do
    really: Mapping[str, Any] = {}

    def __init__(self, url: str, home: Path | None = None) -> None:
        self.url = url
        self.home = home
        self.session = requests.Session()
        self.session.trust_env = False

    def login(self) -> bool:
        """Take a token; false while nobody answers."""
        try:
            answer = self.session.get(f"{self.url}/auth/token", timeout=10)
        except requests.RequestException:
            return False
        if answer.ok:
            self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return answer.ok

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Call the API.

        :param path: below ``/api/v2``, on Airflow 2 below ``/api/v1``.
        :raises AssertionError: with what Airflow said, unless it did what was asked.
        """
        answer = self.session.request(method, f"{self.url}/{self.prefix}/{path}", json=body, params=query, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a DAG.

        :return: the run's id.
        """
        wait_until(f"DAG {dag_id} is known", lambda: self._knows(dag_id), seconds=120)
        self.ask("PATCH", f"dags/{dag_id}", {"is_paused": False})
        run = self.ask("POST", f"dags/{dag_id}/dagRuns", {**self.new_run, "conf": dict(conf or {})})
        return str(run["dag_run_id"])

    def is_up(self) -> bool:
        """Whether all parts of Airflow are well."""
        if not self.login():
            return False
        health = self.ask("GET", self.health)
        return all(health[part]["status"] == "healthy" for part in self.parts)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """A user marks a task as failed, success or skipped."""
        body = {"new_state": state, **self.really}
        self.ask("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", body)

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """A user marks a whole run, and with it all that has not ended."""
        self.ask("PATCH", f"dags/{dag_id}/dagRuns/{run_id}", {"state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """A user clears a task."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False}
        self.ask("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def _knows(self, dag_id: str) -> bool:
        broken = self.ask("GET", "importErrors")["import_errors"]
        assert not broken, broken
        return any(dag["dag_id"] == dag_id for dag in self.ask("GET", "dags", limit=100)["dags"])

    def instances(self, dag_id: str, run_id: str, task_id: str | None = None) -> list[dict[str, Any]]:
        """The task instances of a run, mapped ones one by one, or those of one task."""
        found: list[dict[str, Any]] = []
        while True:
            path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances"
            page = self.ask("GET", path, limit=100, offset=len(found), order_by="map_index")
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return [one for one in found if task_id in (None, one["task_id"])]

    def states(self, dag_id: str, run_id: str, task_id: str | None = None) -> dict[str, int]:
        """How many task instances are in which state."""
        counts: dict[str, int] = {}
        for one in self.instances(dag_id, run_id, task_id):
            counts[str(one["state"])] = counts.get(str(one["state"]), 0) + 1
        return counts

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The state of a DAG run."""
        return str(self.ask("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait_for_run(self, dag_id: str, run_id: str, *, seconds: float) -> str:
        """Wait until a DAG run has ended.

        :return: its state.
        """

        def ended() -> str:
            state = self.run_state(dag_id, run_id)
            return state if state in ("success", "failed") else ""

        return wait_until(f"{dag_id} ends", ended, seconds=seconds, every=2.0)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """The value of an XCom."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self._value(self.ask("GET", path, map_index=map_index, deserialize=True)["value"])

    def _value(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """The log of a task's try, line by line."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.ask("GET", path, map_index=map_index, full_content=True)["content"]
        return (
            content if isinstance(content, str) else "\n".join(json.dumps(one, ensure_ascii=False) for one in content)
        )


class Api2(Api):
    """The REST API of Airflow 2, as the admin whom ``airflow standalone`` makes."""

    prefix = "api/v1"
    health = "health"
    parts = ("scheduler", "triggerer")
    new_run: Mapping[str, Any] = {}
    really: Mapping[str, Any] = {"dry_run": False}

    def login(self) -> bool:
        """Take the admin's password; false while nobody answers."""
        assert self.home is not None
        password = self.home / "standalone_admin_password.txt"
        if not password.exists():
            return False
        self.session.auth = ("admin", password.read_text().strip())
        self.session.headers["Accept"] = "application/json"
        try:
            return self.session.get(f"{self.url}/{self.prefix}/dags", timeout=10).ok
        except requests.RequestException:
            return False

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Call the API, which calls some of its parameters otherwise."""
        if query.pop("deserialize", None) is not None:
            query["stringify"] = "false"
        if path.endswith("/taskInstances"):
            query.pop("order_by", None)  # all that it has without being asked
        return super().ask(method, path, body, **query)

    def _value(self, value: Any) -> Any:
        try:
            return ast.literal_eval(value) if isinstance(value, str) else value
        except (ValueError, SyntaxError):
            return value


#: What Airflow 2 calls otherwise.
_AIRFLOW_2 = {
    "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.basic_auth",
    "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "10",
    "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
    "AIRFLOW__WEBSERVER__WORKERS": "1",
}


def airflow_environ(home: Path, port: int, **settings: str) -> dict[str, str]:
    """The environment of an Airflow that knows nothing of the person's own.

    :param port: of the API server; two more free ones are taken for the logs of workers and triggerer.
    :param settings: more variables.
    """
    own = {name: value for name, value in os.environ.items() if not name.upper().startswith(("AIRFLOW", "_AIRFLOW"))}
    worker_logs, trigger_logs = free_ports(2)
    return (
        own
        | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__ENABLE_XCOM_DESERIALIZE_SUPPORT": "True",  # Airflow 3.0 gives no values without it
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__API__WORKERS": "1",
            **(_AIRFLOW_2 | {"AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port)} if AIRFLOW < (3, 0) else {}),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # a busy machine is slow, not broken
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        | settings
    )


class Standalone:
    """``airflow standalone``, as a context manager.

    :param home: an empty folder.
    :param database: address of its database for SQLAlchemy; by default a file of SQLite in its home.
    :param settings: more variables of its environment.
    """

    def __init__(self, home: Path, dags: Path, *, database: str = "", **settings: str) -> None:
        self.home = home
        (self.port,) = free_ports(1)
        if database:
            settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = database
            settings["AIRFLOW__CORE__EXECUTOR"] = "LocalExecutor"
            # One process of the API server, not four: it gets the connections of four. With fewer, that of Airflow 3.0
            # stands still for minutes when all workers ask at once.
            settings["AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW"] = "55"
        self.env = airflow_environ(home, self.port, AIRFLOW__CORE__DAGS_FOLDER=str(dags), **settings)
        self.api = (Api2 if AIRFLOW < (3, 0) else Api)(f"http://127.0.0.1:{self.port}", home)
        self._engine = sqlalchemy.create_engine(database or f"sqlite:///{home}/airflow.db")
        self._started: list[Process] = []

    def sql(self, text: str, **values: Any) -> list[tuple[Any, ...]]:
        """Read from Airflow's database, which is quicker than its API and the same in all versions."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sqlalchemy.text(text), values)]

    def states(self, dag_id: str, run_id: str, task_id: str) -> dict[str, int]:
        """How many instances of a task are in which state."""
        words = ["SELECT state, count(*) FROM task_instance WHERE dag_id = :dag AND run_id = :run AND task_id = :task"]
        if HAS_LOOPS:  # Airflow 3.4 keeps earlier tries there too
            words.append("AND working_set")
        rows = self.sql(" ".join([*words, "GROUP BY state"]), dag=dag_id, run=run_id, task=task_id)
        return {str(state): count for state, count in rows}

    def __enter__(self) -> Standalone:
        try:
            main = self.start("standalone")
            wait_until("airflow standalone is up", lambda: self._is_up(main), seconds=400)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.terminate()
        for process in self._started:
            process.stop()

    def _is_up(self, main: Process) -> bool:
        assert main.running, main.tail()
        return self.api.is_up()

    def start(self, *command: str) -> Process:
        """Start one more command of Airflow; it is stopped with the rest."""
        log = self.home / f"{command[0]}-{len(self._started)}.out"
        process = Process([BIN / "airflow", *command], env=self.env, log=log, cwd=self.home)
        self._started.append(process)
        return process

    def members(self, *words: str) -> list[Found]:
        """Its processes, or those of one command (``triggerer``) with all that they have started."""
        everyone = [member for process in self._started for member in process.members()]
        if not words:
            return everyone
        heads = [one for one in everyone if " ".join(("airflow", *words)) in one.command]
        return list({one.pid: one for head in heads for one in family(head.pid, everyone)}.values())

    def kill(self, *words: str) -> None:
        """``kill -9`` all processes of one command."""
        members = self.members(*words)
        assert members, f"no process of airflow {' '.join(words)} in {[one.command for one in self.members()]}"
        kill(members)

    def written(self) -> Iterable[Path]:
        """The files that Airflow has written: logs and database."""
        return sorted(path for path in self.home.rglob("*") if path.is_file())
