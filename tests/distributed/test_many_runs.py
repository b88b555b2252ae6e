# SPDX-License-Identifier: Apache-2.0
"""Three hundred runs of SOPS tasks on several processes, of which some are killed: each is made and started once."""

from __future__ import annotations

import math
import time
from pathlib import Path

from airflow_provider_sops.testing import FakeSopsClient
from tests.distributed.cluster import Cluster
from tests.live.fake import connection_json, fake_process
from tests.live.processes import wait_until

RUNS, INTERVAL, CHUNK, TRIGGERERS = 300, 10, 50, 2
#: seconds that a leg of a task may take on a busy machine, all legs after each other
PER_LEG = 8


def started(fake: FakeSopsClient) -> int:
    """How many SOPS tasks run."""
    return sum(bool(task.starts) for task in fake.tasks)


def deferred(cluster: Cluster, run_id: str) -> int:
    """How many waits are in the triggerers."""
    states = cluster.api.states("runs", run_id, "run")
    assert not set(states) & {"failed", "upstream_failed"}, states
    return states.get("deferred", 0)


def test_many_runs_on_several_machines(tmp_path: Path) -> None:
    dags = Path(__file__).parent / "dags"
    with fake_process(tmp_path) as fake, Cluster(tmp_path, dags, AIRFLOW_CONN_SOPS_DEFAULT=connection_json(fake)) as it:
        began = time.monotonic()

        def tell(text: str) -> None:
            print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)

        run_id = it.api.trigger("runs", {"count": RUNS})
        wait_until("a third is started", lambda: started(fake) >= RUNS // 3, seconds=300 + RUNS * PER_LEG, every=2)
        it.kill("celery-worker-1")
        it.kill("triggerer-1")
        tell(f"{started(fake)} SOPS tasks run, {deferred(it, run_id)} waits deferred: killed a worker and a triggerer")
        time.sleep(20)
        it.start("celery worker", 1)
        it.start("triggerer", 1)
        wait_until("all wait", lambda: deferred(it, run_id) == RUNS, seconds=600 + RUNS * PER_LEG, every=5)
        tell(f"all {RUNS} waits are deferred, {started(fake)} SOPS tasks run")

        before, total = fake.count("get_tasks_status"), fake.count()
        time.sleep(60)
        batches, total = fake.count("get_tasks_status") - before, fake.count() - total
        tell(f"{total} requests in 60 s, {batches} of them get_tasks_status")
        chunks = math.ceil(RUNS / CHUNK) + TRIGGERERS - 1
        assert 0 < batches <= chunks * (60 // INTERVAL + 1)
        # the others ask for a log's sake how far a task is: ten at first, then twelve a minute, in each triggerer
        assert total <= batches + TRIGGERERS * (10 + 12)

        fake.advance(36000)
        tell("all SOPS tasks end")
        assert it.api.wait_for_run("runs", run_id, seconds=600 + RUNS * PER_LEG) == "success"
        tell("the DAG has ended")
        instances = it.api.instances("runs", run_id, "run")
        tries = [instance["try_number"] for instance in instances]
        tell(f"{sum(number > 1 for number in tries)} of {len(tries)} were tried again after the kill")
        assert [instance["state"] for instance in instances] == ["success"] * RUNS

        tasks = fake.tasks
        assert len(tasks) == RUNS
        assert [(task.state, len(task.starts)) for task in tasks] == [("FINISHED", 1)] * RUNS
        wanted = {f"10.0.{n // 250}.{n % 250}" for n in range(RUNS)}
        assert {output["value"] for task in tasks for output in task.outputs if output["key"] == "${IP}"} == wanted
        assert it.api.xcom("runs", run_id, "run", "IP", map_index=0) == "10.0.0.0"
        assert (
            it.api.xcom("runs", run_id, "run", "${IP}", map_index=RUNS - 1)
            == f"10.0.{(RUNS - 1) // 250}.{(RUNS - 1) % 250}"
        )
