# SPDX-License-Identifier: Apache-2.0
"""Approvals in a real Airflow on PostgreSQL: pressed, rejected, through kills of worker and triggerer, and how soon."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_sops.compat.required_actions import HAS_REQUIRED_ACTIONS, RESPONSE_RESUMES
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Api, Standalone
from tests.live.conftest import SETTINGS
from tests.live.fake import connection_json
from tests.live.logs import find_tracebacks
from tests.live.postgres import Postgres
from tests.live.processes import wait_until

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not HAS_REQUIRED_ACTIONS, reason="this Airflow has no Required Actions"),
]

DAGS = Path(__file__).parent / "dags_of_approvals"
PATIENCE = 400.0
PASSWORDS = {"admin": "admins-own-password", "alice": "alices-own-password"}
#: Seconds from a press to SOPS going on, of 95 of 100.
SOON = 5.0 if RESPONSE_RESUMES else 15.0


class UserApi(Api):
    """The REST API of Airflow, as one of its users."""

    user = "admin"

    def login(self) -> bool:
        """Take a token; false while nobody answers."""
        body = {"username": self.user, "password": PASSWORDS[self.user]}
        try:
            answer = self.session.post(f"{self.url}/auth/token", json=body, timeout=10)
        except requests.RequestException:
            return False
        if answer.ok:
            self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return answer.ok

    def as_user(self, user: str) -> UserApi:
        """The same as another user."""
        other = UserApi(self.url)
        other.user = user
        assert other.login()
        return other


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, fake: FakeSopsClient) -> Iterator[Standalone]:
    """An Airflow with the DAGs of approvals."""
    home = tmp_path_factory.mktemp("airflow")
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS))
    with Postgres(home / "postgres.out") as postgres:
        settings = SETTINGS | {
            "AIRFLOW_CONN_SOPS_DEFAULT": connection_json(fake),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,alice:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        }
        database = f"postgresql+psycopg2://{postgres.address}"
        airflow = Standalone(home, DAGS, database=database, **settings)
        airflow.api = UserApi(airflow.api.url)
        with airflow as standalone:
            yield standalone
            found = [one for one in find_tracebacks(standalone.written()) if "Sops" not in one]
            assert not found, "\n".join(found)


def start(site: Standalone, fake: FakeSopsClient, count: int) -> tuple[str, list[int]]:
    """Ask about new SOPS tasks, and wait until all questions are open.

    :return: the run's id, the SOPS tasks.
    """
    task_ids = fake.create_tasks(count, "Pause for a person")
    fake.advance(5)
    run_id = site.api.trigger("approvals", {"sops_task_ids": task_ids})
    wait_until(f"{count} questions are open", lambda: is_open(site, "approvals", run_id, count), seconds=PATIENCE)
    return run_id, task_ids


def questions(site: Standalone, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Airflow's questions of a run."""
    found: list[dict[str, Any]] = site.api.ask("GET", f"dags/{dag_id}/dagRuns/{run_id}/hitlDetails", limit=100)[
        "hitl_details"
    ]
    return found


def is_open(site: Standalone, dag_id: str, run_id: str, count: int) -> bool:
    states = site.states(dag_id, run_id, "approve")
    assert not set(states) & {"failed", "upstream_failed"}, states
    return states == {"deferred": count} and len(questions(site, dag_id, run_id)) == count


def press(
    site: Standalone, dag_id: str, run_id: str, option: str, index: int = -1, *, api: Api | None = None, **params: Any
) -> None:
    """Answer a question as Airflow's page does."""
    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/approve/{index}/hitlDetails"
    (api or site.api).ask("PATCH", path, {"chosen_options": [option], "params_input": params})


def callbacks(fake: FakeSopsClient, task_id: int) -> int:
    """How many confirmations have come to a SOPS task."""
    return sum(operation[2] == "callback confirm" for operation in fake.task(task_id).operations)


