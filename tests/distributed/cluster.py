# SPDX-License-Identifier: Apache-2.0
"""An Airflow of several processes as on several machines: PostgreSQL, Redis, Celery; two of all that may be two."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
from pathlib import Path

from tests.live.airflow import BIN, Api, airflow_environ
from tests.live.postgres import Postgres
from tests.live.processes import Process, free_ports, wait_until

#: parts of Airflow with the number of processes of each
PARTS = {"api-server": 1, "dag-processor": 1, "scheduler": 2, "triggerer": 2, "celery worker": 2}
#: tasks that a worker runs at once
CONCURRENCY = 4


class Cluster:
    """The processes, as a context manager.

    :param home: an empty folder.
    :param settings: more variables of Airflow's environment.
    """

    def __init__(self, home: Path, dags: Path, **settings: str) -> None:
        self.home = home
        self._postgres = Postgres(home / "postgres.out")
        self._redis_port, api_port = free_ports(2)
        database = self._postgres.address
        self.env = airflow_environ(
            home,
            api_port,
            AIRFLOW__API_AUTH__JWT_SECRET=secrets.token_hex(32),
            AIRFLOW__API__SECRET_KEY=secrets.token_hex(16),
            AIRFLOW__CELERY__BROKER_URL=f"redis://127.0.0.1:{self._redis_port}/0",
            # Celery's own results in a database lose a race against themselves now and then, which fails a task
            AIRFLOW__CELERY__RESULT_BACKEND=f"redis://127.0.0.1:{self._redis_port}/1",
            AIRFLOW__CELERY__WORKER_CONCURRENCY=str(CONCURRENCY),
            AIRFLOW__CORE__DAGS_FOLDER=str(dags),
            AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
            AIRFLOW__CORE__FERNET_KEY=base64.urlsafe_b64encode(os.urandom(32)).decode(),
            AIRFLOW__CORE__PARALLELISM="16",
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"postgresql+psycopg2://{database}",
            # what a killed worker had taken is given up and tried again
            AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT="90",
            AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT="180",
            AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL="20",
            C_FORCE_ROOT="true",
            **settings,
        )
        self.api = Api(f"http://127.0.0.1:{api_port}")
        self._services: list[Process] = []
        self.parts: dict[str, Process] = {}

    def __enter__(self) -> Cluster:
        try:
            self._postgres.__enter__()
            self._start_redis()
            subprocess.run(
                [BIN / "airflow", "db", "migrate"], env=self.env, cwd=self.home, check=True, capture_output=True
            )
            for part, count in PARTS.items():
                for number in range(1, count + 1):
                    self.start(part, number)
            wait_until("the cluster is up", self._is_up, seconds=600)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.parts.values():
            process.terminate()
        for process in self.parts.values():
            process.stop()
        for service in self._services:  # what they hold is thrown away
            service.kill()
        self._postgres.__exit__()

    def _start_redis(self) -> None:
        options = ["--bind", "127.0.0.1", "--port", str(self._redis_port), "--save", "", "--appendonly", "no"]
        redis = self._service("redis", ["redis-server", *options])
        wait_until("Redis is up", lambda: "Ready to accept" in redis.log.read_text(), seconds=60)

    def _service(self, name: str, command: list[str | Path]) -> Process:
        process = Process(command, env={"PATH": os.defpath}, log=self.home / f"{name}.out", cwd=self.home)
        self._services.append(process)
        return process

    def start(self, part: str, number: int) -> None:
        """Start one process of a part; anew when it was killed."""
        name = f"{part.replace(' ', '-')}-{number}"
        log_port = str(free_ports(1)[0])
        env = self.env | {
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": log_port,
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": log_port,
        }
        command: list[str | Path] = [BIN / "airflow", *part.split()]
        if part == "celery worker":
            command += ["--celery-hostname", f"{name}@%h", "--pid", self.home / f"{name}-{log_port}.pid"]
        self.parts[name] = Process(command, env=env, log=self.home / f"{name}.out", cwd=self.home)

    def kill(self, name: str) -> None:
        """``kill -9`` one process of a part with all that it has started."""
        self.parts[name].kill()

    def _is_up(self) -> bool:
        for process in [*self._services, *self.parts.values()]:
            assert process.running, f"{' '.join(process.command)}\n{process.tail()}"
        assert self._postgres.running
        return self.api.is_up() and all(
            " ready." in self.parts[f"celery-worker-{number}"].log.read_text() for number in (1, 2)
        )
