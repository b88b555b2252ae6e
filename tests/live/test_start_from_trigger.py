# SPDX-License-Identifier: Apache-2.0
"""Waits that Airflow's scheduler hands to the triggerer, and what an Airflow does that cannot."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sops.compat import TRIGGERS_START_TASKS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.ended_run import EndedRun
from tests.live.processes import wait_until
from tests.live.test_waits import OUTPUTS, PATIENCE

starts = pytest.mark.skipif(not TRIGGERS_START_TASKS, reason="this Airflow starts sensors in a worker")
BY_WORKER = "A worker starts this wait, not its trigger: "


@pytest.mark.skipif(TRIGGERS_START_TASKS, reason="this Airflow starts sensors in the triggerer")
def test_an_airflow_that_cannot_starts_it_in_a_worker_and_says_so_once(site: Standalone, fake: FakeSopsClient) -> None:
    run = EndedRun(site, fake, "started")
    fake.advance(36000)
    assert site.api.wait_for_run("started", run.run_id, seconds=PATIENCE) == "success"
    assert run.logs("wait", of_triggers=False).count(f"{BY_WORKER}it needs Airflow 3.3 or newer.") == 1


def test_mapped_ones_are_started_by_a_worker(site: Standalone, fake: FakeSopsClient) -> None:
    ids = [fake.create_task("Two steps with outputs") for _ in range(2)]
    run_id = site.api.trigger("started_mapped", {"waits": ids})
    assert site.api.wait_for_run("started_mapped", run_id, seconds=PATIENCE) == "success"
    results = [site.api.xcom("started_mapped", run_id, "wait", map_index=index) for index in range(2)]
    assert [result["sops_task_id"] for result in results] == ids
    assert BY_WORKER in site.api.log("started_mapped", run_id, "wait", map_index=0)


@starts
def test_no_worker_starts_it_and_its_link_is_there_while_it_waits(site: Standalone, fake: FakeSopsClient) -> None:
    run = EndedRun(site, fake, "started")
    path = f"dags/started/dagRuns/{run.run_id}/taskInstances/wait/links"
    wait_until("the link is there", lambda: fake.url in str(site.api.ask("GET", path)), seconds=PATIENCE)
    assert run.logs("wait", of_triggers=False) == ""
    fake.advance(36000)
    run.check()
    assert run.logs("wait", of_triggers=False) == ""


@starts
def test_the_results_of_tasks_before_are_rendered(site: Standalone, fake: FakeSopsClient) -> None:
    task_id = fake.create_task("Two steps with outputs")
    run_id = site.api.trigger("started_with_results", {"sops_task_id": task_id})
    assert site.api.wait_for_run("started_with_results", run_id, seconds=PATIENCE) == "success"
    for name in ("by_xcom", "by_template"):
        assert site.api.xcom("started_with_results", run_id, name)["sops_task_id"] == task_id


@starts
def test_bad_ends_and_wrong_arguments_end_as_in_a_worker(site: Standalone, fake: FakeSopsClient) -> None:
    running = fake.create_task("Long sleep", constants={"seconds": "36000"})
    conf = {"sops_task_id": fake.create_task("Always fails"), "running": running}
    run_id = site.api.trigger("started_badly", conf)
    assert site.api.wait_for_run("started_badly", run_id, seconds=PATIENCE) == "failed"
    found: dict[str, Any] = {one["task_id"]: one for one in site.api.instances("started_badly", run_id)}
    states = {name: (one["state"], one["try_number"]) for name, one in found.items()}
    failed = {"wrong", "broken", "late"}
    assert states == {"wait": ("failed", 2), "skip": ("skipped", 1), **dict.fromkeys(failed, ("failed", 1))}
    for number in (1, 2):
        assert "SopsTaskFailedException" in site.api.log("started_badly", run_id, "wait", number)
    assert "sops_task_id: must be" in site.api.log("started_badly", run_id, "wrong")
    assert "has not ended within 15 s: it is RUNNING" in site.api.log("started_badly", run_id, "late")


@starts
def test_a_clear_never_shows_what_was_pushed_before(site: Standalone, fake: FakeSopsClient) -> None:
    dag_id = "started_again"
    first = fake.create_task("Long sleep", constants={"seconds": "36000"})
    site.api.ask("POST", "variables", {"key": "waited_for", "value": str(first)})
    run_id = site.api.trigger(dag_id)

    def waits_for(task_id: int) -> bool:
        query = "SELECT value FROM xcom WHERE dag_id = :dag AND run_id = :run AND key = 'sops_task_url'"
        return str(task_id) in str(site.sql(query, dag=dag_id, run=run_id))

    def keys() -> set[str]:
        query = "SELECT key FROM xcom WHERE dag_id = :dag AND run_id = :run"
        return {key for (key,) in site.sql(query, dag=dag_id, run=run_id)}

    wait_until("it waits", lambda: waits_for(first), seconds=PATIENCE)
    fake.advance(36000)
    assert site.api.wait_for_run(dag_id, run_id, seconds=PATIENCE) == "success"
    assert keys() >= {"return_value", *OUTPUTS}
    second = fake.create_task("Long sleep", constants={"seconds": "36000"})
    site.api.ask("PATCH", "variables/waited_for", {"key": "waited_for", "value": str(second)})
    site.api.clear(dag_id, run_id, "wait")
    wait_until("it waits again", lambda: waits_for(second), seconds=PATIENCE)
    assert site.states(dag_id, run_id, "wait") == {"deferred": 1}
    assert not keys() & {"return_value", *OUTPUTS}
    fake.advance(36000)
    assert site.api.wait_for_run(dag_id, run_id, seconds=PATIENCE) == "success"
    assert keys() >= {"return_value", *OUTPUTS}


def test_a_trigger_of_version_1_0_0_still_ends(site: Standalone, fake: FakeSopsClient) -> None:
    task_id = fake.create_task("Long sleep", constants={"seconds": "36000"})
    run_id = site.api.trigger("waits_of_version_1_0_0", {"sops_task_id": task_id})
    dag_id = "waits_of_version_1_0_0"
    wait_until("it waits", lambda: site.states(dag_id, run_id, "wait") == {"deferred": 1}, seconds=PATIENCE)
    fake.advance(36000)
    assert site.api.wait_for_run(dag_id, run_id, seconds=PATIENCE) == "success"
    assert site.api.xcom(dag_id, run_id, "wait") == "success"
