# SPDX-License-Identifier: Apache-2.0
"""What becomes of the SOPS task when Airflow kills the task that runs it, or its time is over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout

try:
    from airflow.sdk.execution_time.context import set_current_context
except ImportError:  # Airflow 2
    from airflow.models.taskinstance import set_current_context  # type: ignore[attr-defined, no-redef]

from airflow_provider_sops.operators import run_kill
from airflow_provider_sops.operators.sops import SopsRunTaskOperator
from airflow_provider_sops.testing import Request
from tests.operators.airflow_task import AirflowTask, Store, Try
from tests.operators.conftest import Died, World, die

LONG = {"template_id": 103}


def killed(world: World, task: AirflowTask, state: str | None, after: float = 30.0, **changes: Any) -> Try:
    """Run a try that is told to stop while it waits.

    :param state: what Airflow then says of the task: ``restarting`` when a user has cleared it, ``failed`` when a user
        has marked it so, ``running`` when the worker shuts down.
    """
    one = task.next_try(**changes)
    one.ti.state = state
    world.later(after, one.operator.on_kill)
    return one.execute()


def run_out_of_time(operator: SopsRunTaskOperator) -> None:
    """Call ``on_kill`` as Airflow does when ``execution_timeout`` has passed."""
    try:
        raise AirflowTaskTimeout
    except AirflowTaskTimeout:
        operator.on_kill()


def out_of_time(world: World, task: AirflowTask, after: float = 30.0, **changes: Any) -> Try:
    """Run a try whose time is over while it waits."""
    one = task.next_try(**changes)
    world.later(after, lambda: run_out_of_time(one.operator))
    return one.execute()


def test_marked_failed_it_is_revoked_once(world: World) -> None:
    task = AirflowTask(LONG)
    one = killed(world, task, "failed")
    (first,) = world.started()
    assert world.states() == {first: "REVOKED"}
    assert [request.params["action"] for request in world.fake.requests if request.api == "operate_task"] == ["revoke"]
    assert f"This Airflow task was killed: revoked SOPS task {first}." in one.log
    with pytest.raises(AirflowException, match="told to stop"):
        one.outcome  # noqa: B018
    one.operator.on_kill()
    assert world.fake.count("operate_task") == 1


def test_it_ends_soon_after(world: World) -> None:
    began = world.now
    killed(world, AirflowTask({**LONG, "poll_interval": 600}), "failed")
    assert world.now - began < 40


@pytest.mark.parametrize("state", ["running", "queued", "scheduled", "deferred", "up_for_retry"])
def test_stopped_by_nobody_it_is_left_running_and_a_retry_goes_on_with_it(world: World, state: str) -> None:
    """A worker that shuts down, or has lost the API server."""
    task = AirflowTask({**LONG, "constants": {"seconds": "100"}})
    one = killed(world, task, state)
    (first,) = world.fake.tasks
    assert world.fake.count("operate_task") == 0
    assert f"SOPS task {first.id} is left running: this Airflow task was told to stop, but no user" in one.log
    assert f"(Airflow says that the task is {state})" in one.log
    with pytest.raises(AirflowException, match="told to stop"):
        one.outcome  # noqa: B018
    assert task.run().outcome["EXIT"] == "0"
    assert world.states() == {first.id: "FINISHED"}
    assert world.started() == [first.id]


@pytest.mark.parametrize("state", ["success", "skipped", "upstream_failed", "removed"])
def test_ended_by_a_user_in_another_way_it_is_revoked(world: World, state: str) -> None:
    killed(world, AirflowTask(LONG), state)
    assert list(world.states().values()) == ["REVOKED"]


@pytest.mark.parametrize("store", [None, Store()])
def test_out_of_time_with_a_retry_left_a_new_one_is_run(world: World, store: Store | None) -> None:
    task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, store=store)
    one = out_of_time(world, task)
    first, second = world.fake.tasks
    assert (first.state, second.state) == ("REVOKED", "CREATED")
    assert f"A retry will run SOPS task {second.id} in its place." in one.log
    assert task.run().outcome["EXIT"] == "0"
    assert world.states() == {first.id: "REVOKED", second.id: "FINISHED"}
    assert world.started() == [first.id, second.id]


def test_out_of_time_without_get_task_list_the_store_knows_it(world: World) -> None:
    world.fake.deny("get_task_list")
    task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, store=Store())
    out_of_time(world, task)
    assert task.run().outcome["EXIT"] == "0"
    assert len(world.started()) == 2


def test_out_of_time_without_a_retry_left_nothing_is_created(world: World) -> None:
    out_of_time(world, AirflowTask(LONG, retries=0))
    assert list(world.states().values()) == ["REVOKED"]


def test_marked_failed_nothing_is_created(world: World) -> None:
    killed(world, AirflowTask(LONG, retries=3), "failed")
    assert list(world.states().values()) == ["REVOKED"]


#: Airflow 3.1 and newer raise max_tries for a running task that a user clears, if the executor calls its end a success.
RAISED = pytest.mark.parametrize("raised", [True, False])


@pytest.mark.parametrize(
    ("raises", "raised", "store"),
    [
        pytest.param(False, False, None, id="before 3.1"),
        pytest.param(True, True, None, id="3.1 and newer"),
        pytest.param(True, True, Store(), id="3.3 and newer"),
        pytest.param(True, False, Store(), id="3.3 and newer where the executor calls it a failure"),
    ],
)
def test_cleared_while_it_runs_one_new_one_is_started(
    world: World, monkeypatch: pytest.MonkeyPatch, raises: bool, raised: bool, store: Store | None
) -> None:
    monkeypatch.setattr(run_kill, "CLEARING_RAISES_MAX_TRIES", raises)
    task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, store=store)
    killed(world, task, "restarting")
    if raised:
        task.max_tries = task.try_number + task.retries
    assert task.run().outcome["EXIT"] == "0"
    assert list(world.states().values()) == ["REVOKED", "FINISHED"]  # and none that stays CREATED for ever
    assert len(world.started()) == 2


@RAISED
def test_cleared_while_it_runs_and_reattached_none_is(world: World, raised: bool) -> None:
    task = AirflowTask({**LONG, "constants": {"seconds": "100"}, "on_clear": "reattach"})
    one = killed(world, task, "restarting")
    (first,) = world.started()
    assert world.states() == {first: "RUNNING"}
    assert f"SOPS task {first} is left running: the cleared Airflow task takes it up again." in one.log
    if raised:
        task.max_tries = task.try_number + task.retries
    assert task.run().outcome["EXIT"] == "0"
    assert world.started() == [first]


def test_reattaching_does_not_keep_it_when_it_is_marked_failed(world: World) -> None:
    killed(world, AirflowTask({**LONG, "on_clear": "reattach"}), "failed")
    assert list(world.states().values()) == ["REVOKED"]


def test_where_airflow_does_not_say_why_it_is_left_running(world: World) -> None:
    task = AirflowTask({**LONG, "constants": {"seconds": "100"}})
    one = task.next_try()

    def nothing(**which: Any) -> dict[str, Any]:
        raise RuntimeError("the way to Airflow is broken")

    one.ti.get_task_states = nothing  # type: ignore[method-assign]
    world.later(30, one.operator.on_kill)
    one.execute()
    assert list(world.states().values()) == ["RUNNING"]
    assert "(Airflow does not answer what it wants)" in one.log
    assert task.run().outcome["EXIT"] == "0"
    assert len(world.started()) == 1


def test_where_airflow_could_not_be_asked_in_the_moment_of_the_kill_it_is_asked_again(world: World) -> None:
    """What the kill has interrupted may hold the way to Airflow."""
    one = AirflowTask(LONG).next_try()
    one.ti.state = "failed"
    answer, asked = one.ti.get_task_states, []

    def busy_at_first(**which: Any) -> dict[str, Any]:
        asked.append(which)
        if len(asked) == 1:
            raise RuntimeError("the way to Airflow is in use")
        return answer(**which)

    one.ti.get_task_states = busy_at_first  # type: ignore[method-assign]
    world.later(30, one.operator.on_kill)
    one.execute()
    assert list(world.states().values()) == ["REVOKED"]
    assert world.fake.count("operate_task") == 1


def test_airflow_that_does_not_answer_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_kill, "ASK_SECONDS", 0.05)
    one = AirflowTask(LONG, retries=0).next_try()
    hangs = threading.Event()
    one.ti.get_task_states = lambda **which: hangs.wait(60)  # type: ignore[assignment, method-assign]
    world.later(30, one.operator.on_kill)
    one.execute()
    hangs.set()
    assert list(world.states().values()) == ["RUNNING"]


def test_switched_off_it_is_left_running(world: World) -> None:
    one = killed(world, AirflowTask({**LONG, "revoke_on_kill": False}), "failed")
    assert list(world.states().values()) == ["RUNNING"]
    assert "is left running, as revoke_on_kill is off" in one.log


def test_before_anything_was_started_there_is_nothing_to_revoke(world: World) -> None:
    one = AirflowTask(LONG).next_try()

    def kill(when: str, request: Request) -> None:
        if request.api == "create_task" and when == "after":
            one.operator.on_kill()

    world.fake.on_request = kill
    one.execute()
    assert world.fake.count("operate_task") == world.fake.count("start_task") == 0
    assert "No SOPS task runs for this task: nothing is revoked." in one.log
    with pytest.raises(AirflowException, match="told to stop"):
        one.outcome  # noqa: B018


@pytest.mark.parametrize("delay", [0, 2])
def test_what_is_started_in_the_moment_of_the_kill_is_revoked_too(make_world: Callable[..., World], delay: int) -> None:
    """Airflow 3 lets the process go on after ``on_kill``, whose own attempt comes before the start."""
    world = make_world(start_delay=delay)
    one = AirflowTask(LONG).next_try()
    one.ti.state = "failed"

    def kill(when: str, request: Request) -> None:
        if request.api == "start_task" and when == "before":
            one.operator.on_kill()

    world.fake.on_request = kill
    one.execute()
    assert list(world.states().values()) == ["REVOKED"]
    assert len(world.started()) == 1
    with pytest.raises(AirflowException, match="told to stop"):
        one.outcome  # noqa: B018


@pytest.mark.parametrize("allowed", ["FINISHED", "REVOKED"])
def test_what_it_reads_after_its_own_revoke_is_no_end(world: World, allowed: str) -> None:
    task = AirflowTask({**LONG, "constants": {"seconds": "100"}, "allowed_states": ["FINISHED", allowed]})
    one = task.next_try()

    def kill(when: str, request: Request) -> None:
        if request.api == "get_task_status" and when == "before" and "RUNNING" in world.states().values():
            run_out_of_time(one.operator)

    world.fake.on_request = kill
    one.execute()
    with pytest.raises(AirflowException, match="told to stop"):
        one.outcome  # noqa: B018
    world.fake.on_request = None
    assert task.run().outcome["EXIT"] == "0"
    assert sorted(world.states().values()) == ["FINISHED", "REVOKED"]


def test_out_of_time_while_it_was_deferred_it_is_revoked_before_it_is_resumed(world: World) -> None:
    """Airflow 2 calls ``on_kill`` of a new operator then, and never resumes it."""
    task = AirflowTask({**LONG, "constants": {"seconds": "100"}})
    one = task.run(deferrable=True)
    world.fake.advance(20)
    one.ti.next_method = "execute_complete"
    operator = one.anew()
    with set_current_context(one.context):
        run_out_of_time(operator)
    first, second = world.fake.tasks
    assert (first.state, second.state) == ("REVOKED", "CREATED")
    assert f"This Airflow task was killed: revoked SOPS task {first.id}." in one.log
    assert task.run().outcome["EXIT"] == "0"


def test_one_whose_start_is_queued_may_still_start(make_world: Callable[..., World]) -> None:
    world = make_world(start_delay=None)
    one = killed(world, AirflowTask(LONG), "failed")
    assert "SOPS does not revoke what has not started" in one.log
    assert world.fake.count("operate_task") == 0
    assert "may be queued and still take effect" in one.log


def test_one_that_has_just_ended(world: World) -> None:
    task = AirflowTask({**LONG, "poll_interval": 1000, "constants": {"seconds": "10"}})
    one = killed(world, task, "failed", after=60)
    assert "it had ended already" in one.log
    assert task.run().outcome["EXIT"] == "0"


def test_after_the_end_nothing_is_revoked(world: World) -> None:
    one = AirflowTask({"template_id": 101}).run()
    one.operator.on_kill()
    assert world.fake.count("operate_task") == 0


@pytest.mark.parametrize("fault", ["drop", "drop_after"])
def test_one_attempt_and_no_more(world: World, fault: str) -> None:
    world.fake.faults.add("operate_task", kind=fault, times=None)
    one = killed(world, AirflowTask(LONG), "failed")
    assert world.fake.count("operate_task") == 1
    assert "could not be revoked, it may still run" in one.log


def test_an_attempt_takes_four_seconds_at_most(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_kill, "KILL_SECONDS", 0.2)
    answered = threading.Event()

    def hang(when: str, request: Request) -> None:
        if request.api == "operate_task":
            answered.wait(30)

    world.fake.on_request = hang
    one = killed(world, AirflowTask(LONG), "failed")
    answered.set()
    assert "was revoked is not known: no answer within" in one.log or "could not be revoked" in one.log
    assert run_kill.KILL_SECONDS < 5


def test_the_limit_is_below_airflow_s() -> None:
    assert run_kill.KILL_SECONDS == 4.0


def test_a_worker_that_is_gone_revokes_nothing(world: World) -> None:
    world.later(30, die)
    one = AirflowTask(LONG).run()
    assert isinstance(one.error, Died)
    assert list(world.states().values()) == ["RUNNING"]
    assert world.fake.count("operate_task") == 0
