# SPDX-License-Identifier: Apache-2.0
"""Deferred waits and runs in a triggerer of their own: through its death, a bad end, a time limit and thirty kills."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_sops.compat import KILLS_REACH_TRIGGERS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.processes import wait_until

PATIENCE = 400.0
OUTPUTS = {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}


def start_waits(
    site: Standalone, fake: FakeSopsClient, count: int, conn_id: str = "sops_default", *, deferred: bool = True
) -> tuple[str, list[int]]:
    """Start a run that waits for new SOPS tasks.

    :param conn_id: its connection; with ``{}`` each wait has one of its own.
    :param deferred: wait until all waits are in the triggerer.
    :return: the run's id, the SOPS tasks.
    """
    task_ids = [fake.create_task("Long sleep", constants={"seconds": "36000"}) for _ in range(count)]
    waits = [{"sops_task_id": one, "sops_conn_id": conn_id.format(n)} for n, one in enumerate(task_ids)]
    run_id = site.api.trigger("waits", {"waits": waits})
    if deferred:
        wait_until(
            f"{count} waits are deferred", lambda: all_deferred(site, run_id, count), seconds=PATIENCE, every=0.2
        )
    return run_id, task_ids


def all_deferred(site: Standalone, run_id: str, count: int) -> bool:
    states = site.states("waits", run_id, "wait")
    assert not set(states) & {"failed", "upstream_failed", "up_for_retry"}, states
    return states == {"deferred": count}


def end_well(site: Standalone, run_id: str, task_ids: list[int]) -> None:
    """See that a run of waits has ended with its SOPS tasks."""
    assert site.api.wait_for_run("waits", run_id, seconds=PATIENCE) == "success"
    results = [site.api.xcom("waits", run_id, "wait", map_index=index) for index in range(len(task_ids))]
    assert [(result["sops_task_id"], result["state"]) for result in results] == [(one, "FINISHED") for one in task_ids]


def test_all_end_rightly_through_the_death_of_the_triggerer(site: Standalone, fake: FakeSopsClient) -> None:
    waits, task_ids = start_waits(site, fake, 8, deferred=False)
    runs = site.api.trigger("runs")
    wait_until("all waits are deferred", lambda: all_deferred(site, waits, 8), seconds=PATIENCE)
    wait_until("the run waits", lambda: site.states("runs", runs, "good") == {"deferred": 1}, seconds=PATIENCE)
    before = fake.count("get_tasks_status")
    wait_until("the triggerer reads", lambda: fake.count("get_tasks_status") > before, seconds=60)

    site.kill("triggerer")
    site.start("triggerer", "--skip-serve-logs")
    before = fake.count("get_tasks_status")
    wait_until("the new triggerer reads", lambda: fake.count("get_tasks_status") >= before + 2, seconds=240)
    # execution_timeout counts from the start of a try
    wait_until("one is out of time", lambda: site.states("runs", runs, "late") == {"failed": 1}, seconds=PATIENCE)
    wait_until("one has failed", lambda: site.states("runs", runs, "bad") == {"failed": 1}, seconds=PATIENCE)
    fake.advance(36000)

    end_well(site, waits, task_ids)
    assert site.api.wait_for_run("runs", runs, seconds=PATIENCE) == "failed"
    assert site.states("runs", runs, "good") == {"success": 1}
    assert site.api.xcom("runs", runs, "good") == OUTPUTS
    late = site.api.xcom("runs", runs, "late", "sops_task_id")
    assert fake.task(late).state == "REVOKED"
    bad = site.api.log("runs", runs, "bad")
    assert "has FAILED" in bad
    assert "SopsTaskFailedException" in bad
    assert {len(task.starts) for task in fake.tasks} == {1}


def test_thirty_that_are_killed_while_they_connect_end_nobody_else(site: Standalone, fake: FakeSopsClient) -> None:
    connection = fake.connection()
    for number in range(30):
        own = {"connection_id": f"slow_{number}", "extra": json.dumps(connection["extra"])}
        site.api.ask("POST", "connections", {**connection, **own})
    other, other_ids = start_waits(site, fake, 1)
    run_id, task_ids = start_waits(site, fake, 30, "slow_{}")
    site.kill("triggerer")
    earlier = trigger_logs(site, run_id)
    triggerer = site.start("triggerer", "--skip-serve-logs")
    wait_until("ten have begun", lambda: len(trigger_logs(site, run_id) - earlier) >= 10, seconds=120, every=0.05)
    site.api.mark_run("waits", run_id, "failed")
    wait_until("all are failed", lambda: site.states("waits", run_id, "wait") == {"failed": 30}, seconds=60)
    before = fake.count("get_tasks_status")
    wait_until("the triggerer reads", lambda: fake.count("get_tasks_status") >= before + 2, seconds=120)
    assert triggerer.running, triggerer.tail()
    assert {fake.task(one).state for one in task_ids} == {"RUNNING"}
    fake.advance(36000)
    end_well(site, other, other_ids)


def trigger_logs(site: Standalone, run_id: str) -> set[Path]:
    """The logs of a run's waits that triggerers have begun, each its own."""
    return {path for path in site.written() if f"run_id={run_id}" in str(path) and ".trigger." in path.name}


