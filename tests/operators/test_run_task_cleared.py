# SPDX-License-Identifier: Apache-2.0
"""A cleared task whose SOPS task runs still, as nobody could be sure of the clear: the next try ends it."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from tests.operators.airflow_task import AirflowTask, Store, Try
from tests.operators.conftest import World

LONG: dict[str, Any] = {"template_id": 103, "constants": {"seconds": "100"}}
STORES = pytest.mark.parametrize("store", [None, Store()], ids=["by its tag", "by the store"])


def deferred(world: World, task: AirflowTask) -> Try:
    """A try that waits in a triggerer, its SOPS task running."""
    one = task.run(deferrable=True)
    assert isinstance(one.error, TaskDeferred)
    world.fake.advance(10)
    return one


@STORES
@pytest.mark.parametrize("paused", [False, True])
def test_the_one_before_is_revoked_and_a_new_one_run(world: World, store: Store | None, paused: bool) -> None:
    task = AirflowTask(LONG, store=store)
    deferred(world, task)
    (first,) = world.started()
    if paused:
        world.fake.operate(first, "pause")
    task.clear(run_has_ended=False)
    one = task.run()
    assert one.outcome["EXIT"] == "0"
    assert list(world.states().values()) == ["REVOKED", "FINISHED"]
    assert f"SOPS task {first} 'deploy run" in one.log
    assert "from before this Airflow task was cleared; it was revoked." in one.log


@STORES
def test_it_is_found_also_after_retries_and_further_clears(world: World, store: Store | None) -> None:
    task = AirflowTask({"template_id": 105}, store=store)
    task.run()
    task.run()  # a retry, which runs a second one
    task.arguments = LONG
    task.clear(run_has_ended=False)
    deferred(world, task)
    task.clear(run_has_ended=False)
    deferred(world, task)
    task.clear(run_has_ended=False)
    assert task.run().outcome["EXIT"] == "0"
    assert list(world.states().values())[-3:] == ["REVOKED", "REVOKED", "FINISHED"]


@STORES
def test_a_retry_takes_it_up(world: World, store: Store | None) -> None:
    task = AirflowTask(LONG, store=store)
    deferred(world, task)
    assert task.run().outcome["EXIT"] == "0"
    assert list(world.states().values()) == ["FINISHED"]


@STORES
def test_what_has_ended_or_failed_is_left_as_it_is(world: World, store: Store | None) -> None:
    task = AirflowTask({"template_id": 105}, store=store, retries=0)
    task.run()
    task.arguments = LONG
    task.clear(run_has_ended=False)
    assert task.run().outcome["EXIT"] == "0"
    assert list(world.states().values()) == ["FAILED", "FINISHED"]
    task.clear(run_has_ended=False)
    assert task.run().outcome["EXIT"] == "0"
    assert world.fake.count("operate_task") == 0


@STORES
def test_with_revoke_on_kill_off_it_runs_on(world: World, store: Store | None) -> None:
    task = AirflowTask({**LONG, "revoke_on_kill": False}, store=store)
    deferred(world, task)
    task.clear(run_has_ended=False)
    task.run()
    assert world.fake.count("operate_task") == 0


@STORES
def test_one_that_cannot_be_revoked_lets_no_second_one_start(world: World, store: Store | None) -> None:
    task = AirflowTask(LONG, store=store)
    deferred(world, task)
    task.clear(run_has_ended=False)
    world.fake.deny("operate_task")
    with pytest.raises(Exception, match="operate_task"):
        task.run().outcome  # noqa: B018
    assert len(world.started()) == 1
    world.fake.grant("operate_task")
    assert task.run().outcome["EXIT"] == "0"
    assert list(world.states().values()) == ["REVOKED", "FINISHED"]


def test_a_first_run_searches_for_nothing_more(world: World) -> None:
    AirflowTask(LONG).run()
    assert world.fake.count("get_task_list") == 2
