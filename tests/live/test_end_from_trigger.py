# SPDX-License-Identifier: Apache-2.0
"""Deferred waits that their trigger ends: what later tasks get, the page, a clear, and ``kill -9`` at each moment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.compat import TRIGGERS_PUSH_XCOMS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.processes import kill, wait_until
from tests.live.test_waits import OUTPUTS, PATIENCE

pytestmark = pytest.mark.skipif(not TRIGGERS_PUSH_XCOMS, reason="triggers of this Airflow push no XComs")

DAG_ID = "ended"
TWINS = OUTPUTS | {f"${{{name}}}": value for name, value in OUTPUTS.items()}
#: How often a moment between two pushes, which take milliseconds, may be missed.
ATTEMPTS = 5


class EndedRun:
    """A run whose sensor and operator are deferred, to be ended by their triggers."""

    def __init__(self, site: Standalone, fake: FakeSopsClient) -> None:
        self.site, self.fake = site, fake
        self.waited_for = fake.create_task("Long sleep", constants={"seconds": "36000"})
        self.run_id = site.api.trigger(DAG_ID, {"sops_task_id": self.waited_for})
        for task_id in ("wait", "run"):
            wait_until(f"{task_id} is deferred", lambda: self.states(task_id) == {"deferred": 1}, seconds=PATIENCE)  # noqa: B023
        before = fake.count("get_tasks_status")
        wait_until("the triggerer reads", lambda: fake.count("get_tasks_status") >= before + 2, seconds=120)

    def states(self, task_id: str) -> dict[str, int]:
        return self.site.states(DAG_ID, self.run_id, task_id)

    def keys(self, task_id: str) -> set[str]:
        """The keys of a task's XComs, by Airflow's database."""
        rows = self.site.sql(
            "SELECT key FROM xcom WHERE dag_id = :dag AND run_id = :run AND task_id = :task",
            dag=DAG_ID,
            run=self.run_id,
            task=task_id,
        )
        return {row[0] for row in rows}

    def logs(self, task_id: str, *, of_triggers: bool) -> str:
        """What workers, or triggerers, have written for a task."""
        paths: list[Path] = [
            path
            for path in self.site.written()
            if f"run_id={self.run_id}" in str(path)
            and f"task_id={task_id}" in str(path)
            and (".trigger." in path.name) is of_triggers
        ]
        return "\n".join(path.read_text(errors="replace") for path in paths)

    def check(self) -> None:
        """All has ended well, all XComs are there once, and later tasks have used them."""
        api = self.site.api
        assert api.wait_for_run(DAG_ID, self.run_id, seconds=PATIENCE) == "success"
        for task_id in ("wait", "run"):
            (instance,) = api.instances(DAG_ID, self.run_id, task_id)
            assert (instance["state"], instance["try_number"]) == ("success", 1)
            assert instance["end_date"]
            for key, value in TWINS.items():
                # Airflow's API reads the text "0" as a number, whoever has pushed it
                assert str(api.xcom(DAG_ID, self.run_id, task_id, key)) == value
            url = api.xcom(DAG_ID, self.run_id, task_id, "sops_task_url")
            assert url.startswith(self.fake.url)
            links = api.ask("GET", f"dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{task_id}/links")
            assert url in str(links)
        assert len(self.keys("wait")) == len(TWINS) + len({"sops_task_url", "return_value", "the link's"})
        result = api.xcom(DAG_ID, self.run_id, "wait")
        assert (result["sops_task_id"], result["state"], result["outputs"]) == (self.waited_for, "FINISHED", OUTPUTS)
        assert api.xcom(DAG_ID, self.run_id, "run") == OUTPUTS
        assert api.xcom(DAG_ID, self.run_id, "use") == ["127.0.0.1", "127.0.0.1", OUTPUTS]
        mapped: list[Any] = [api.xcom(DAG_ID, self.run_id, "each", map_index=index) for index in range(len(OUTPUTS))]
        assert sorted(mapped) == sorted([name, value] for name, value in OUTPUTS.items())
        assert len(api.instances(DAG_ID, self.run_id, "each")) == len(OUTPUTS)


def test_their_outputs_links_and_lengths_are_there_and_no_worker_ends_them(
    site: Standalone, fake: FakeSopsClient
) -> None:
    run = EndedRun(site, fake)
    fake.advance(36000)
    run.check()
    for task_id in ("wait", "run"):
        assert "is FINISHED" in run.logs(task_id, of_triggers=True)
        assert "is FINISHED" not in run.logs(task_id, of_triggers=False)


@pytest.mark.parametrize("moment", ["before the first push", "between two pushes", "before the event"])
def test_a_triggerer_that_is_killed_loses_nothing(site: Standalone, fake: FakeSopsClient, moment: str) -> None:
    for _ in range(ATTEMPTS):
        run = EndedRun(site, fake)
        before, details = len(run.keys("wait")), fake.count("get_task_detail")
        members = site.members("triggerer")
        fake.advance(36000)
        deadline = time.monotonic() + 120

        def is_now() -> bool:
            if moment == "before the first push":
                return fake.count("get_task_detail") > details  # noqa: B023
            keys = run.keys("wait")  # noqa: B023
            return "return_value" in keys if moment == "before the event" else len(keys) > before  # noqa: B023

        while not is_now():
            assert time.monotonic() < deadline, f"it did not come to {moment!r}"
            time.sleep(0.002)
        kill(members)
        hit = run.states("wait") == {"deferred": 1}
        left = run.keys("wait")
        site.start("triggerer", "--skip-serve-logs")
        wait_until("a triggerer is up", lambda: site.api.is_up(), seconds=240)
        run.check()
        if moment == "between two pushes":
            hit = hit and "return_value" not in left
        if hit:
            return
    pytest.fail(f"the moment was missed {ATTEMPTS} times")


def test_a_bad_end_is_retried(site: Standalone, fake: FakeSopsClient) -> None:
    run_id = site.api.trigger("ended_badly")
    assert site.api.wait_for_run("ended_badly", run_id, seconds=PATIENCE) == "failed"
    (instance,) = site.api.instances("ended_badly", run_id, "run")
    assert instance["try_number"] == 2
    assert "SopsTaskFailedException" in site.api.log("ended_badly", run_id, "run", 2)


def test_marked_failed_while_it_waits_it_stays_so(site: Standalone, fake: FakeSopsClient) -> None:
    run = EndedRun(site, fake)
    site.api.mark(DAG_ID, run.run_id, "wait", "failed")
    fake.advance(36000)
    assert site.api.wait_for_run(DAG_ID, run.run_id, seconds=PATIENCE) == "failed"
    assert run.states("wait") == {"failed": 1}
    assert "return_value" not in run.keys("wait")


def test_a_clear_after_the_end_runs_and_waits_again(site: Standalone, fake: FakeSopsClient) -> None:
    run = EndedRun(site, fake)
    fake.advance(36000)
    run.check()
    first = site.api.xcom(DAG_ID, run.run_id, "run", "sops_task_id")
    for task_id in ("wait", "run"):
        site.api.clear(DAG_ID, run.run_id, task_id)
    wait_until("it runs again", lambda: run.states("run") == {"deferred": 1}, seconds=PATIENCE)
    second = site.api.xcom(DAG_ID, run.run_id, "run", "sops_task_id")
    assert second != first
    assert "return_value" not in run.keys("run")
    fake.advance(36000)
    assert site.api.wait_for_run(DAG_ID, run.run_id, seconds=PATIENCE) == "success"
    assert fake.task(second).state == "FINISHED"
    assert site.api.xcom(DAG_ID, run.run_id, "run") == OUTPUTS


def test_a_hundred_that_end_within_a_second(site: Standalone, fake: FakeSopsClient) -> None:
    ids = [fake.create_task("Long sleep", constants={"seconds": "36000"}) for _ in range(100)]
    run_id = site.api.trigger("ended_many", {"waits": [{"sops_task_id": one} for one in ids]})
    wait_until(
        "all are deferred",
        lambda: site.states("ended_many", run_id, "wait") == {"deferred": len(ids)},
        seconds=PATIENCE,
    )
    fake.advance(36000)
    assert site.api.wait_for_run("ended_many", run_id, seconds=PATIENCE) == "success"
    results = [site.api.xcom("ended_many", run_id, "wait", map_index=index) for index in range(len(ids))]
    assert [(result["sops_task_id"], result["outputs"]) for result in results] == [(one, OUTPUTS) for one in ids]
    tries = site.sql(
        "SELECT DISTINCT try_number FROM task_instance WHERE run_id = :run AND task_id = 'wait'", run=run_id
    )
    assert tries == [(1,)]
