# SPDX-License-Identifier: Apache-2.0
"""Deferred waits in a real Airflow: they share one poll, and outlive the triggerer's death and an outage of SOPS."""

from __future__ import annotations

import math
import time
from datetime import datetime

from airflow_provider_sops.testing import FakeSops, FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.processes import wait_until

#: how long the fake is down (seconds)
OUTAGE = 180.0
#: seconds that Airflow may take to start or resume a task on a busy machine
PER_TASK = 15.0
WAITS, INTERVAL, CHUNK = 60, 10.0, 50


def start_waits(
    site: Standalone, dag_id: str, sops: FakeSops | FakeSopsClient, count: int, conn_id: str
) -> tuple[str, list[int]]:
    """Start a DAG that waits for new SOPS tasks, and let all its waits be in the triggerer.

    :return: the run's id, the SOPS tasks.
    """
    task_ids = [sops.create_task("Long sleep", constants={"seconds": "36000"}) for _ in range(count)]
    run_id = site.api.trigger(dag_id, {"conn_id": conn_id, "sops_task_ids": task_ids})

    def all_deferred() -> bool:
        states = site.api.states(dag_id, run_id, "wait")
        assert not set(states) & {"failed", "upstream_failed", "up_for_retry"}, states
        return states == {"deferred": count}

    wait_until(f"{count} waits are deferred", all_deferred, seconds=120 + count * PER_TASK, every=3)
    return run_id, task_ids


def end_well(site: Standalone, dag_id: str, run_id: str, sops: FakeSops | FakeSopsClient, task_ids: list[int]) -> None:
    """End the SOPS tasks, and see that all waits end with them and none was touched."""
    sops.advance(36000)
    assert site.api.wait_for_run(dag_id, run_id, seconds=180 + len(task_ids) * PER_TASK) == "success"
    results = [site.api.xcom(dag_id, run_id, "wait", map_index=index) for index in range(len(task_ids))]
    assert [(result["sops_task_id"], result["state"]) for result in results] == [(one, "FINISHED") for one in task_ids]
    assert all(result["end_time"] for result in results)
    assert {instance["try_number"] for instance in site.api.instances(dag_id, run_id, "wait")} == {1}
    assert_untouched(sops, task_ids)


def assert_untouched(sops: FakeSops | FakeSopsClient, task_ids: list[int]) -> None:
    """No SOPS task was started twice, paused or revoked."""
    for task_id in task_ids:
        task = sops.task(task_id)
        assert len(task.starts) == 1, task_id
        assert not list(task.operations), task_id


def requests_while(sops: FakeSops | FakeSopsClient, seconds: float, name: str) -> None:
    """Count the requests of a time in which nothing happens: two chunks of fifty an interval."""
    before = {api: sops.count(api) for api in ("get_tasks_status", None)}
    time.sleep(seconds)
    batches = sops.count("get_tasks_status") - before["get_tasks_status"]
    total = sops.count() - before[None]
    print(f"{name}: {total} requests in {seconds:.0f} s, {batches} of them get_tasks_status, for {WAITS} waits")
    most = math.ceil(WAITS / CHUNK) * (math.ceil(seconds / INTERVAL) + 1)
    assert 0 < batches <= most
    # the others ask for a log's sake how far a task is: ten at first, then twelve a minute
    assert total <= most + 10 + 12


def test_sixty_waits_share_a_poll_and_outlive_the_triggerer(site: Standalone, fake: FakeSopsClient) -> None:
    run_id, task_ids = start_waits(site, "waits", fake, WAITS, "sops_default")
    requests_while(fake, 60, "waiting")
    site.kill("triggerer")
    site.start("triggerer")
    before = fake.count("get_tasks_status")
    wait_until("the new triggerer reads", lambda: fake.count("get_tasks_status") >= before + 4, seconds=240)
    requests_while(fake, 60, "after kill -9")
    assert site.api.states("waits", run_id, "wait") == {"deferred": WAITS}
    end_well(site, "waits", run_id, fake, task_ids)


