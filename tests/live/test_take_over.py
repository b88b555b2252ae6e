# SPDX-License-Identifier: Apache-2.0
"""Two triggerers of which one stands still until the other has taken its triggers over, and then goes on."""

from __future__ import annotations

import pytest

from airflow_provider_sops.compat import KILLS_REACH_TRIGGERS, TRIGGERS_PUSH_XCOMS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.ended_run import DEFERRED_OR_STARTED, EndedRun
from tests.live.processes import wait_until
from tests.live.test_waits import PATIENCE, trigger_logs
from tests.live.triggerers import owner_of, second_triggerer, standing_still

DAG_ID, IMPATIENT_DAG_ID = "run_one", "run_one_with_little_patience"
needs_pushes = pytest.mark.skipif(not TRIGGERS_PUSH_XCOMS, reason="triggers of this Airflow push no XComs")
FROM_3_3 = pytest.mark.skipif(not KILLS_REACH_TRIGGERS, reason="before Airflow 3.3 no kill reaches a trigger")


class DeferredRun:
    """A deferred run, its SOPS task and its trigger."""

    def __init__(self, site: Standalone, fake: FakeSopsClient, dag_id: str = DAG_ID) -> None:
        self.site, self.fake, self.dag_id = site, fake, dag_id
        self.run_id = site.api.trigger(dag_id)
        wait_until("it is deferred", lambda: self.states() == {"deferred": 1}, seconds=PATIENCE)
        self.task_id = site.api.xcom(dag_id, self.run_id, "run", "sops_task_id")
        wait_until("it runs", lambda: fake.task(self.task_id).state == "RUNNING", seconds=60)
        wait_until("a triggerer has it", lambda: self.owner() and trigger_logs(site, self.run_id), seconds=60)

    def states(self) -> dict[str, int]:
        """The state of the Airflow task."""
        return self.site.states(self.dag_id, self.run_id, "run")

    def owner(self) -> int | None:
        """The job of the triggerer that has its trigger, by Airflow's database."""
        return owner_of(self.site, self.run_id, "run")

    def says(self, text: str) -> None:
        """Wait until a log of its first try holds a text."""
        try:
            wait_until(f"the log says {text!r}", lambda: text in self._log(), seconds=120)
        except AssertionError as error:
            error.add_note(self._log()[-6000:])
            raise

    def _log(self) -> str:
        """What triggerers have written for it, those that have lost it included."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(trigger_logs(self.site, self.run_id)))

    def revokes(self) -> int:
        """How often its SOPS task was revoked."""
        return [action for _, _, action in self.fake.task(self.task_id).operations].count("revoke")


def wait_until_read(fake: FakeSopsClient) -> None:
    before = fake.count("get_tasks_status")
    wait_until("a triggerer reads", lambda: fake.count("get_tasks_status") >= before + 2, seconds=120)


@pytest.mark.long
@needs_pushes
@DEFERRED_OR_STARTED
def test_a_wait_that_the_other_has_ended_stays_so(site: Standalone, fake: FakeSopsClient, dag_id: str) -> None:
    """The owner stands still before the end and goes on when all is over: nothing is pushed, deleted or ended twice."""
    run = EndedRun(site, fake, dag_id)
    first, pids = owner_of(site, run.run_id, "wait"), [one.pid for one in site.members("triggerer")]
    with second_triggerer(site):
        with standing_still(pids):
            wait_until(
                "the other takes over", lambda: owner_of(site, run.run_id, "wait") not in (None, first), seconds=120
            )
            fake.advance(36000)
            run.check()
        wait_until("the first one is back", site.api.is_up, seconds=120)
        new = fake.create_task("Long sleep", constants={"seconds": "36000"})
        site.api.trigger(dag_id, {"sops_task_id": new})
        wait_until_read(fake)
        run.check()


def test_the_sops_task_goes_on_and_is_seen_to_its_end(site: Standalone, fake: FakeSopsClient) -> None:
    run = DeferredRun(site, fake)
    first, pids = run.owner(), [one.pid for one in site.members("triggerer")]
    with second_triggerer(site):
        with standing_still(pids):
            wait_until("the other takes over", lambda: run.owner() not in (None, first), seconds=120)
            wait_until_read(fake)
        if KILLS_REACH_TRIGGERS:
            run.says(f"SOPS task {run.task_id} is left running")
        wait_until_read(fake)
        assert run.states() == {"deferred": 1}
        assert fake.task(run.task_id).state == "RUNNING"
        assert run.revokes() == 0
        fake.advance(36000)
        assert site.api.wait_for_run(DAG_ID, run.run_id, seconds=PATIENCE) == "success"
    assert fake.task(run.task_id).state == "FINISHED"
    (instance,) = site.api.instances(DAG_ID, run.run_id)
    assert instance["try_number"] == 1
    assert site.api.xcom(DAG_ID, run.run_id, "run", "IP") == "127.0.0.1"


@FROM_3_3
@pytest.mark.parametrize("mark", ["failed", "success", "clear"])
def test_what_a_user_does_while_the_owner_stands_still_counts_once(
    site: Standalone, fake: FakeSopsClient, mark: str
) -> None:
    run = DeferredRun(site, fake)
    with standing_still([one.pid for one in site.members("triggerer")]):
        if mark == "clear":
            site.api.clear(DAG_ID, run.run_id, "run")
        else:
            site.api.mark(DAG_ID, run.run_id, "run", mark)
    wait_until("it is revoked", lambda: fake.task(run.task_id).state == "REVOKED", seconds=PATIENCE)
    if mark == "clear":
        wait_until("it waits again", lambda: run.states() == {"deferred": 1}, seconds=PATIENCE)
        assert site.api.xcom(DAG_ID, run.run_id, "run", "sops_task_id") != run.task_id
        fake.advance(36000)
        assert site.api.wait_for_run(DAG_ID, run.run_id, seconds=PATIENCE) == "success"
    assert run.revokes() == 1


@FROM_3_3
def test_a_bad_end_that_the_other_has_seen_is_no_user_s(site: Standalone, fake: FakeSopsClient) -> None:
    """The state alone looks as if a user had marked the task as failed, but an outage touches no SOPS task."""
    run = DeferredRun(site, fake, IMPATIENT_DAG_ID)
    first, pids = run.owner(), [one.pid for one in site.members("triggerer")]
    with second_triggerer(site):
        with standing_still(pids):
            wait_until("the other takes over", lambda: run.owner() not in (None, first), seconds=120)
            fake.faults.add(kind="status", status=502, code=1650201, times=None)
            wait_until("it has failed", lambda: run.states() == {"failed": 1}, seconds=PATIENCE)
            fake.faults.clear()
        run.says("had ended before, by no user's hand")
    assert fake.task(run.task_id).state == "RUNNING"
    assert run.revokes() == 0