def test_approved_rejected_and_confirmed_in_sops(site: Standalone, fake: FakeSopsClient) -> None:
    run_id, task_ids = start(site, fake, 3)
    (first, *_) = questions(site, "approvals", run_id)
    assert first["options"] == ["Approve", "Reject"]
    assert "confirm" in first["subject"]
    press(site, "approvals", run_id, "Approve", 0, reason="it is fine")
    press(site, "approvals", run_id, "Reject", 1, reason="no")
    fake.operate_node(task_ids[2], "confirm", "callback", user="wang")
    assert site.api.wait_for_run("approvals", run_id, seconds=PATIENCE) == "failed"
    assert site.states("approvals", run_id, "approve") == {"success": 2, "failed": 1}
    assert [callbacks(fake, task_id) for task_id in task_ids] == [1, 0, 1]
    assert fake.task(task_ids[1]).state == "REVOKED"
    result = site.api.xcom("approvals", run_id, "approve", map_index=0)
    assert (result["answered_in"], result["params"]) == ("airflow", {"reason": "it is fine"})
    result = site.api.xcom("approvals", run_id, "approve", map_index=2)
    assert (result["answered_in"], result["answered_by"]) == ("sops", "wang")
    assert all(one["response_received"] for one in questions(site, "approvals", run_id))
    assert fake.task(task_ids[0]).state == "FINISHED"
    assert not [one for one in fake.requests if one.api == "operate_task" and one.params["action"] != "revoke"]


def test_how_soon_sops_goes_on(site: Standalone, fake: FakeSopsClient) -> None:
    run_id, task_ids = start(site, fake, 20)
    # not held back any more, as by a person it never is
    wait_until("the deferrals are old", after(12), seconds=60)
    took = []
    for index, task_id in enumerate(task_ids):
        pressed = time.time()
        press(site, "approvals", run_id, "Approve", index, reason="")
        wait_until("SOPS goes on", partial(callbacks, fake, task_id), seconds=60, every=0.05)
        took.append(time.time() - pressed)
        assert callbacks(fake, task_id) == 1
    took.sort()
    print(f"from the press to SOPS going on: median {took[9]:.1f} s, p95 {took[18]:.1f} s, longest {took[-1]:.1f} s")
    assert site.api.wait_for_run("approvals", run_id, seconds=PATIENCE) == "success"
    assert took[18] <= SOON


def after(seconds: float) -> Callable[[], bool]:
    until = time.time() + seconds
    return lambda: time.time() > until


def test_users_that_are_not_assigned_are_refused(site: Standalone, fake: FakeSopsClient) -> None:
    run_id, task_id = start_assigned(site, fake)
    assert [user["id"] for user in questions(site, "assigned", run_id)[0]["assigned_users"]] == ["alice"]
    with pytest.raises(AssertionError, match="403"):
        press(site, "assigned", run_id, "Approve")
    assert callbacks(fake, task_id) == 0
    assert isinstance(site.api, UserApi)
    press(site, "assigned", run_id, "Approve", api=site.api.as_user("alice"))
    assert site.api.wait_for_run("assigned", run_id, seconds=PATIENCE) == "success"
    assert site.api.xcom("assigned", run_id, "approve")["answered_by"] == "alice"
    assert callbacks(fake, task_id) == 1


def start_assigned(site: Standalone, fake: FakeSopsClient) -> tuple[str, int]:
    task_id = fake.create_task("Pause for a person")
    fake.advance(5)
    run_id = site.api.trigger("assigned", {"sops_task_id": task_id})
    wait_until("the question is open", lambda: is_open(site, "assigned", run_id, 1), seconds=PATIENCE)
    return run_id, task_id


def test_nobody_answers_in_time(site: Standalone, fake: FakeSopsClient) -> None:
    run_id, task_id = start_assigned(site, fake)
    assert site.api.wait_for_run("assigned", run_id, seconds=PATIENCE) == "success"
    assert site.api.xcom("assigned", run_id, "approve")["answered_in"] == "timeout"
    assert callbacks(fake, task_id) == 1


def test_beside_a_deferred_run(site: Standalone, fake: FakeSopsClient) -> None:
    run_id = site.api.trigger("beside")
    wait_until("the question is open", lambda: is_open(site, "beside", run_id, 1), seconds=PATIENCE)
    press(site, "beside", run_id, "Approve")
    assert site.api.wait_for_run("beside", run_id, seconds=PATIENCE) == "success"
    assert site.api.xcom("beside", run_id, "report") == "127.0.0.1"


