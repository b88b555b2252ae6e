# SPDX-License-Identifier: Apache-2.0
"""Many waits that end within a second, in every mode of a deferred wait: none fails, none is lost, none runs twice."""

from __future__ import annotations

import pytest

from airflow_provider_sops.compat import TRIGGERS_PUSH_XCOMS, TRIGGERS_START_TASKS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.processes import wait_until
from tests.live.test_waits import OUTPUTS, PATIENCE

#: Waits in one DAG run, see ``dags/live.py``.
WAITS_IN_A_RUN = 20

needs_ends = pytest.mark.skipif(not TRIGGERS_PUSH_XCOMS, reason="triggers of this Airflow push no XComs")
needs_starts = pytest.mark.skipif(not TRIGGERS_START_TASKS, reason="this Airflow starts sensors in a worker")


@pytest.mark.long
@pytest.mark.parametrize(
    "mode",
    [
        "many_by_workers",
        pytest.param("many_ended", marks=needs_ends),
        pytest.param("many_started", marks=needs_starts),
    ],
)
def test_many_that_end_within_a_second(site: Standalone, fake: FakeSopsClient, mode: str, many: int) -> None:
    ids = [fake.create_task("Long sleep", constants={"seconds": "36000"}) for _ in range(many)]
    runs = []
    for first in range(0, many, WAITS_IN_A_RUN):
        some = ids[first : first + WAITS_IN_A_RUN]
        runs.append((site.api.trigger(mode, {"waits": some}), some))

    def how_many(state: str) -> int:
        query = "SELECT count(*) FROM task_instance WHERE dag_id = :dag AND run_id = :run AND state = :state"
        return sum(site.sql(query, dag=mode, run=run_id, state=state)[0][0] for run_id, _ in runs)

    wait_until("all are deferred", lambda: how_many("deferred") == many, seconds=3 * PATIENCE)
    before = fake.count("get_tasks_status")
    wait_until("the triggerer reads", lambda: fake.count("get_tasks_status") > before + many // 50, seconds=PATIENCE)
    fake.advance(36000)
    wait_until("all have ended", lambda: how_many("deferred") == 0, seconds=3 * PATIENCE)
    for run_id, some in runs:
        assert site.api.wait_for_run(mode, run_id, seconds=3 * PATIENCE) == "success"
        results = [site.api.xcom(mode, run_id, f"wait_{number}") for number in range(len(some))]
        assert [(result["sops_task_id"], result["outputs"]) for result in results] == [(one, OUTPUTS) for one in some]
        tries = "SELECT DISTINCT state, try_number FROM task_instance WHERE dag_id = :dag AND run_id = :run"
        assert site.sql(tries, dag=mode, run=run_id) == [("success", 1)]
