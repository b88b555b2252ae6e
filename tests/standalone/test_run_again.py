# SPDX-License-Identifier: Apache-2.0
"""A SOPS task whose Airflow task is killed, cleared or out of time, in a real Airflow: how many were started."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest

from airflow_provider_sops.compat import CLEARING_RAISES_MAX_TRIES
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.processes import wait_until

OUTPUTS = {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}
PATIENCE = 400.0


class Run:
    """A run of one of the DAGs, and what the fake SOPS has of it."""

    def __init__(self, site: Standalone, fake: FakeSopsClient, dag_id: str) -> None:
        self.site, self.fake, self.dag_id = site, fake, dag_id
        self._before = {task.id for task in fake.tasks}
        self.run_id = site.api.trigger(dag_id)

    def tasks(self) -> list[SimpleNamespace]:
        """The SOPS tasks that it has made."""
        return [task for task in self.fake.tasks if task.id not in self._before]

    def states(self) -> list[str]:
        """The states of those that were started; none was started twice."""
        tasks = [task for task in self.tasks() if task.starts]
        assert all(len(task.starts) == 1 for task in tasks), tasks
        return [task.state for task in tasks]

    def instance(self) -> dict[str, object]:
        """The Airflow task as Airflow knows it."""
        (one,) = self.site.api.instances(self.dag_id, self.run_id)
        return one

    def wait_for(self, state: str, try_number: int, sops: list[str]) -> None:
        """Wait until the Airflow task is in a state, and its SOPS tasks are in theirs."""

        def there() -> bool:
            one = self.instance()
            return one["state"] == state and one["try_number"] == try_number and self.states() == sops

        wait_until(
            f"{self.dag_id} is {state} in try {try_number}, its SOPS tasks {sops}",
            there,
            seconds=PATIENCE,
            every=1.0,
        )

    def clear(self) -> None:
        """A user clears the task."""
        self.site.api.clear(self.dag_id, self.run_id, "run")

    def end_well(self, try_number: int) -> None:
        """Let the SOPS tasks end, and the run with them."""
        self.fake.advance(40000)
        state = self.site.api.wait_for_run(self.dag_id, self.run_id, seconds=PATIENCE)
        assert state == "success", self.log(try_number)
        assert self.site.api.xcom(self.dag_id, self.run_id, "run") == OUTPUTS

    def log(self, try_number: int) -> str:
        return self.site.api.log(self.dag_id, self.run_id, "run", try_number)


def test_a_worker_killed_with_9_goes_on_with_the_same(site: Standalone, fake: FakeSopsClient) -> None:
    run = Run(site, fake, "in_worker")
    run.wait_for("running", 1, ["RUNNING"])
    os.kill(int(str(run.instance()["pid"])), signal.SIGKILL)
    run.wait_for("running", 2, ["RUNNING"])
    run.end_well(2)
    assert run.states() == ["FINISHED"]


def test_a_worker_that_shuts_down_revokes_nothing_and_a_retry_goes_on(site: Standalone, fake: FakeSopsClient) -> None:
    run = Run(site, fake, "in_worker")
    run.wait_for("running", 1, ["RUNNING"])
    os.kill(int(str(run.instance()["pid"])), signal.SIGTERM)
    run.wait_for("running", 2, ["RUNNING"])
    run.end_well(2)
    assert run.states() == ["FINISHED"]
    assert "is left running: this Airflow task was told to stop" in run.log(1)


@pytest.mark.parametrize("dag_id", ["out_of_time", "out_of_time_deferred"])
def test_out_of_time_it_revokes_and_a_retry_runs_a_new_one(site: Standalone, fake: FakeSopsClient, dag_id: str) -> None:
    run = Run(site, fake, dag_id)
    state = "deferred" if dag_id.endswith("deferred") else "running"
    run.wait_for(state, 2, ["REVOKED", "RUNNING"])
    run.end_well(2)
    assert run.states() == ["REVOKED", "FINISHED"]


@pytest.mark.parametrize("dag_id", ["in_worker", "deferred"])
def test_cleared_it_runs_one_new_one(site: Standalone, fake: FakeSopsClient, dag_id: str) -> None:
    state = "deferred" if dag_id == "deferred" else "running"
    run = Run(site, fake, dag_id)
    run.wait_for(state, 1, ["RUNNING"])
    run.clear()
    run.wait_for(state, 2, ["REVOKED", "RUNNING"])
    run.end_well(2)
    assert run.states()[-1] == "FINISHED"
    # a trigger that finds the task scheduled again already leaves it to the next try
    by_the_kill = "This Airflow task was killed: revoked SOPS task" in run.log(1)
    assert by_the_kill or (dag_id == "deferred" and "was cleared; it was revoked" in run.log(2))

    run.clear()  # once more, now that it has ended well
    run.wait_for(state, 3, ["REVOKED", "FINISHED", "RUNNING"])
    run.end_well(3)
    assert len(run.states()) == 3
    if CLEARING_RAISES_MAX_TRIES:
        assert len(run.tasks()) == 3  # none was left that stays CREATED for ever


@pytest.mark.parametrize("dag_id", ["in_worker_reattached", "deferred_reattached"])
def test_reattached_it_runs_none(site: Standalone, fake: FakeSopsClient, dag_id: str) -> None:
    state = "deferred" if dag_id.startswith("deferred") else "running"
    run = Run(site, fake, dag_id)
    run.wait_for(state, 1, ["RUNNING"])
    run.clear()
    run.wait_for(state, 2, ["RUNNING"])
    run.end_well(2)
    run.clear()
    wait_until("it is tried again", lambda: run.instance()["try_number"] == 3, seconds=PATIENCE)
    assert site.api.wait_for_run(dag_id, run.run_id, seconds=PATIENCE) == "success"
    assert site.api.xcom(dag_id, run.run_id, "run") == OUTPUTS
    assert run.states() == ["FINISHED"]
