# SPDX-License-Identifier: Apache-2.0
"""``kill -9`` of the worker, or of the triggerer, before and after each request: the SOPS task is started once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from airflow_provider_sops.testing import FakeSops, Request
from tests.clients import secret_sops

QUICK = Path(__file__).parent / "quick.toml"
OUTPUTS = {"IP": "10.0.0.1", "status_code": 200}
ARGUMENTS = {"template_name": "Quick", "constants": {"IP": "10.0.0.1"}}

Moment = Literal["before", "after"]
Kill = tuple[int, Moment]


class Worker:
    """Runs legs in processes that can be killed; see :mod:`tests.operators.worker`."""

    def __init__(self, fake: FakeSops) -> None:
        self.fake = fake
        self.environ = {"AIRFLOW_CONN_SOPS_DEFAULT": json.dumps(fake.connection())}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.operators.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        self._pid: int | None = None
        self._pid_known = threading.Event()
        self.requests = 0
        self.kill_at: Kill | None = None
        fake.on_request = self._on_request

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _on_request(self, moment: str, request: Request) -> None:
        if moment == "before":
            self.requests += 1
        if (self.requests, moment) == self.kill_at:
            self.kill_at = None
            self._pid_known.wait(30)
            assert self._pid is not None
            os.kill(self._pid, signal.SIGKILL)
            if moment == "before":  # SOPS has not got it
                self.fake.faults.add(request.api, kind="drop")

    def run(self, **job: Any) -> dict[str, Any] | None:
        """Run one leg.

        :return: its result; ``None`` when it was killed.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._pid_known.clear()
        self._process.stdin.write(json.dumps({"environ": self.environ, **job}) + "\n")
        self._process.stdin.flush()
        self._pid = int(self._process.stdout.readline())
        self._pid_known.set()
        result: dict[str, Any] | None = json.loads(self._process.stdout.readline())
        return result


class Site:
    """A fake SOPS, and a worker that runs tries of one Airflow task after the other."""

    def __init__(self, worker: Worker, deferrable: bool) -> None:
        self.fake, self.worker, self.deferrable = worker.fake, worker, deferrable
        self.runs = 1000 * deferrable

    def rerun_task(self, kill_at: Kill | None) -> list[dict[str, Any] | None]:
        """Run a task that fails, a retry that is killed while it runs it anew, and one more retry.

        :return: what came of each try.
        """
        self.runs += 1
        results = [self._leg("execute", 1, template_id=2)]
        self.worker.requests, self.worker.kill_at = 0, kill_at
        results.append(self._leg("execute", 2, template_id=2))
        if kill_at is not None:
            results.append(self._leg("execute", 3, template_id=2))
        return results

    def _leg(self, leg: str, number: int, resume: Any = None, **arguments: Any) -> dict[str, Any] | None:
        return self.worker.run(
            leg=leg,
            resume=resume,
            instance={"run_id": f"run {self.runs}", "try_number": number, "max_tries": 5},
            run_start="2026-11-22T00:00:00+00:00",
            arguments={"deferrable": self.deferrable, "poll_interval": 0.1, **arguments},
        )

    def run_task(self, kill_at: Kill | None) -> tuple[int, Any]:
        """Run a task of a new DAG run to its end, through as many tries as it takes.

        :return: the number of tries, and what it returned.
        """
        self.runs += 1
        self.worker.requests, self.worker.kill_at = 0, kill_at
        tries, result = 0, None
        while result is None:
            tries += 1
            assert tries <= 2, f"killed {kill_at}: the retry did not end well"
            result = self._try(tries)
        return tries, result["returned"]

    def _try(self, number: int) -> dict[str, Any] | None:
        result = self._leg("execute", number, **ARGUMENTS)
        if result is None or "deferred" not in result:
            assert result is None or "returned" in result, result
            return result
        row, method, kwargs = result["deferred"]
        self.fake.advance(10)
        fired = None
        while fired is None:  # a trigger whose triggerer dies is run by another one
            fired = self.worker.run(leg="trigger", row=row)
        result = self._leg("resume", number, [method, {**kwargs, "event": fired["fired"]}], **ARGUMENTS)
        assert result is None or "returned" in result, result
        return result


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One for all tests: each takes a DAG run of its own."""
    with secret_sops(templates=QUICK, start_delay=0) as fake:
        worker = Worker(fake)
        yield worker
        worker.stop()


@pytest.fixture(scope="module", params=[False, True], ids=["in the worker", "deferred"])
def site(worker: Worker, request: pytest.FixtureRequest) -> Site:
    """Waiting in either mode."""
    return Site(worker, request.param)


@pytest.fixture(scope="module")
def requests_of_a_run(site: Site) -> int:
    """How many requests a run makes that nothing disturbs."""
    assert site.run_task(None) == (1, OUTPUTS)
    return site.worker.requests


def test_it_makes_the_requests_that_are_meant(site: Site, requests_of_a_run: int) -> None:
    site.fake.clear_requests()
    site.run_task(None)
    apis = [request.api for request in site.fake.requests]
    start = ["get_task_list", "get_template_list", "get_template_info", "create_task", "get_task_list", "start_task"]
    assert apis[:6] == start
    assert apis[-1] == "get_task_detail"
    assert requests_of_a_run >= 10


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_each_request_it_is_started_once(site: Site, requests_of_a_run: int, moment: Moment) -> None:
    for number in range(1, requests_of_a_run + 1):
        before = {task.id for task in site.fake.tasks}
        tries, outputs = site.run_task((number, moment))
        made = [task for task in site.fake.tasks if task.id not in before]
        started = [task for task in made if task.starts]
        assert len(started) == 1, (number, moment, [(task.name, task.starts) for task in made])
        assert len(started[0].starts) == 1, (number, moment)
        assert outputs == OUTPUTS, (number, moment)
        if site.worker.kill_at is not None:  # a run may poll a little less often than the one that was counted
            assert number > requests_of_a_run - 4, (number, moment)
            continue
        assert tries == 2 or site.deferrable, (number, moment)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_each_request_of_a_rerun_it_is_started_once_more(worker: Worker, moment: Moment) -> None:
    site = Site(worker, deferrable=False)
    site.runs = 5000 if moment == "before" else 6000
    site.rerun_task(None)
    for number in range(1, worker.requests + 1):
        before = {task.id for task in site.fake.tasks}
        first, second, third = site.rerun_task((number, moment))
        assert second is None, (number, moment)
        assert all(one is not None and "has FAILED" in one["failed"] for one in (first, third)), (number, moment)
        made = [task for task in site.fake.tasks if task.id not in before]
        assert all(len(task.starts) <= 1 for task in made), (number, moment)
        alive = [task.state for task in made if task.starts and task.state != "REVOKED"]
        assert alive == ["FAILED"], (number, moment, [(task.name, task.state) for task in made])
        ends = [task.finish_time for task in made if task.state == "REVOKED"]
        starts = [task.starts[0] for task in made if task.starts]
        turns = list(zip(ends, starts[1:], strict=True))
        assert all(end is not None and end <= start for end, start in turns), (number, moment)
