# SPDX-License-Identifier: Apache-2.0
"""Running and operating on a SOPS that drops parameters, refuses long names or does not have an API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.exceptions import (
    SopsApiPermissionException,
    SopsConfigException,
    SopsConnectionException,
    SopsException,
    SopsInvalidAnswerException,
    SopsInvalidOperationException,
    SopsInvalidParameterException,
    SopsTaskFailedException,
    SopsTimedOutException,
)
from airflow_provider_sops.hooks.sops import SopsHook
from airflow_provider_sops.testing import Request, endpoints
from airflow_provider_sops.testing.answers.tasks import task_detail
from airflow_provider_sops.testing.answers.tree import pipeline_tree
from tests.hostile import refuse
from tests.operators.airflow_task import AirflowTask, Store, Triggerer, Try
from tests.operators.conftest import Died, World, die
from tests.operators.test_operate import operate_node, running

TWO_STEPS, LONG, FAILS = {"template_id": 101}, {"template_id": 103}, {"template_id": 106}
NODES = ("show vars", "sleep1", "sleep2")


def drop_parameters(world: World, *dropped: str, says_which: bool = True) -> None:
    """Let SOPS drop parameters of ``create_task`` without a word.

    :param says_which: its tasks say which node of the template each of theirs is.
    """
    site = world.fake.site

    def tree_of(task: Any) -> dict[str, Any]:
        tree = pipeline_tree(task)
        for node in tree["activities"].values():
            if not says_which:
                del node["template_node_id"]
        return tree

    def create(request: Request) -> tuple[int, Any]:
        given = {name: value for name, value in request.params.items() if name not in dropped}
        with site.lock:
            template = site.template(int(request.path.split("/")[-3]))
            task = site.create_task(
                name=given["name"],
                project_id=world.fake.project_id,
                graph=site.graph(template, given.get("exclude_task_nodes_id", ())),
                constants=given.get("constants", {}),
                user="admin",
                template=template,
            )
            data = {"task_id": task.id, "task_url": site.task_url(task), "pipeline_tree": tree_of(task)}
        return 200, {"result": True, "data": data, "code": 0}

    def detail(request: Request) -> tuple[int, Any]:
        task = world.fake.task(request.task_ids[0])
        project = site.projects[task.project_id]
        data = task_detail(task, project, site.task_url(task), world.now) | {"pipeline_tree": tree_of(task)}
        return 200, {"result": True, "data": data, "code": 0}

    world.fake.faults.add("create_task", kind="function", function=create, times=None)
    world.fake.faults.add("get_task_detail", kind="function", function=detail, times=None)


def lacks(world: World, *apis: str) -> None:
    """Let SOPS not have APIs: it redirects them to its home page."""
    for api in apis:
        world.fake.faults.add(api, kind="redirect", location="/", times=None)


def lacks_through_esb(world: World, *apis: str) -> None:
    """Let SOPS not have APIs: the ESB tells of the redirect in words of its own."""
    for api in apis:
        reply = endpoints.through_esb(endpoints.page_not_found(f"{world.fake.url}/{api}/"), api)
        answer = (reply.status, reply.body)
        world.fake.faults.add(api, kind="function", times=None, function=lambda request, answer=answer: answer)


def error_of(one: Try) -> str:
    """The text of what a try has failed with."""
    assert one.error is not None
    return str(one.error)


@pytest.fixture(params=["in the worker, with a store", "deferred, without a store"])
def airflow(request: pytest.FixtureRequest, triggerer: Triggerer) -> dict[str, Any]:
    """Where it waits, and whether Airflow has a task state store."""
    return {"store": Store()} if "with a store" in request.param else {"triggerer": triggerer}


@pytest.mark.parametrize("says_which", [True, False], ids=["says which node is which", "does not"])
class TestDropped:
    def test_nodes_to_run_are_not_started_with_others(
        self, world: World, airflow: dict[str, Any], says_which: bool
    ) -> None:
        drop_parameters(world, "execute_task_nodes_id", says_which=says_which)
        task = AirflowTask({**TWO_STEPS, "execute_task_nodes_id": ["sleep1"]}, **airflow)
        for _ in range(2):  # a retry finds it, and does not start it either
            one = task.run()
            assert isinstance(one.error, SopsConfigException)
            (made,) = world.fake.tasks
            text = error_of(one)
            assert text.startswith(f"execute_task_nodes_id: SOPS task {made.id}")
            assert "is not started: it would run 'show vars', 'sleep2', which was not wanted." in text
            assert "SOPS has execute_task_nodes_id since 3.9.2" in text
            assert "exclude_task_nodes_id, which every SOPS has" in text
            assert "clear the Airflow task" in text
            assert made.state == "CREATED"
        assert world.fake.count("start_task") == world.fake.count("operate_task") == 0
        task.arguments = {**TWO_STEPS, "exclude_task_nodes_id": ["show vars", "sleep2"]}
        task.clear()
        task.run()
        assert [len(one.starts) for one in world.fake.tasks] == [0, 1]
        assert [node.name for node in world.fake.tasks[1].nodes.values() if node.name] == ["sleep1"]

    def test_what_every_sops_knows_runs(self, world: World, airflow: dict[str, Any], says_which: bool) -> None:
        drop_parameters(world, "execute_task_nodes_id", says_which=says_which)
        given = {"exclude_task_nodes_id": ["sleep2"], "constants": {"IP": "10.0.0.1"}}
        assert AirflowTask({**TWO_STEPS, **given}, **airflow).run().outcome["IP"] == "10.0.0.1"

    def test_a_created_task_of_an_earlier_try_is_started(self, world: World, says_which: bool) -> None:
        drop_parameters(world, "execute_task_nodes_id", says_which=says_which)
        world.fake.deny("start_task")
        task = AirflowTask({**TWO_STEPS, "exclude_task_nodes_id": ["sleep2"], "constants": {"IP": "10.0.0.1"}})
        assert isinstance(task.run().error, SopsApiPermissionException)
        world.fake.grant("start_task")
        assert task.run().outcome["IP"] == "10.0.0.1"
        assert len(world.fake.tasks) == 1

    def test_one_of_two_of_a_name(self, make_world: Callable[..., World], tmp_path: Path, says_which: bool) -> None:
        node = 'name = "twin"\nplugin = "bk_display"\ninputs = { bk_display_message = "" }\n'
        file = tmp_path / "twins.toml"
        file.write_text(
            '[[template]]\nid = 1\nname = "twins"\n'
            f'[[template.node]]\nkey = "a"\n{node}[[template.node]]\nkey = "b"\n{node}'
        )
        world = make_world(templates=file)
        drop_parameters(world, "execute_task_nodes_id", says_which=says_which)
        first, second = world.fake.site.templates[1].graph.tree["activities"]
        AirflowTask({"template_id": 1, "exclude_task_nodes_id": [first]}).run().outcome  # noqa: B018
        one = AirflowTask({"template_id": 1, "execute_task_nodes_id": [second]}, run_id="other").run()
        assert "it would run 'twin', which was not wanted" in error_of(one)


class TestCompared:
    def test_a_retry_that_may_not_look_starts_nothing(self, world: World) -> None:
        drop_parameters(world, "execute_task_nodes_id")
        task = AirflowTask({**TWO_STEPS, "execute_task_nodes_id": ["sleep1"]})
        assert isinstance(task.run().error, SopsConfigException)
        world.fake.faults.clear()
        world.fake.deny("get_task_detail")
        one = task.run()
        assert isinstance(one.error, SopsApiPermissionException)
        assert "this retry cannot compare the nodes of SOPS task" in error_of(one)
        assert "Grant the API, or clear the Airflow task" in error_of(one)
        assert world.started() == []

    def test_nor_one_whose_sops_does_not_tell(self, world: World) -> None:
        drop_parameters(world, "execute_task_nodes_id")
        task = AirflowTask({**TWO_STEPS, "execute_task_nodes_id": ["sleep1"]})
        assert isinstance(task.run().error, SopsConfigException)
        world.fake.faults.clear()
        (made,) = world.fake.tasks
        data = {"id": made.id, "name": made.name, "outputs": []}
        world.fake.serve_canned({"get_task_detail": {"result": True, "data": data}})
        one = task.run()
        assert isinstance(one.error, SopsInvalidAnswerException)
        assert "SOPS has it since 3.3.10" in error_of(one)
        assert world.started() == []

    @pytest.mark.parametrize(("dropped", "starts"), [((), 1), (("template_schemes_id",), 0)])
    def test_schemes(self, world: World, dropped: tuple[str, ...], starts: int) -> None:
        (scheme,) = world.fake.site.templates[101].schemes
        if dropped:
            drop_parameters(world, *dropped)
        task = AirflowTask({**TWO_STEPS, "template_schemes_id": scheme.id})
        for _ in range(2):
            one = task.run()
        assert [len(made.starts) for made in world.fake.tasks] == [starts]
        if dropped:
            assert "it would run 'sleep2', which was not wanted" in error_of(one)
            assert "SOPS has template_schemes_id since 3.24.0" in error_of(one)

    def test_schemes_that_may_not_be_read_are_not_compared(self, world: World) -> None:
        world.fake.deny("get_template_schemes")
        (scheme,) = world.fake.site.templates[101].schemes
        one = AirflowTask({**TWO_STEPS, "template_schemes_id": [scheme.id]}).run()
        assert one.error is None
        assert "Whether SOPS has taken template_schemes_id is not checked." in one.log

    @pytest.mark.parametrize("kept", [True, False])
    def test_a_value_that_was_not_taken(self, world: World, airflow: dict[str, Any], kept: bool) -> None:
        drop_parameters(world, *(() if kept else ("constants",)))
        task = AirflowTask({**TWO_STEPS, "constants": {"IP": "10.0.0.1", "EXIT": 0}}, **airflow)
        for _ in range(2):
            one = task.run()
            if kept:
                assert one.outcome["IP"] == "10.0.0.1"
                continue
            assert isinstance(one.error, SopsConfigException)
            assert error_of(one).startswith("constants: SOPS task ")
            assert "does not have the value given to ${IP}." in error_of(one)
            assert "10.0.0.1" not in error_of(one)
            assert world.started() == []

    def test_a_value_that_an_earlier_try_has_given_is_kept(self, world: World) -> None:
        world.fake.deny("start_task")
        task = AirflowTask({**TWO_STEPS, "constants": {"IP": "10.0.0.1"}})
        assert isinstance(task.run().error, SopsApiPermissionException)
        world.fake.grant("start_task")
        one = task.run(constants={"IP": "10.0.0.2"})
        assert one.outcome["IP"] == "10.0.0.1"
        assert "was created with other values of ${IP}; it keeps them." in one.log

    def test_what_sops_drops_is_named_where_the_template_may_not_be_read(self, world: World) -> None:
        world.fake.deny("get_template_info")
        one = AirflowTask({**TWO_STEPS, "constants": {"IPP": "1"}}).run()
        assert one.error is None
        assert "has no ${IPP}: no node that runs refers to it, or the template has not." in one.log

    def test_without_nodes_and_constants_nothing_is_read_for_it(self, world: World) -> None:
        world.fake.deny("start_task")
        task = AirflowTask(TWO_STEPS)
        task.run()
        world.fake.grant("start_task")
        world.fake.clear_requests()
        task.run().outcome  # noqa: B018
        apis = [request.api for request in world.fake.requests]
        assert "get_template_info" not in apis
        assert apis.index("start_task") < apis.index("get_task_detail")


class TestName:
    def short_names(self, world: World) -> None:
        """Let SOPS refuse names of more than fifty characters."""

        def check(request: Request) -> tuple[int, Any] | None:
            name = request.params["name"]
            message = f"task params is invalid: {name!r} is too long"
            return (200, {"result": False, "message": message, "code": 3540000}) if len(name) > 50 else None

        world.fake.faults.add("create_task", kind="function", function=check, times=None)

    @pytest.mark.parametrize("on_clear", ["new", "reattach"])
    def test_a_long_one_is_cut_further_where_it_is_refused(self, world: World, on_clear: str) -> None:
        self.short_names(world)
        task = AirflowTask({**LONG, "task_name": "发布" * 60, "on_clear": on_clear, "constants": {"seconds": "100"}})
        world.later(30, die)
        assert isinstance(task.run().error, Died)
        (first,) = world.fake.tasks
        assert len(first.name) == 50
        assert first.name.startswith("发布")
        assert first.name.endswith("g1")
        assert [len(one.params["name"]) for one in world.fake.requests if one.api == "create_task"] == [100, 50]
        assert task.run().outcome["EXIT"] == "0"
        assert world.started() == [first.id]

    def test_a_short_one_is_sent_once(self, world: World) -> None:
        self.short_names(world)
        assert AirflowTask({**TWO_STEPS, "task_name": "release 7"}).run().error is None
        assert world.fake.count("create_task") == 1

    def test_another_refusal_stays_what_it_is(self, world: World) -> None:
        world.fake.faults.add("create_task", **refuse("task params is invalid: flow_type", 3540000))
        one = AirflowTask({**TWO_STEPS, "task_name": "x" * 60}).run()
        assert isinstance(one.error, SopsInvalidParameterException)
        assert world.fake.count("create_task") == 2
        assert world.fake.tasks == []

    def test_a_user_s_own_is_not_cut(self, world: World) -> None:
        self.short_names(world)
        with pytest.raises(SopsInvalidParameterException) as caught:
            SopsHook().create_task(101, "x" * 60)
        assert "Its name has 60 characters; a task's has at most 100 characters, 50 before SOPS 3.6.31." in str(
            caught.value
        )


class TestWithoutList:
    """SOPS before 3.6.22."""

    @pytest.fixture(params=["a redirect", "the gateway's word", "the ESB's word"])
    def old(self, request: pytest.FixtureRequest, world: World, connect: Callable[..., None]) -> World:
        if request.param == "a redirect":
            lacks(world, "get_task_list")
        elif request.param == "the ESB's word":
            connect(world.fake, "esb")
            lacks_through_esb(world, "get_task_list")
        else:
            world.fake.remove_api("get_task_list")
        self.count(world, self.honest)
        return world

    @staticmethod
    def honest(world: World, part: str) -> int:
        return sum(part in task.name for task in world.fake.tasks)

    def count(self, world: World, count: Callable[[World, str], int]) -> None:
        """Let SOPS count tasks."""

        def answer(request: Request) -> tuple[int, Any]:
            assert request.params["group_by"] == "status"
            part = request.params.get("conditions", {}).get("pipeline_instance__name__contains", "")
            return 200, {"result": True, "data": {"total": count(world, part), "groups": []}}

        world.fake.faults.add("query_task_count", kind="function", function=answer, times=None)

    def not_counted(self, world: World) -> None:
        world.fake.faults.clear()
        lacks(world, "get_task_list", "query_task_count")

    def test_a_first_try_goes_on_and_says_what_the_site_lacks(self, old: World) -> None:
        one = AirflowTask(TWO_STEPS).run()
        assert one.outcome["EXIT"] == "0"
        assert "This site does not have get_task_list (SOPS has it since 3.6.22): this first try goes on" in one.log
        assert len(old.started()) == 1

    def test_a_retry_that_counts_one_starts_nothing(self, old: World) -> None:
        task = AirflowTask(LONG)
        old.later(30, die)
        assert isinstance(task.run().error, Died)
        (first,) = old.started()
        one = task.run()
        assert isinstance(one.error, SopsException)
        text = error_of(one)
        assert "This site does not have get_task_list (SOPS has it since 3.6.22)." in text
        assert "it has started nothing. SOPS counts 1 with the tag 'af" in text
        assert "Trigger a new DAG run once you know that none is running; on Airflow 3.3" in text
        assert "Grant the API" not in text.split("it has started nothing")[1]
        assert old.started() == [first]
        assert len(old.fake.tasks) == 1

    def test_a_retry_that_counts_none_runs_one(self, old: World) -> None:
        old.fake.faults.add("create_task", kind="drop")
        task = AirflowTask(TWO_STEPS)
        assert isinstance(task.run().error, SopsConnectionException)
        assert old.fake.tasks == []
        one = task.run()
        assert one.outcome["EXIT"] == "0"
        assert "so that no earlier try has created one" in one.log
        assert len(old.started()) == 1

    def test_with_a_store_a_retry_goes_on(self, old: World) -> None:
        task = AirflowTask({**LONG, "constants": {"seconds": "100"}}, store=Store())
        old.later(30, die)
        assert isinstance(task.run().error, Died)
        (first,) = old.started()
        assert task.run().outcome["EXIT"] == "0"
        assert old.started() == [first]
        assert old.fake.count("query_task_count") == 0

    @pytest.mark.parametrize("says", [0, 7])
    def test_a_count_that_does_not_look_at_the_name_proves_nothing(self, world: World, says: int) -> None:
        lacks(world, "get_task_list")
        self.count(world, lambda world, part: says)
        world.fake.faults.add("create_task", kind="drop")
        task = AirflowTask(TWO_STEPS)
        assert isinstance(task.run().error, SopsConnectionException)
        one = task.run()
        assert isinstance(one.error, SopsInvalidAnswerException)
        text = error_of(one)
        assert ("query_task_count gives 0 for the tag" if says == 0 else "SOPS counts 7 with the tag") in text
        assert len(world.fake.tasks) == (says == 0)
        assert world.started() == []

    @pytest.mark.parametrize("data", [[], {}, {"total": "1"}, {"total": True}, {"total": -1}], ids=str)
    def test_a_count_that_is_none(self, world: World, data: Any) -> None:
        lacks(world, "get_task_list")
        answer = (200, {"result": True, "data": data})
        world.fake.faults.add("query_task_count", kind="function", function=lambda request: answer, times=None)
        task = AirflowTask(TWO_STEPS)
        assert task.run().error is None
        one = task.run()
        assert "Nor can the tasks be counted. query_task_count: the answer is not one of SOPS': " in one.log
        assert "it has started nothing" in error_of(one)
        assert len(world.started()) == 1

    def test_of_two_tries_at_once_none_starts_blindly(self, old: World) -> None:
        """Airflow has given up a try that runs on, and creates its SOPS task late."""
        old.fake.faults.add("create_task", kind="drop")
        task = AirflowTask(TWO_STEPS)
        task.run()
        zombie = task.next_try()

        def create_too(when: str, request: Request) -> None:
            if (when, request.api) == ("after", "create_task"):
                old.fake.on_request = None
                old.fake.create_task(101, name=request.params["name"], start=False)

        old.fake.on_request = create_too
        one = zombie.execute()
        assert isinstance(one.error, SopsInvalidAnswerException)
        assert "gives 2 for the tag" in error_of(one)
        assert old.started() == []

    def test_so_it_is_on_a_first_try(self, old: World) -> None:
        def create_too(when: str, request: Request) -> None:
            if (when, request.api) == ("after", "create_task"):
                old.fake.on_request = None
                old.fake.create_task(101, name=request.params["name"], start=False)

        old.fake.on_request = create_too
        assert "gives 2 for the tag" in error_of(AirflowTask(TWO_STEPS).run())
        assert old.started() == []

    def test_where_tasks_cannot_be_counted_a_retry_starts_nothing(self, world: World) -> None:
        self.not_counted(world)
        task = AirflowTask(LONG)
        world.later(30, die)
        assert isinstance(task.run().error, Died)
        (first,) = world.started()
        one = task.run()
        assert "it has started nothing. Trigger a new DAG run" in error_of(one)
        assert "Nor can the tasks be counted." in one.log
        assert world.started() == [first]

    def test_a_site_that_is_away_is_none_without_it(self, world: World) -> None:
        lacks(world, "get_task_list", "query_task_count", "get_template_info")
        one = AirflowTask(TWO_STEPS).run()
        assert isinstance(one.error, SopsInvalidAnswerException)
        assert "does not have" not in error_of(one) + one.log
        assert world.fake.tasks == []

    def test_a_cleared_task_that_would_be_taken_up_is_counted_by_its_thread(self, old: World) -> None:
        task = AirflowTask({**TWO_STEPS, "on_clear": "reattach"})
        assert task.run().error is None
        task.clear()
        assert "SOPS counts 1 with the tag 'at" in error_of(task.run())
        assert len(old.started()) == 1


class TestStart:
    """SOPS before 3.6.46, which starts a task at once."""

    @pytest.mark.parametrize(
        "said",
        [
            {"message": "pipeline instance already started.", "code": 3545100},
            {"message": "pipeline instance already started."},
            {"message": "task with current_flow:finished cannot be started"},
        ],
        ids=["a code", "no code", "finished"],
    )
    def test_a_second_one_is_no_error(self, world: World, said: dict[str, Any]) -> None:
        def start(request: Request) -> tuple[int, Any]:
            world.fake.start_task(request.task_ids[0])
            world.fake.advance(60)
            return 200, {"result": False, **said}

        world.fake.faults.add("start_task", kind="function", function=start)
        one = AirflowTask(TWO_STEPS).run()
        assert one.outcome["EXIT"] == "0"
        assert "had been started already" in one.log
        assert len(world.started()) == 1

    def test_a_flow_that_it_refuses_is_an_error(self, world: World) -> None:
        said = {"result": False, "message": "task with current_flow:select_steps cannot be started"}
        world.fake.faults.add("start_task", kind="function", function=lambda request: (200, said))
        assert "current_flow:select_steps" in error_of(AirflowTask(TWO_STEPS).run())

    @pytest.mark.parametrize("code", [{"code": 3545000}, {}], ids=["a code", "no code"])
    def test_a_function_task_waits_to_be_claimed(
        self, world: World, airflow: dict[str, Any], code: dict[str, Any]
    ) -> None:
        def start(request: Request) -> tuple[int, Any] | None:
            if world.fake.task(request.task_ids[0]).current_flow != "func_claim":
                return None
            return 200, {"result": False, "message": "task with current_flow:func_claim cannot be started", **code}

        world.fake.remove_api("get_tasks_status")
        world.fake.faults.add("start_task", kind="function", function=start, times=None)
        task = AirflowTask({**TWO_STEPS, "flow_type": "common_func", "start_timeout": 60}, **airflow)
        one = task.run()
        assert isinstance(one.error, SopsTimedOutException)
        assert "does not start task" in one.log
        assert "waits to be claimed by a person" in error_of(one)
        assert "a retry of the Airflow task waits for the same SOPS task" in error_of(one)
        (made,) = world.fake.tasks
        world.fake.claim(made.id)
        assert task.run().outcome["EXIT"] == "0"
        assert world.started() == [made.id]
        assert world.fake.count("operate_task") == 0


class TestRevoke:
    def test_what_has_not_started_is_left_alone_when_it_is_killed(self, make_world: Callable[..., World]) -> None:
        world = make_world(start_delay=None)
        one = AirflowTask(LONG).next_try()
        one.ti.state = "failed"
        world.later(30, one.operator.on_kill)
        one.execute()
        assert world.fake.count("operate_task") == 0
        assert "SOPS does not revoke what has not started; its start may be queued and still take effect" in one.log

    def test_what_has_started_is_not_looked_at_first(self, world: World) -> None:
        """A kill has little time."""
        one = AirflowTask(LONG).next_try()
        one.ti.state = "failed"
        world.later(30, world.fake.clear_requests)
        world.later(30, one.operator.on_kill)
        one.execute()
        assert [request.api for request in world.fake.requests] == ["operate_task"]
        assert list(world.states().values()) == ["REVOKED"]

    def test_out_of_time_while_it_was_deferred_it_may_still_start(self, world: World, triggerer: Triggerer) -> None:
        world.fake.start_delay = None
        arguments = {**LONG, "start_timeout": 3600, "execution_timeout": timedelta(seconds=300)}
        one = AirflowTask(arguments, triggerer=triggerer).run()
        assert isinstance(one.error, SopsTimedOutException)
        assert "it is CREATED; SOPS does not revoke what has not started; it may still start." in error_of(one)
        assert world.fake.count("operate_task") == 0

    def test_after_a_time_out_too(self, make_world: Callable[..., World]) -> None:
        world = make_world(start_delay=None)
        one = AirflowTask({**LONG, "start_timeout": 90}).run()
        assert isinstance(one.error, SopsTimedOutException)
        assert "It may still start later" in error_of(one)
        assert world.fake.count("operate_task") == 0


class TestOperateNode:
    """SOPS before 3.5.5."""

    @pytest.fixture(params=["a redirect", "the gateway's word", "the ESB's word"])
    def lacks(self, request: pytest.FixtureRequest, world: World, connect: Callable[..., None]) -> Callable[..., None]:
        if request.param == "the ESB's word":
            connect(world.fake, "esb")

        def remove(*apis: str) -> None:
            if request.param == "a redirect":
                lacks(world, *apis)
            elif request.param == "the ESB's word":
                lacks_through_esb(world, *apis)
            else:
                world.fake.remove_api(*apis)

        return remove

    def test_a_node_is_called_back_by_the_older_api(self, world: World, lacks: Callable[..., None]) -> None:
        task_id = running(world, "Pause for a person")
        lacks("operate_node")
        lines = operate_node(task_id, "callback", sops_node_name="confirm", data={"answer": "go on"})
        assert any("callback is done; it is FINISHED" in line for line in lines)
        (sent,) = [request for request in world.fake.requests if request.api == "node_callback"]
        assert sent.params["callback_data"] == {"answer": "go on"}

    def test_a_lost_answer_of_that_is_looked_up(self, world: World, lacks: Callable[..., None]) -> None:
        task_id = running(world, "Pause for a person")
        lacks("operate_node")
        world.fake.faults.add("node_callback", kind="drop_after")
        lines = operate_node(task_id, "callback", sops_node_name="confirm")
        assert any("is FINISHED now" in line for line in lines)
        assert world.fake.count("node_callback") == 1

    @pytest.mark.parametrize("action", ["retry", "skip"])
    def test_else_the_release_is_named(self, world: World, lacks: Callable[..., None], action: str) -> None:
        task_id = running(world, "Always fails")
        lacks("operate_node")
        with pytest.raises(SopsException, match=r"SOPS has operate_node since 3\.5\.5"):
            operate_node(task_id, action, sops_node_name="call")
        assert world.fake.count("node_callback") == 0

    def test_so_it_is_by_a_retry(self, world: World, lacks: Callable[..., None]) -> None:
        task = AirflowTask({**FAILS, "on_retry": "retry_failed_nodes"})
        assert isinstance(task.run().error, SopsTaskFailedException)
        lacks("operate_node")
        text = error_of(task.run())
        assert "SOPS has operate_node since 3.5.5" in text
        assert "on_retry='rerun'" in text
        assert len(world.started()) == 1

    def test_a_refusal_stays_what_it_is(self, world: World) -> None:
        task_id = running(world)
        with pytest.raises(SopsInvalidOperationException) as caught:
            operate_node(task_id, "callback", sops_node_name="sleep_long")
        assert "3.5.5" not in str(caught.value)
