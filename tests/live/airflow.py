# SPDX-License-Identifier: Apache-2.0
"""A real ``airflow standalone`` with a home and ports of its own, and Airflow's REST API."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import requests

from tests.live.processes import Found, Process, family, free_ports, kill, wait_until

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent


class Api:
    """Airflow's REST API, as an admin of a site where everybody is one."""

    def __init__(self, url: str) -> None:
        self.url = url
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

        :param path: below ``/api/v2``.
        :raises AssertionError: with what Airflow said, unless it did what was asked.
        """
        answer = self.session.request(method, f"{self.url}/api/v2/{path}", json=body, params=query, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a DAG.

        :return: the run's id.
        """
        wait_until(f"DAG {dag_id} is known", lambda: self._knows(dag_id), seconds=120)
        self.ask("PATCH", f"dags/{dag_id}", {"is_paused": False})
        run = self.ask("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": dict(conf or {})})
        return str(run["dag_run_id"])

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
        value = self.ask("GET", path, map_index=map_index, deserialize=True)["value"]
        return json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """The log of a task's try, line by line."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.ask("GET", path, map_index=map_index, full_content=True)["content"]
        return "\n".join(json.dumps(line, ensure_ascii=False) for line in content)


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
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__API__WORKERS": "1",
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
    :param settings: more variables of its environment.
    """

    def __init__(self, home: Path, dags: Path, **settings: str) -> None:
        self.home = home
        (self.port,) = free_ports(1)
        self.env = airflow_environ(home, self.port, AIRFLOW__CORE__DAGS_FOLDER=str(dags), **settings)
        self.api = Api(f"http://127.0.0.1:{self.port}")
        self._started: list[Process] = []

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
        if not self.api.login():
            return False
        health = self.api.ask("GET", "monitor/health")
        return all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor"))

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
