# SPDX-License-Identifier: Apache-2.0
"""Marking a deferred run as failed revokes its SOPS task (Airflow 3.3); the death of the triggerer does not."""

from __future__ import annotations

from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.processes import wait_until

DAG_ID = "run_one"


def test_mark_failed_revokes_and_a_restarted_triggerer_does_not(site: Standalone, fake: FakeSopsClient) -> None:
    run_id = site.api.trigger(DAG_ID)
    wait_until("it is deferred", lambda: site.api.states(DAG_ID, run_id) == {"deferred": 1}, seconds=300)
    task_id = site.api.xcom(DAG_ID, run_id, "run", "sops_task_id")
    assert fake.task(task_id).state == "RUNNING"

    site.kill("triggerer")
    site.start("triggerer")
    before = fake.count("get_tasks_status")
    wait_until("the new triggerer reads", lambda: fake.count("get_tasks_status") >= before + 2, seconds=240)
    assert fake.task(task_id).state == "RUNNING"
    assert [action for _, _, action in fake.task(task_id).operations].count("revoke") == 0

    site.api.mark(DAG_ID, run_id, "run", "failed")
    wait_until("the SOPS task is revoked", lambda: fake.task(task_id).state == "REVOKED", seconds=120)
    assert [action for _, _, action in fake.task(task_id).operations].count("revoke") == 1
    assert site.api.states(DAG_ID, run_id) == {"failed": 1}
    wait_until(
        "the log says so", lambda: f"revoked SOPS task {task_id}" in site.api.log(DAG_ID, run_id, "run"), seconds=60
    )