def test_an_answer_while_sops_is_away(site: Standalone, fake: FakeSopsClient) -> None:
    run_id, task_ids = start(site, fake, 2)
    fake.faults.add(None, kind="status", status=502, times=None)
    for index in range(2):
        press(site, "approvals", run_id, "Approve", index, reason="")
    wait_until("they wait for SOPS", lambda: site.states("approvals", run_id, "approve") == {"deferred": 2}, seconds=60)
    wait_until("a while is over", after(25), seconds=60)
    assert [callbacks(fake, task_id) for task_id in task_ids] == [0, 0]
    fake.faults.clear()
    assert site.api.wait_for_run("approvals", run_id, seconds=PATIENCE) == "success"
    assert [callbacks(fake, task_id) for task_id in task_ids] == [1, 1]


def test_a_killed_triggerer_loses_no_answer(site: Standalone, fake: FakeSopsClient) -> None:
    run_id, task_ids = start(site, fake, 6)
    press(site, "approvals", run_id, "Approve", 0, reason="")
    site.kill("triggerer")
    for index in range(1, 3):
        press(site, "approvals", run_id, "Approve", index, reason="")
    fake.operate_node(task_ids[3], "confirm", "callback", user="wang")
    site.start("triggerer", "--skip-serve-logs")
    wait_until("the first ones go on", lambda: callbacks(fake, task_ids[2]) == 1, seconds=PATIENCE)
    for index in (4, 5):
        press(site, "approvals", run_id, "Approve", index, reason="")
    assert site.api.wait_for_run("approvals", run_id, seconds=PATIENCE) == "success"
    assert [callbacks(fake, task_id) for task_id in task_ids] == [1] * 6


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_killed_at_the_confirmation_doubles_and_loses_nothing(
    site: Standalone, fake: FakeSopsClient, when: str
) -> None:
    run_id, task_ids = start(site, fake, 3)
    # the answer comes late, and with it the kill: done already, or not done at all
    kind = {"before": "drop", "after": "latency"}[when]
    options = {"seconds": 15.0} if when == "after" else {}
    fake.faults.add("operate_node", kind=kind, times=1 if when == "before" else 3, **options)
    seen = fake.count("operate_node")
    for index in range(3):
        press(site, "approvals", run_id, "Approve", index, reason="")
    wait_until("a confirmation is on its way", lambda: fake.count("operate_node") > seen, seconds=60, every=0.05)
    killed = kill_workers(site)
    assert killed or when == "before"
    fake.faults.clear()
    assert site.api.wait_for_run("approvals", run_id, seconds=PATIENCE) == "success"
    assert [callbacks(fake, task_id) for task_id in task_ids] == [1, 1, 1]
    assert all(one["response_received"] for one in questions(site, "approvals", run_id))


def kill_workers(site: Standalone) -> int:
    """Kill -9 the processes of tasks, not those of the executor that start them."""
    tasks = [one for one in site.members() if re.search(r"airflow worker -- [0-9a-f]{8}-[0-9a-f-]{27}", one.command)]
    for one in tasks:
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
    return len(tasks)


def test_a_clear_asks_anew(site: Standalone, fake: FakeSopsClient) -> None:
    run_id, task_id = start_assigned(site, fake)
    assert isinstance(site.api, UserApi)
    alice = site.api.as_user("alice")
    press(site, "assigned", run_id, "Reject", api=alice)
    assert site.api.wait_for_run("assigned", run_id, seconds=PATIENCE) == "failed"
    assert callbacks(fake, task_id) == 0
    site.api.clear("assigned", run_id, "approve")
    wait_until("it is asked anew", lambda: is_asked_anew(site, run_id), seconds=PATIENCE)
    press(site, "assigned", run_id, "Approve", api=alice)
    assert site.api.wait_for_run("assigned", run_id, seconds=PATIENCE) == "success"
    assert callbacks(fake, task_id) == 1


def is_asked_anew(site: Standalone, run_id: str) -> bool:
    open_now = not questions(site, "assigned", run_id)[0]["response_received"]
    return open_now and tries(site, run_id) == 2 and is_open(site, "assigned", run_id, 1)


def tries(site: Standalone, run_id: str) -> int:
    return max(int(one["try_number"]) for one in site.api.instances("assigned", run_id, "approve"))
