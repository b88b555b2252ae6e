# SPDX-License-Identifier: Apache-2.0
"""What a further try does with the SOPS task that it finds: in both modes, with Airflow's state store and without."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_sops.exceptions import (
    SopsApiPermissionException,
    SopsConnectionException,
    SopsIamDeniedException,
    SopsInvalidAnswerException,
    SopsTaskFailedException,
    SopsTaskStoppedException,
)
from airflow_provider_sops.testing import Request
from tests.operators.airflow_task import AirflowTask, Store, Triggerer
from tests.operators.conftest import Died, World, die

TWO_STEPS = {"template_id": 101}
LONG = {"template_id": 103}
FAILS = {"template_id": 106}
FAILS_ONCE_AFTER_A_MINUTE = {"template_id": 120}


class Unwritable(Store):
    """A task state store that can only be read."""

    def set(self, key: str, value: Any) -> None:
        raise RuntimeError("read only")


class Unreadable(Store):
    """A task state store whose backend does not answer."""

    def get(self, key: str, default: Any = None) -> Any:
        raise RuntimeError("the backend is away")


@pytest.fixture(params=["in the worker, with a store", "deferred, without a store"])
def airflow(request: pytest.FixtureRequest, triggerer: Triggerer) -> dict[str, Any]:
    """Where it waits, and whether Airflow has a task state store, which older ones do not have."""
    return {"store": Store()} if "with a store" in request.param else {"triggerer": triggerer}


def dies(world: World, task: AirflowTask, after: float = 30.0) -> int:
    """Run a try whose worker dies while it waits.

    :return: the SOPS task that it has started.
    """
    world.later(after, die)
    one = task.run(deferrable=False)
    assert isinstance(one.error, Died)
    return int(one.ti.xcoms["sops_task_id"])


class TestFound:
    """The rows of the table."""

    def test_none_creates_one(self, world: World, airflow: dict[str, Any]) -> None:
        assert AirflowTask(TWO_STEPS, **airflow).run().outcome["EXIT"] == "0"
        assert len(world.started()) == 1

    def test_created_is_started(self, world: World, airflow: dict[str, Any]) -> None:
        world.fake.deny("start_task")
        task = AirflowTask(TWO_STEPS, **airflow)
        with pytest.raises(SopsApiPermissionException, match="start_task"):
            task.run().outcome  # noqa: B018
        assert list(world.states().values()) == ["CREATED"]
        world.fake.grant("start_task")
        one = task.run()
        assert one.outcome["EXIT"] == "0"
        assert "is there from an earlier try: CREATED" in one.log
        assert len(world.fake.tasks) == 1
        assert len(world.started()) == 1

    def test_running_is_waited_for(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, **airflow)
        first = dies(world, task)
        one = task.run()
        assert one.outcome["EXIT"] == "0"
        assert one.ti.xcoms["sops_task_id"] == first
        assert one.ti.xcoms["sops_task_url"].endswith(f"instance_id={first}")
        assert world.started() == [first]
        assert world.fake.count("create_task") == world.fake.count("start_task") == 1

    def test_suspended_is_waited_for(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, **airflow)
        first = dies(world, task)
        world.fake.operate(first, "pause")
        world.later(60, lambda: world.fake.operate(first, "resume"))
        one = task.run()
        assert one.outcome["EXIT"] == "0"
        assert "from an earlier try: SUSPENDED" in one.log
        assert world.started() == [first]

    def test_a_suspended_node_is_waited_for(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({**LONG, "constants": {"seconds": "1"}}, **airflow)
        world.later(0, lambda: None)
        one = task.next_try()

        def pause_node(when: str, request: Request) -> None:
            if request.api == "start_task" and when == "before":
                sops_task = world.fake.task(request.task_ids[0])
                sops_task.operate_node(world.now, "someone", sops_task.find_id("sleep_long"), "pause")

        world.fake.on_request = pause_node
        world.later(30, die)
        assert isinstance(one.execute().error, Died)
        world.fake.on_request = None
        (first,) = world.started()
        assert world.states()[first] == "NODE_SUSPENDED"
        sops_task = world.fake.task(first)
        world.later(60, lambda: sops_task.operate_node(world.now, "someone", sops_task.find_id("sleep_long"), "resume"))
        assert task.run().outcome["EXIT"] == "0"
        assert world.started() == [first]

    def test_finished_gives_its_outputs(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, **airflow)
        first = dies(world, task)
        world.fake.advance(200)
        one = task.run()
        assert one.outcome["EXIT"] == "0"
        assert world.started() == [first]

    def test_failed_is_rerun(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask(FAILS, **airflow)
        with pytest.raises(SopsTaskFailedException):
            task.run().outcome  # noqa: B018
        (first,) = world.started()
        world.later(1, lambda: None)
        with pytest.raises(SopsTaskFailedException) as caught:
            task.run().outcome  # noqa: B018
        second = caught.value.sops_task_id
        assert world.states() == {first: "REVOKED", second: "FAILED"}
        assert world.started() == [first, second]
        names = [one.name for one in world.fake.tasks]
        assert names[0][:-1] == names[1][:-1]
        assert [name[-2:] for name in names] == ["g1", "g2"]

    def test_failed_and_paused_then_is_rerun_too(self, world: World, airflow: dict[str, Any]) -> None:
        """SOPS says SUSPENDED of it."""
        task = AirflowTask(FAILS, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        (first,) = world.started()
        world.fake.operate(first, "pause")
        assert isinstance(task.run().error, SopsTaskFailedException)
        assert list(world.states().values()) == ["REVOKED", "FAILED"]

    def test_failed_that_a_person_has_repaired_meanwhile_is_used(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask(FAILS, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        (first,) = world.started()
        world.fake.operate_node(first, "call", "skip")
        world.fake.advance(20)
        assert task.run().outcome["EXIT"] == "0"
        assert world.started() == [first]

    def test_failed_that_a_person_repairs_in_the_last_moment_goes_on(
        self, world: World, airflow: dict[str, Any]
    ) -> None:
        task = AirflowTask(FAILS, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        (first,) = world.started()

        reads: list[Request] = []

        def repair(when: str, request: Request) -> None:
            if request.api == "get_task_status" and when == "after":
                reads.append(request)
                if len(reads) == 4:  # twice when it was found, and twice when the next one was created
                    world.fake.operate_node(first, "call", "skip")

        world.fake.on_request = repair
        one = task.run()
        assert one.outcome["EXIT"] == "0"
        assert world.started() == [first]
        assert f"SOPS task {first} goes on after all" in one.log
        assert one.ti.xcoms["sops_task_id"] == first

    def test_failed_that_sops_retries_by_itself_is_waited_for(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({"template_id": 117}, **airflow)
        first = dies(world, task, after=2.0)
        assert world.states()[first] == "FAILED"
        assert task.run().error is None
        assert world.started() == [first]

    def test_failed_that_a_person_may_still_repair_is_waited_for(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({**FAILS, "on_failed": "wait", "failed_grace": 3600}, **airflow)
        first = dies(world, task, after=600)
        assert world.states()[first] == "FAILED"
        world.later(600, lambda: world.fake.operate_node(first, "call", "skip"))
        assert task.run().outcome["EXIT"] == "0"
        assert world.started() == [first]

    def test_revoked_by_a_person_ends_the_retries(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask(LONG, **airflow)
        first = dies(world, task)
        world.fake.operate(first, "revoke")
        with pytest.raises(SopsTaskStoppedException, match="was revoked before this try") as caught:
            task.run().outcome  # noqa: B018
        assert isinstance(caught.value, AirflowFailException)
        assert f"instance_id={first}" in str(caught.value)
        assert world.started() == [first]

    def test_revoked_may_be_an_allowed_end(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({**LONG, "allowed_states": ["FINISHED", "REVOKED"]}, **airflow)
        first = dies(world, task)
        world.fake.operate(first, "revoke")
        assert task.run().outcome == {}
        assert world.started() == [first]

    def test_expired_ends_the_retries(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask(LONG, **airflow)
        first = dies(world, task)
        world.fake.expire_task(first)
        one = task.run()
        with pytest.raises(SopsTaskStoppedException, match="EXPIRED") as caught:
            one.outcome  # noqa: B018
        assert world.started() == [first]
        assert f"instance_id={first}" in str(caught.value)
        assert f"instance_id={first}" in one.ti.xcoms["sops_task_url"]

    def test_deleted_ends_the_retries_where_airflow_remembers_it(self, world: World) -> None:
        task = AirflowTask(LONG, store=Store())
        first = dies(world, task)
        world.fake.delete_task(first)
        with pytest.raises(SopsTaskStoppedException, match="was deleted in SOPS"):
            task.run().outcome  # noqa: B018
        assert world.started() == [first]


class TestRetryFailedNodes:
    ARGUMENTS = {**FAILS_ONCE_AFTER_A_MINUTE, "on_retry": "retry_failed_nodes"}  # noqa: RUF012

    def test_what_has_finished_is_not_run_again(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask(self.ARGUMENTS, **airflow)
        with pytest.raises(SopsTaskFailedException):
            task.run().outcome  # noqa: B018
        began = world.now
        one = task.run()
        assert one.error is None
        assert world.now - began < 60
        (first,) = world.started()
        runs = {node.name: node.runs for node in world.fake.task(first).nodes.values() if node.name}
        slow = next(
            name
            for name, node in ((node.name, node) for node in world.fake.task(first).nodes.values())
            if (node.finish or 0) - (node.start or 0) >= 60
        )
        assert runs[slow] == 1
        assert max(runs.values()) == 2
        assert "what has finished is not run again" in one.log

    def test_of_a_task_that_was_paused_then_they_run_when_it_is_resumed(
        self, world: World, airflow: dict[str, Any]
    ) -> None:
        task = AirflowTask(self.ARGUMENTS, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        (first,) = world.started()
        world.fake.operate(first, "pause")
        world.later(60, lambda: world.fake.operate(first, "resume"))
        one = task.run()
        assert one.error is None
        assert world.started() == [first]
        assert "what has finished is not run again" in one.log

    def test_in_a_subprocess_too(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({"template_id": 115, "on_retry": "retry_failed_nodes"}, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        assert task.run().error is None
        assert len(world.started()) == 1

    def test_a_node_that_may_not_be_retried_is_named(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({"template_id": 119, "on_retry": "retry_failed_nodes"}, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        with pytest.raises(SopsTaskFailedException, match="may not be retried") as caught:
            task.run().outcome  # noqa: B018
        (first,) = world.started()
        (failed,) = [node for node in world.fake.task(first).nodes.values() if node.state == "FAILED"]
        assert f"node {failed.name!r}" in str(caught.value)
        assert failed.runs == 1

    def test_a_node_that_sops_refuses_to_retry_is_named(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask(self.ARGUMENTS, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        (first,) = world.started()
        (failed,) = [node for node in world.fake.task(first).nodes.values() if node.state == "FAILED"]
        world.fake.serve_canned(
            {"operate_node": {"result": False, "code": 3545000, "message": "node cannot be retried"}}
        )
        with pytest.raises(SopsTaskFailedException, match="node cannot be retried") as caught:
            task.run().outcome  # noqa: B018
        assert f"SOPS refuses to retry node {failed.name!r}" in str(caught.value)

    def test_a_node_in_a_task_of_its_own_is_named(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({"template_id": 122, "on_retry": "retry_failed_nodes"}, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        with pytest.raises(SopsTaskFailedException, match="runs as a task of its own"):
            task.run().outcome  # noqa: B018

    def test_an_answer_that_is_lost_is_not_asked_for_blindly(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask(self.ARGUMENTS, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        world.fake.faults.add("operate_node", kind="drop_after")
        assert task.run().error is None
        assert world.fake.count("operate_node") == 1

    def test_one_that_sops_has_not_got_is_sent_again(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask(self.ARGUMENTS, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        world.fake.faults.add("operate_node", kind="drop")
        assert task.run().error is None
        assert world.fake.count("operate_node") == 2


class TestSearch:
    def test_of_several_the_lowest_is_started_and_the_others_are_named(self, world: World) -> None:
        def twin(when: str, request: Request) -> None:
            if request.api == "create_task" and when == "before":
                world.fake.create_task(101, name=request.params["name"], start=False)

        world.fake.on_request = twin
        one = AirflowTask(TWO_STEPS).run()
        assert one.outcome["EXIT"] == "0"
        first, second = world.fake.tasks
        assert world.started() == [first.id]
        assert one.ti.xcoms["sops_task_id"] == first.id
        assert f"SOPS task {second.id} '{second.name}' was created for the same run as task {first.id}" in one.log
        assert "stays CREATED for ever" in one.log

    def test_one_that_was_started_counts_more_than_a_lower_id(self, world: World) -> None:
        task = AirflowTask(LONG)
        first = dies(world, task)
        name = world.fake.task(first).name
        twin = world.fake.create_task(103, name=name, start=False)
        world.fake.site.tasks[first - 1] = world.fake.site.tasks.pop(twin)
        world.fake.site.tasks[first - 1].id = first - 1
        world.later(30, die)
        one = task.run()
        assert one.ti.xcoms["sops_task_id"] == first
        assert world.started() == [first]

    def test_one_whose_start_is_queued_counts_more_too_where_it_is_remembered(self, make_world: Any) -> None:
        world = make_world(start_delay=None)
        task = AirflowTask({**LONG, "start_timeout": 30}, store=Store())
        task.run()
        (first,) = world.fake.tasks
        twin = world.fake.create_task(103, name=first.name, start=False)
        world.fake.site.tasks[first.id - 1] = world.fake.site.tasks.pop(twin)
        world.fake.site.tasks[first.id - 1].id = first.id - 1
        one = task.run()
        assert one.ti.xcoms["sops_task_id"] == first.id

    def test_others_that_hold_the_tag_are_not_taken(self, world: World) -> None:
        probe = AirflowTask(LONG)
        first = dies(world, probe)
        name = world.fake.task(first).name
        world.fake.delete_task(first)
        for other in (f"{name}_clone", f"{name}x", name.replace(" af", " xaf"), name.upper()):
            world.fake.create_task(101, name=other)
        world.fake.task(world.fake.create_task(101, name=name)).create_method = "app"
        world.fake.task(world.fake.create_task(101, name=name)).is_child = True
        world.later(30, die)
        one = probe.run()
        assert isinstance(one.error, Died)
        assert one.ti.xcoms["sops_task_id"] == world.fake.tasks[-1].id
        assert world.fake.tasks[-1].name == name

    def test_it_is_found_behind_any_number_of_others(self, world: World) -> None:
        probe = AirflowTask(LONG)
        first = dies(world, probe)
        for _ in range(201):  # an answer of SOPS has no more than 200
            world.fake.task(world.fake.create_task(101, name=world.fake.task(first).name)).create_method = "app"
        world.later(30, die)
        one = probe.run()
        assert isinstance(one.error, Died)
        assert one.ti.xcoms["sops_task_id"] == first

    def test_a_created_task_that_does_not_show_is_not_started(self, world: World) -> None:
        world.fake.serve_canned({"get_task_list": {"result": True, "code": 0, "data": []}})
        with pytest.raises(SopsInvalidAnswerException, match="get_task_list does not show SOPS task"):
            AirflowTask(TWO_STEPS).run().outcome  # noqa: B018
        assert world.started() == []

    def test_one_that_shows_late_is(self, world: World) -> None:
        empty = (200, {"result": True, "code": 0, "data": []})
        world.fake.faults.add("get_task_list", kind="function", function=lambda request: empty, times=3)
        assert AirflowTask(TWO_STEPS).run().outcome["EXIT"] == "0"

    @pytest.mark.parametrize("refusal", ["gateway", "iam", "absent"])
    def test_without_it_a_first_try_warns_and_a_retry_starts_nothing(
        self, make_world: Callable[..., World], refusal: str
    ) -> None:
        rights = ["flow_view", "flow_create_task", "task_view", "task_operate"]
        world = make_world(users={"admin": rights}) if refusal == "iam" else make_world()
        if refusal == "gateway":
            world.fake.deny("get_task_list")
        elif refusal == "absent":
            world.fake.remove_api("get_task_list")
        task = AirflowTask(LONG)
        world.later(30, die)
        one = task.run()
        lacks = "This site does not have get_task_list (SOPS has it since 3.6.22)"
        what = lacks if refusal == "absent" else "The app may not call get_task_list"
        assert f"{what}: this first try goes on" in one.log
        (first,) = world.started()
        with pytest.raises(
            (SopsApiPermissionException, SopsIamDeniedException, Exception), match="it has started nothing"
        ):
            task.run().outcome  # noqa: B018
        assert world.started() == [first]

    def test_without_it_airflow_s_own_store_does(self, world: World) -> None:
        world.fake.deny("get_task_list")
        store = Store()
        task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, store=store)
        first = dies(world, task)
        assert json.loads(json.dumps(store.values)) == store.values
        assert task.run().outcome["EXIT"] == "0"
        assert world.started() == [first]

    def test_without_it_but_with_a_store_a_try_that_died_before_the_start_leaves_nothing_running(
        self, world: World
    ) -> None:
        world.fake.deny("get_task_list", "start_task")
        task = AirflowTask(TWO_STEPS, store=Store())
        assert isinstance(task.run().error, SopsApiPermissionException)
        world.fake.grant("start_task")
        assert task.run().outcome["EXIT"] == "0"
        assert len(world.started()) == 1

    def test_with_it_a_store_that_cannot_be_written_does_no_harm(self, world: World) -> None:
        task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, store=Unwritable())
        first = dies(world, task)
        one = task.run()
        assert one.outcome["EXIT"] == "0"
        assert "task state store cannot be written: read only" in one.log
        assert world.started() == [first]

    @pytest.mark.parametrize("broken", ["unreadable", {"tag": "x"}, {"tag": "x", "generation": 1, "sops_task_id": "y"}])
    def test_with_it_a_store_that_tells_nothing_does_no_harm(self, world: World, broken: Any) -> None:
        store = Unreadable() if broken == "unreadable" else Store()
        task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, store=store)
        first = dies(world, task)
        store.values["sops_task"] = broken
        one = task.run()
        assert one.outcome["EXIT"] == "0"
        told = "cannot be read: the backend" if broken == "unreadable" else "holds something else under 'sops_task'"
        assert f"Airflow's task state store {told}" in one.log
        assert world.started() == [first]

    def test_without_it_such_a_store_leaves_nothing_running(self, world: World) -> None:
        world.fake.deny("get_task_list")
        with pytest.raises(RuntimeError, match="read only"):
            AirflowTask(LONG, store=Unwritable()).run().outcome  # noqa: B018
        assert world.started() == []

    def test_without_it_a_failed_one_is_rerun_with_a_store(self, world: World) -> None:
        world.fake.deny("get_task_list")
        task = AirflowTask(FAILS, store=Store())
        assert isinstance(task.run().error, SopsTaskFailedException)
        assert isinstance(task.run().error, SopsTaskFailedException)
        assert sorted(world.states().values()) == ["FAILED", "REVOKED"]
        assert len(world.started()) == 2


class TestIdentity:
    def test_a_retry_after_an_edit_of_retries_is_a_retry(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, retries=2, **airflow)
        first = dies(world, task)
        task.retries = 5
        second = dies(world, task)
        task.retries = 1
        assert task.run().outcome["EXIT"] == "0"
        assert first == second
        assert world.started() == [first]

    @pytest.mark.parametrize("edited", [("new", "reattach"), ("reattach", "new")])
    def test_a_retry_after_an_edit_of_on_clear_is_a_retry(self, world: World, edited: tuple[str, str]) -> None:
        task = AirflowTask({**LONG, "constants": {"seconds": "100"}, "on_clear": edited[0]})
        first = dies(world, task)
        assert task.run(on_clear=edited[1]).outcome["EXIT"] == "0"
        assert world.started() == [first]

    @pytest.mark.parametrize(
        "other",
        [
            {"dag_id": "deploy2"},
            {"run_id": "manual__2026-11-22T00:00:00+00:00"},
            {"task_id": "run2"},
            {"map_index": 0},
            {"run_start": datetime.datetime(2026, 11, 22, 1, 2, 3, 4, tzinfo=datetime.UTC)},
        ],
    )
    def test_two_never_meet(self, world: World, other: dict[str, Any]) -> None:
        start = datetime.datetime(2026, 11, 22, 1, 2, 3, 5, tzinfo=datetime.UTC)
        one, two = AirflowTask(LONG, run_start=start), AirflowTask(LONG, **{"run_start": start, **other})
        tasks = [dies(world, one), dies(world, two), dies(world, one), dies(world, two)]
        assert tasks[:2] == tasks[2:]
        assert len(set(tasks)) == 2

    def test_the_zone_of_the_start_means_nothing(self, world: World) -> None:
        start = datetime.datetime(2026, 11, 22, 1, 2, 3, 4, tzinfo=datetime.UTC)
        task = AirflowTask(LONG, run_start=start)
        first = dies(world, task)
        task.run_start = start.astimezone(datetime.timezone(datetime.timedelta(hours=8)))
        assert dies(world, task) == first

    def test_mapped_instances_of_both_numbers(self, world: World) -> None:
        tasks = [AirflowTask(LONG, map_index=index, task_id=name) for name, index in (("a", 11), ("a1", 1), ("a", 1))]
        assert len({dies(world, task) for task in tasks}) == 3


class TestCleared:
    @pytest.mark.parametrize("run_has_ended", [True, False])
    def test_one_that_was_successful_runs_a_new_one(
        self, world: World, airflow: dict[str, Any], run_has_ended: bool
    ) -> None:
        task = AirflowTask(TWO_STEPS, **airflow)
        assert task.run().error is None
        task.clear(run_has_ended=run_has_ended)
        assert task.run().error is None
        assert len(world.started()) == 2
        assert len(world.fake.tasks) == 2

    @pytest.mark.parametrize("run_has_ended", [True, False])
    def test_reattached_it_runs_none(self, world: World, airflow: dict[str, Any], run_has_ended: bool) -> None:
        task = AirflowTask({**TWO_STEPS, "on_clear": "reattach"}, **airflow)
        assert task.run().error is None
        for _ in range(2):
            task.clear(run_has_ended=run_has_ended)
            assert task.run().outcome["EXIT"] == "0"
        assert len(world.started()) == len(world.fake.tasks) == 1

    def test_reattached_after_a_person_has_repaired_it(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({**FAILS, "on_clear": "reattach"}, retries=0, **airflow)
        assert isinstance(task.run().error, SopsTaskFailedException)
        (first,) = world.started()
        world.fake.operate_node(first, "call", "skip")
        task.clear()
        assert task.run().outcome["EXIT"] == "0"
        assert world.started() == [first]

    def test_reattached_to_one_that_still_runs(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({**LONG, "constants": {"seconds": "100"}, "on_clear": "reattach"}, **airflow)
        first = dies(world, task)
        task.clear()
        second = dies(world, task)
        assert task.run().outcome["EXIT"] == "0"
        assert first == second
        assert world.started() == [first]

    def test_reattached_to_the_last_generation(self, world: World, airflow: dict[str, Any]) -> None:
        task = AirflowTask({**FAILS, "on_clear": "reattach"}, **airflow)
        task.run()
        task.run()
        first, second = world.started()
        world.fake.operate_node(second, "call", "skip")
        task.clear()
        one = task.run()
        assert one.outcome["EXIT"] == "0"
        assert one.ti.xcoms["sops_task_id"] == second
        assert world.started() == [first, second]

    def test_what_was_revoked_before_the_clear_is_run_anew(self, world: World, airflow: dict[str, Any]) -> None:
        """As after a kill, or by a person: clearing is the later word."""
        task = AirflowTask({**LONG, "on_clear": "reattach", "constants": {"seconds": "100"}}, **airflow)
        first = dies(world, task)
        world.fake.operate(first, "revoke")
        assert isinstance(task.run().error, SopsTaskStoppedException)
        task.clear()
        second = dies(world, task)
        assert world.started() == [first, second]
        world.fake.operate(second, "revoke")
        assert isinstance(task.run().error, SopsTaskStoppedException)

    def test_a_retry_takes_up_nothing_of_another_run(self, world: World, airflow: dict[str, Any]) -> None:
        """Another Airflow, or a deleted run of the same id, whose task was not cleared."""
        arguments = {**LONG, "on_clear": "reattach", "constants": {"seconds": "100"}}
        start = datetime.datetime.now(datetime.UTC)
        assert AirflowTask(arguments, run_start=start).run().error is None
        other = AirflowTask(arguments, run_start=start + datetime.timedelta(seconds=1), **airflow)
        world.fake.deny("create_task")
        assert isinstance(other.run().error, SopsApiPermissionException)
        world.fake.grant("create_task")
        assert other.run().outcome["EXIT"] == "0"
        assert len(world.started()) == 2

    def test_after_success_it_is_new_whatever_the_numbers_say(self, world: World) -> None:
        """With ``retries`` edited in between, ``max_tries`` may be what it was before the clear."""
        task = AirflowTask(TWO_STEPS, retries=3, store=Store())
        assert task.run().error is None
        task.retries = 2
        task.clear(run_has_ended=False)
        assert task.max_tries == 3
        assert task.run().error is None
        assert len(world.started()) == 2

    def test_reattached_without_any_it_creates_one(self, world: World, airflow: dict[str, Any]) -> None:
        world.fake.deny("create_task")
        task = AirflowTask({**TWO_STEPS, "on_clear": "reattach"}, **airflow)
        assert isinstance(task.run().error, SopsApiPermissionException)
        world.fake.grant("create_task")
        task.clear()
        assert task.run().outcome["EXIT"] == "0"

    def test_a_first_try_takes_up_nothing(self, world: World) -> None:
        """Another Airflow, or a deleted run of the same id."""
        one = AirflowTask({**LONG, "on_clear": "reattach"}, store=Store())
        other = AirflowTask(
            {**LONG, "on_clear": "reattach"}, store=Store(), run_start=datetime.datetime.now(datetime.UTC)
        )
        assert dies(world, one) != dies(world, other)
        assert dies(world, one) != dies(world, other)


class TestLostAnswers:
    @pytest.mark.parametrize("fault", ["drop_after", "truncate"])
    def test_of_create(self, world: World, fault: str) -> None:
        world.fake.faults.add("create_task", kind=fault)
        assert AirflowTask(TWO_STEPS).run().outcome["EXIT"] == "0"
        assert len(world.fake.tasks) == len(world.started()) == 1

    def test_of_start(self, world: World) -> None:
        world.fake.faults.add("start_task", kind="drop_after")
        one = AirflowTask(TWO_STEPS).run()
        assert one.outcome["EXIT"] == "0"
        assert len(world.started()) == 1
        assert "Whether SOPS task" in one.log

    def test_a_start_that_sops_has_not_got_is_sent_again(self, world: World) -> None:
        world.fake.faults.add("start_task", kind="drop")
        assert AirflowTask(TWO_STEPS).run().outcome["EXIT"] == "0"
        assert len(world.started()) == 1

    def test_a_create_that_sops_has_not_got_is_left_to_a_retry(self, world: World) -> None:
        world.fake.faults.add("create_task", kind="drop")
        task = AirflowTask(TWO_STEPS)
        with pytest.raises(SopsConnectionException, match="A retry searches for it first"):
            task.run().outcome  # noqa: B018
        assert world.fake.tasks == []
        assert task.run().outcome["EXIT"] == "0"
        assert len(world.started()) == 1

    def test_a_create_that_takes_effect_after_the_retry_has_searched(self, world: World) -> None:
        world.fake.faults.add("create_task", kind="delayed_effect")
        task = AirflowTask(TWO_STEPS)
        assert isinstance(task.run().error, SopsConnectionException)

        def effect(when: str, request: Request) -> None:
            if request.api == "create_task" and when == "before":
                world.fake.release()

        world.fake.on_request = effect
        one = task.run()
        assert one.outcome["EXIT"] == "0"
        first, second = world.fake.tasks
        assert world.started() == [first.id]
        assert f"SOPS task {second.id}" in one.log

    def test_one_that_takes_effect_after_the_second_search(self, world: World) -> None:
        world.fake.faults.add("create_task", kind="delayed_effect")
        task = AirflowTask(LONG)
        assert isinstance(task.run().error, SopsConnectionException)
        first = dies(world, task)
        world.fake.release()
        assert len(world.fake.tasks) == 2
        assert dies(world, task) == first
        assert world.started() == [first]

    def test_a_start_that_takes_effect_late(self, world: World) -> None:
        world.fake.faults.add("start_task", kind="delayed_effect", times=3)
        task = AirflowTask({**TWO_STEPS, "start_timeout": 30})
        with pytest.raises(Exception, match="may still start later"):
            task.run().outcome  # noqa: B018
        one = task.next_try()

        def effect(when: str, request: Request) -> None:
            if request.api == "start_task" and when == "before":
                world.fake.release()
                world.fake.advance(1)

        world.fake.on_request = effect
        assert one.execute().outcome["EXIT"] == "0"
        assert len(world.fake.tasks) == len(world.started()) == 1

    @pytest.mark.parametrize("fault", ["drop_after", "drop"])
    def test_of_the_revoke_before_a_rerun(self, world: World, fault: str) -> None:
        task = AirflowTask(FAILS)
        assert isinstance(task.run().error, SopsTaskFailedException)
        world.fake.faults.add("operate_task", kind=fault)
        assert isinstance(task.run().error, SopsTaskFailedException)
        assert sorted(world.states().values()) == ["FAILED", "REVOKED"]

    def test_a_rerun_that_was_broken_off_is_gone_on_with(self, world: World) -> None:
        """The new generation was created, the failed one not yet revoked."""
        task = AirflowTask(FAILS)
        assert isinstance(task.run().error, SopsTaskFailedException)
        world.fake.deny("operate_task")
        assert isinstance(task.run().error, SopsApiPermissionException)
        assert sorted(world.states().values()) == ["CREATED", "FAILED"]
        world.fake.grant("operate_task")
        assert isinstance(task.run().error, SopsTaskFailedException)
        first, second = world.fake.tasks
        assert (first.state, second.state) == ("REVOKED", "FAILED")
        assert world.started() == [first.id, second.id]