def test_thirty_that_end_as_soon_as_they_are_deferred_lose_no_race(
    site: Standalone, fake: FakeSopsClient, race: int
) -> None:
    """If a trigger fires before the scheduler knows of the deferral, Airflow takes the task for failed."""
    run_id, task_ids = start_waits(site, fake, 30)
    fake.advance(36000)
    end_well(site, run_id, task_ids)
    tries = site.sql(
        "SELECT DISTINCT try_number FROM task_instance WHERE run_id = :run AND task_id = 'wait'", run=run_id
    )
    assert tries == [(1,)]


@pytest.mark.parametrize("mark", ["failed", "success"])
def test_marked_by_a_user_the_sops_task_is_revoked_once(site: Standalone, fake: FakeSopsClient, mark: str) -> None:
    run_id = site.api.trigger("run_one")
    wait_until("it is deferred", lambda: site.states("run_one", run_id, "run") == {"deferred": 1}, seconds=PATIENCE)
    task_id = site.api.xcom("run_one", run_id, "run", "sops_task_id")
    wait_until("it runs", lambda: fake.task(task_id).state == "RUNNING", seconds=60)
    # before a triggerer has begun with it, nothing of ours could learn of the mark
    wait_until("a triggerer has it", lambda: trigger_logs(site, run_id), seconds=60)
    site.api.mark("run_one", run_id, "run", mark)
    if KILLS_REACH_TRIGGERS:
        wait_until("the SOPS task is revoked", lambda: fake.task(task_id).state == "REVOKED", seconds=60)
        assert [action for _, _, action in fake.task(task_id).operations].count("revoke") == 1


def test_cleared_by_a_user_the_sops_task_is_revoked_once_and_a_new_one_run(
    site: Standalone, fake: FakeSopsClient
) -> None:
    run_id = site.api.trigger("run_one")
    wait_until("it is deferred", lambda: site.states("run_one", run_id, "run") == {"deferred": 1}, seconds=PATIENCE)
    first = site.api.xcom("run_one", run_id, "run", "sops_task_id")
    wait_until("it runs", lambda: fake.task(first).state == "RUNNING", seconds=60)
    site.api.clear("run_one", run_id, "run")
    wait_until("it is revoked, at last by the next try", lambda: fake.task(first).state == "REVOKED", seconds=PATIENCE)
    wait_until("it is deferred", lambda: site.states("run_one", run_id, "run") == {"deferred": 1}, seconds=PATIENCE)
    assert [action for _, _, action in fake.task(first).operations].count("revoke") == 1
    second = site.api.xcom("run_one", run_id, "run", "sops_task_id")
    assert second != first
    fake.advance(36000)
    assert site.api.wait_for_run("run_one", run_id, seconds=PATIENCE) == "success"
    assert fake.task(second).state == "FINISHED"
