# SPDX-License-Identifier: Apache-2.0
"""Deferred waits that their trigger ends: what later tasks get, the page, a clear, and ``kill -9`` at each moment."""

from __future__ import annotations

import time

import pytest

from airflow_provider_sops.compat import TRIGGERS_PUSH_XCOMS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.ended_run import DEFERRED_OR_STARTED, TWINS, EndedRun
from tests.live.processes import kill, wait_until
from tests.live.test_waits import OUTPUTS, PATIENCE

pytestmark = pytest.mark.skipif(not TRIGGERS_PUSH_XCOMS, reason="triggers of this Airflow push no XComs")

#: How many XComs a sensor has at its end.
XCOMS = len({"return_value", "sops_task_url", "the link's"} | TWINS.keys())
#: How often a moment between two pushes, which take milliseconds, may be missed.
ATTEMPTS = 5


@DEFERRED_OR_STARTED
def test_their_outputs_links_and_lengths_are_there_and_no_worker_ends_them(
    site: Standalone, fake: FakeSopsClient, dag_id: str
) -> None:
    run = EndedRun(site, fake, dag_id)
    fake.advance(36000)
    run.check()
    for task_id in run.waits:
        assert "is FINISHED" in run.logs(task_id, of_triggers=True)
        assert "is FINISHED" not in run.logs(task_id, of_triggers=False)


@pytest.mark.long
@DEFERRED_OR_STARTED
@pytest.mark.parametrize("moment", ["before the first push", "between two pushes", "before the event"])
def test_a_triggerer_that_is_killed_loses_nothing(
    site: Standalone, fake: FakeSopsClient, dag_id: str, moment: str
) -> None:
    for _ in range(ATTEMPTS):
        run = EndedRun(site, fake, dag_id)
        details = fake.count("get_task_detail")
        members = site.members("triggerer")
        fake.advance(36000)
        deadline = time.monotonic() + 120

        def is_now() -> bool:
            if moment == "before the first push":
                return fake.count("get_task_detail") > details  # noqa: B023
            keys = run.keys("wait")  # noqa: B023
            return len(keys) == XCOMS if moment == "before the event" else "return_value" in keys

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
            hit = hit and len(left) < XCOMS
        if hit:
            return
    pytest.fail(f"the moment was missed {ATTEMPTS} times")


def test_a_bad_end_is_retried(site: Standalone, fake: FakeSopsClient) -> None:
    run_id = site.api.trigger("ended_badly")
    assert site.api.wait_for_run("ended_badly", run_id, seconds=PATIENCE) == "failed"
    (instance,) = site.api.instances("ended_badly", run_id, "run")
    assert instance["try_number"] == 2
    assert "SopsTaskFailedException" in site.api.log("ended_badly", run_id, "run", 2)


@DEFERRED_OR_STARTED
def test_marked_failed_while_it_waits_it_stays_so(site: Standalone, fake: FakeSopsClient, dag_id: str) -> None:
    run = EndedRun(site, fake, dag_id)
    site.api.mark(run.dag_id, run.run_id, "wait", "failed")
    fake.advance(36000)
    assert site.api.wait_for_run(run.dag_id, run.run_id, seconds=PATIENCE) == "failed"
    assert run.states("wait") == {"failed": 1}
    assert "return_value" not in run.keys("wait")


def test_a_clear_after_the_end_runs_and_waits_again(site: Standalone, fake: FakeSopsClient) -> None:
    run = EndedRun(site, fake)
    fake.advance(36000)
    run.check()
    first = site.api.xcom(run.dag_id, run.run_id, "run", "sops_task_id")
    for task_id in ("wait", "run"):
        site.api.clear(run.dag_id, run.run_id, task_id)
    wait_until("it runs again", lambda: run.states("run") == {"deferred": 1}, seconds=PATIENCE)
    second = site.api.xcom(run.dag_id, run.run_id, "run", "sops_task_id")
    assert second != first
    assert "return_value" not in run.keys("run")
    fake.advance(36000)
    assert site.api.wait_for_run(run.dag_id, run.run_id, seconds=PATIENCE) == "success"
    assert fake.task(second).state == "FINISHED"
    assert site.api.xcom(run.dag_id, run.run_id, "run") == OUTPUTS
