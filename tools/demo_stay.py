# SPDX-License-Identifier: Apache-2.0
"""What the demo leaves running with ``--stay``: an Airflow on the demo's own database, until it is stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import IO
from urllib.parse import quote

#: Seconds in which Airflow comes up, on a slow machine.
_TIME_LIMIT = 400.0
#: Seconds in which it stops by itself.
_STOP_LIMIT = 20.0


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def airflow_stays(environ: Mapping[str, str], log: IO[str], dag_id: str) -> Iterator[str]:
    """Run ``airflow standalone``, for everybody on this machine and nobody else.

    :param environ: of the demo's Airflow.
    :return: the address of its web page, when it knows the DAG.
    :raises TimeoutError: it does not come up.
    """
    port, worker_logs, trigger_logs = _free_ports(3)
    url = f"http://127.0.0.1:{port}"
    settings = {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
    }
    command = [sys.executable, "-m", "airflow", "standalone"]
    # a session of its own, so that all that it starts can be stopped
    process = subprocess.Popen(command, env={**environ, **settings}, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_up(process, url, dag_id)
        yield url
    finally:
        _stop(process)


def _wait_until_up(process: subprocess.Popen[bytes], url: str, dag_id: str) -> None:
    deadline = time.monotonic() + _TIME_LIMIT
    while not _knows(url, dag_id):
        if process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError("`airflow standalone` did not come up")
        time.sleep(0.5)


def _knows(url: str, dag_id: str) -> bool:
    try:
        token = json.loads(_get(f"{url}/auth/token"))["access_token"]
        _get(f"{url}/api/v2/dags/{dag_id}", Authorization=f"Bearer {token}")
    except (OSError, ValueError):
        return False
    return True


def _get(url: str, **headers: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers=headers), timeout=10) as answer:  # noqa: S310 (our own address)
        body: bytes = answer.read()
        return body


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + _STOP_LIMIT
        while _is_alive(process) and time.monotonic() < deadline:
            time.sleep(0.1)


def _is_alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def tab_address(url: str, dag_id: str, run_id: str, task_id: str) -> str:
    """Return the address of the tab "SOPS" of a task instance."""
    return f"{url}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}/tasks/{quote(task_id)}/plugin/sops"