def moment(instance: dict[str, str], name: str) -> float:
    """``start_date`` (of its first leg) or ``end_date`` of a task instance."""
    return datetime.fromisoformat(instance[name]).timestamp()


def test_a_restarted_triggerer_keeps_the_deadlines(site: Standalone, fake: FakeSopsClient) -> None:
    dag_id = "waits_with_a_deadline"
    run_id, task_ids = start_waits(site, dag_id, fake, 3, "sops_default")
    # the longer it has waited, the better is a kept deadline told from a new one
    time.sleep(60)
    killed = time.time()
    site.kill("triggerer")
    site.start("triggerer")
    assert site.api.wait_for_run(dag_id, run_id, seconds=600) == "failed"
    for instance in site.api.instances(dag_id, run_id, "wait"):
        log = site.api.log(dag_id, run_id, "wait", map_index=instance["map_index"])
        assert "AirflowSensorTimeout" in log
        assert "has not ended within 240 s: it is RUNNING" in log
        began, ended = moment(instance, "start_date"), moment(instance, "end_date")
        print(f"deadline of 240 s: ended after {ended - began:.0f} s; killed after {killed - began:.0f} s")
        assert ended - began >= 240
        assert ended < killed + 240
    assert_untouched(fake, task_ids)


def wait_for_hits(frail: FakeSops, hits: int, **fault: object) -> None:
    """Let a fault hit some requests, then let it be over."""
    one = frail.faults.add(times=None, **fault)  # type: ignore[arg-type]
    wait_until(f"{hits} requests met {fault}", lambda: one.hits >= hits, seconds=300)
    frail.faults.remove(one)


def test_waits_outlive_an_outage(site: Standalone, frail: FakeSops) -> None:
    count = 8
    run_id, task_ids = start_waits(site, "waits", frail, count, "sops_frail")
    frail.stop()
    time.sleep(OUTAGE)
    frail.start()
    wait_for_hits(frail, 3, kind="status", status=429, code=1642901, message="rate limit", retry_after=5)
    wait_for_hits(frail, 3, kind="html")
    before = frail.count("get_tasks_status")
    wait_until("it is read well again", lambda: frail.count("get_tasks_status") >= before + 2, seconds=120)
    assert site.api.states("waits", run_id, "wait") == {"deferred": count}
    end_well(site, "waits", run_id, frail, task_ids)
    for index in range(count):
        log = site.api.log("waits", run_id, "wait", map_index=index)
        assert "Cannot read the status" in log
        assert "SOPS answers again after" in log


def test_an_outage_longer_than_max_outage_fails_the_waits_and_touches_no_task(
    site: Standalone, frail: FakeSops
) -> None:
    dag_id, count = "waits_with_little_patience", 4
    run_id, task_ids = start_waits(site, dag_id, frail, count, "sops_frail")
    frail.stop()
    try:
        assert site.api.wait_for_run(dag_id, run_id, seconds=400) == "failed"
    finally:
        frail.start()
    assert site.api.states(dag_id, run_id, "wait") == {"failed": count}
    for index, task_id in enumerate(task_ids):
        log = site.api.log(dag_id, run_id, "wait", map_index=index)
        assert "SopsOutageException" in log
        assert f"he status of SOPS task {task_id} could not be read for" in log
        assert "The task itself was not touched and may still run" in log
        assert frail.task(task_id).state == "RUNNING"
    assert_untouched(frail, task_ids)


def test_stale_replicas_confuse_no_wait(site: Standalone, frail: FakeSops) -> None:
    run_id, task_ids = start_waits(site, "waits", frail, 8, "sops_frail")
    # FINISHED without an end time, then RUNNING again from the replica that lags behind, then FINISHED
    race = frail.faults.add("get_tasks_status", kind="end_race", reads=2, times=2)
    stale = frail.faults.add("get_tasks_status", kind="stale", after=1, times=2)
    end_well(site, "waits", run_id, frail, task_ids)
    assert race.hits
    assert stale.hits
