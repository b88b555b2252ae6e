# SPDX-License-Identifier: Apache-2.0
"""Running a SOPS task: what is created, what comes back, what fails and how."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_sops.exceptions import (
    SopsConfigException,
    SopsInvalidParameterException,
    SopsOutageException,
    SopsOutputsException,
    SopsTaskFailedException,
    SopsTaskStoppedException,
    SopsTimedOutException,
)
from airflow_provider_sops.operators.sops import SopsRunTaskOperator
from airflow_provider_sops.testing import Request
from tests.core.test_redact import ENCODINGS
from tests.hostile import refuse
from tests.operators.airflow_task import AirflowTask, Triggerer
from tests.operators.conftest import World

TWO_STEPS = {"template_id": 101}
LONG = {"template_id": 103}


def created(world: World) -> Request:
    """The one request that created a task."""
    (request,) = [request for request in world.fake.requests if request.api == "create_task"]
    return request


def test_it_returns_and_pushes_the_outputs(world: World) -> None:
    one = AirflowTask({**TWO_STEPS, "constants": {"IP": "10.0.0.1"}}).run()
    outputs = {"IP": "10.0.0.1", "EXIT": "0", "job_script_type": "1"}
    assert one.outcome == outputs
    (task,) = world.fake.tasks
    address = f"{world.fake.url}/taskflow/execute/7/?instance_id={task.id}"
    keys = {f"${{{name}}}": value for name, value in outputs.items()}
    assert one.ti.xcoms == {**outputs, **keys, "sops_task_id": task.id, "sops_task_url": address}
    assert world.started() == [task.id]
    assert f"Created SOPS task {task.id} '{task.name}'. {address}" in one.log
    assert f"SOPS task {task.id} '{task.name}' is FINISHED." in one.log


def test_id_and_address_are_pushed_before_it_is_started(world: World) -> None:
    one = AirflowTask(TWO_STEPS).next_try()
    pushed: list[set[str]] = []

    def observation(when: str, request: Request) -> None:
        if request.api == "start_task" and when == "before":
            pushed.append(set(one.ti.xcoms))

    world.fake.on_request = observation
    assert one.execute().outcome
    assert pushed == [{"sops_task_id", "sops_task_url"}]


def test_without_xcoms_nothing_is_pushed(world: World) -> None:
    one = AirflowTask({**TWO_STEPS, "do_xcom_push": False}).run()
    assert one.outcome["EXIT"] == "0"
    assert one.ti.xcoms == {}


def test_outputs_need_not_be_pushed(world: World) -> None:
    one = AirflowTask({**TWO_STEPS, "push_outputs": False}).run()
    assert one.outcome["EXIT"] == "0"
    assert set(one.ti.xcoms) == {"sops_task_id", "sops_task_url"}


def test_each_output_keeps_its_type(world: World) -> None:
    outputs = AirflowTask({"template_id": 109, "do_xcom_push": False}).run().outcome
    kinds = {type(value) for value in outputs.values()}
    assert {int, bool, dict, list, str, type(None)} <= kinds


@pytest.mark.parametrize("push_outputs", [True, False])
@pytest.mark.parametrize("deferred", [True, False])
def test_an_output_that_xcoms_do_not_keep(
    world: World, triggerer: Triggerer, push_outputs: bool, deferred: bool
) -> None:
    """All outputs are returned, and so pushed, with ``push_outputs`` off too; without XComs none is."""

    def put_out(when: str, request: Request) -> None:
        for task in world.fake.tasks:
            task.outputs = [{"key": "${bad}", "value": float("nan"), "name": "bad"}]

    world.fake.on_request = put_out
    arguments = {**TWO_STEPS, "push_outputs": push_outputs}
    one = AirflowTask(arguments, triggerer=triggerer if deferred else None).run()
    (task,) = world.fake.tasks
    with pytest.raises(SopsOutputsException) as caught:
        one.outcome  # noqa: B018
    assert str(caught.value) == (
        f"Output ${{bad}} of SOPS task {task.id} cannot be pushed into XCom (nan is not JSON); nothing was pushed. "
        "Let the template put it out as a text that XComs hold; or say wait_for_completion=False, and take the outputs "
        "you need with SopsTaskSensor(push_outputs=True, keys=[...])."
    )
    assert set(one.ti.xcoms) <= {"sops_task_id", "sops_task_url", "sops_wait_ended"}
    silent = AirflowTask({**arguments, "do_xcom_push": False}, task_id="silent").run()
    assert repr(silent.outcome) == "{'bad': nan}"


class TestName:
    def test_it_says_where_it_comes_from(self, world: World) -> None:
        AirflowTask(TWO_STEPS, dag_id="deploy", task_id="shop.run").run()
        assert created(world).params["name"].startswith("deploy shop.run ")

    def test_a_long_one_is_cut_but_not_its_tag(self, world: World) -> None:
        AirflowTask({**TWO_STEPS, "task_name": "发布" * 60}).run()
        name = created(world).params["name"]
        assert len(name) == 100
        title, _, tag = name.rpartition(" ")
        assert title == ("发布" * 60)[: len(title)]
        assert tag.isascii()
        assert tag.isalnum()
        assert tag.endswith("g1")

    def test_a_short_one_is_kept(self, world: World) -> None:
        AirflowTask({**TWO_STEPS, "task_name": "release 7"}).run()
        assert created(world).params["name"].startswith("release 7 af")


class TestConstants:
    def test_either_spelling_and_any_type(self, world: World) -> None:
        given = {"IP": {"a": [1, None, True]}, "${EXIT}": 0, "job_script_type": "0"}
        AirflowTask({**TWO_STEPS, "constants": given}).run()
        sent = {"${IP}": {"a": [1, None, True]}, "${EXIT}": 0, "${job_script_type}": "0"}
        assert created(world).params["constants"] == sent

    def test_unknown_names_are_an_error_that_lists_the_template_s(self, world: World) -> None:
        one = AirflowTask({**TWO_STEPS, "constants": {"IPP": "1", "EXIT": "0"}}).run()
        with pytest.raises(SopsConfigException) as caught:
            one.outcome  # noqa: B018
        text = str(caught.value)
        assert text.startswith("constants: template 101 'Two steps with outputs' has no ${IPP}; there are: ")
        assert "${EXIT}, ${IP}, ${job_script_type}" in text
        assert world.fake.tasks == []

    def test_where_the_template_may_not_be_read_they_are_not_checked(self, world: World) -> None:
        world.fake.deny("get_template_info")
        one = AirflowTask({**TWO_STEPS, "constants": {"IPP": "1", "EXIT": "5"}}).run()
        assert one.outcome["EXIT"] == "5"
        assert "The names of the constants are not checked" in one.log


class TestTemplate:
    def test_by_name(self, world: World) -> None:
        assert AirflowTask({"template_name": "Two steps with outputs"}).run().outcome["EXIT"] == "0"

    def test_no_such_name_says_what_comes_near(self, world: World) -> None:
        one = AirflowTask({"template_name": "Two steps with output"}).run()
        with pytest.raises(SopsConfigException, match="no template of this business is named 'Two steps with output'"):
            one.outcome  # noqa: B018
        assert "'Two steps with outputs'" in str(one.error)

    def test_a_name_far_off_says_what_comes_near_too(self, world: World) -> None:
        one = AirflowTask({"template_name": "two step with outputz"}).run()
        with pytest.raises(SopsConfigException, match="near it come: 'Two steps with outputs'"):
            one.outcome  # noqa: B018

    def test_two_of_a_name(self, world: World) -> None:
        twins = [{"id": number, "name": "twin"} for number in (11, 12)]
        world.fake.serve_canned({"get_template_list": {"result": True, "code": 0, "data": twins}})
        one = AirflowTask({"template_name": "twin"}).run()
        with pytest.raises(SopsConfigException, match="2 templates are named 'twin': give template_id, one of 11, 12"):
            one.outcome  # noqa: B018

    def test_a_common_one(self, world: World) -> None:
        AirflowTask({"template_name": "Common template", "template_source": "common"}).run().outcome  # noqa: B018
        assert created(world).params["template_source"] == "common"

    def test_one_of_id_and_name_is_needed(self) -> None:
        for arguments in ({}, {"template_id": 1, "template_name": "x"}):
            with pytest.raises(ValueError, match="template_id, template_name: give one of them"):
                SopsRunTaskOperator(task_id="t", **arguments)

    def test_what_is_left_out_is_sent_as_sops_names_it(self, world: World) -> None:
        nodes = world.fake.site.templates[101].graph.tree["activities"]
        (sleep2,) = [own_id for own_id, node in nodes.items() if node["name"] == "sleep2"]
        AirflowTask({**TWO_STEPS, "exclude_task_nodes_id": (sleep2,), "flow_type": "common"}).run().outcome  # noqa: B018
        sent = created(world).params
        assert sent["exclude_task_nodes_id"] == [sleep2]
        assert sent["flow_type"] == "common"
        assert "sleep2" not in [node.name for node in world.fake.tasks[0].nodes.values()]


class TestNodes:
    """``execute_task_nodes_id=["typo"]`` excludes every node: SOPS takes it, and the start dies."""

    def ids(self, world: World, template: int = 101) -> dict[str, str]:
        nodes = world.fake.site.templates[template].graph.tree["activities"]
        return {node["name"]: own_id for own_id, node in nodes.items()}

    @pytest.mark.parametrize("field", ["execute_task_nodes_id", "exclude_task_nodes_id"])
    def test_what_the_template_does_not_have_is_an_error_that_lists_what_it_has(self, world: World, field: str) -> None:
        ids = self.ids(world)
        one = AirflowTask({**TWO_STEPS, field: ["typo", ids["sleep1"], "sleep3"]}).run()
        with pytest.raises(
            SopsConfigException, match=f"{field}: template 101 'Two steps with outputs' has no node "
        ) as e:
            one.outcome  # noqa: B018
        assert "has no node 'typo', 'sleep3'; there are: " in str(e.value)
        for name, own_id in ids.items():
            assert f"{name!r} (id {own_id})" in str(e.value)
        assert world.fake.tasks == []

    def test_names_become_ids_and_the_template_is_read_once(self, world: World) -> None:
        ids = self.ids(world)
        arguments = {"exclude_task_nodes_id": ["sleep2"], "execute_task_nodes_id": [ids["sleep1"], "sleep2", "sleep1"]}
        task = AirflowTask({**TWO_STEPS, **arguments, "constants": {"IP": "10.0.0.9"}, "push_outputs": False})
        task.run()
        sent = created(world).params
        assert sent["exclude_task_nodes_id"] == [ids["sleep2"]]
        assert sent["execute_task_nodes_id"] == [ids["sleep1"], ids["sleep2"]]
        assert [node.name for node in world.fake.tasks[0].nodes.values()] == ["", "sleep1", ""]
        assert world.fake.count("get_template_info") == 1

    def test_a_name_of_several_asks_for_an_id(self, make_world: Callable[..., World], tmp_path: Path) -> None:
        file = tmp_path / "twins.toml"
        node = 'name = "twin"\nplugin = "bk_display"\ninputs = { bk_display_message = "" }\n'
        file.write_text(
            '[[template]]\nid = 1\nname = "twins"\n'
            f'[[template.node]]\nkey = "a"\n{node}[[template.node]]\nkey = "b"\n{node}'
        )
        world = make_world(templates=file)
        own = list(world.fake.site.templates[1].graph.tree["activities"])
        one = AirflowTask({"template_id": 1, "execute_task_nodes_id": ["twin"]}).run()
        with pytest.raises(SopsConfigException, match="has 2 nodes named 'twin': give an id, one of ") as e:
            one.outcome  # noqa: B018
        assert str(e.value).endswith(", ".join(own))
        AirflowTask({"template_id": 1, "execute_task_nodes_id": [own[1]]}).run().outcome  # noqa: B018
        assert created(world).params["execute_task_nodes_id"] == [own[1]]

    @pytest.mark.parametrize(
        ("arguments", "fields"),
        [
            ({"exclude_task_nodes_id": ["show vars", "sleep1", "sleep2"]}, "exclude_task_nodes_id"),
            (
                {"exclude_task_nodes_id": ["sleep1"], "execute_task_nodes_id": ["sleep1"]},
                "exclude_task_nodes_id and execute_task_nodes_id",
            ),
        ],
    )
    def test_something_must_be_left_to_run(self, world: World, arguments: dict[str, Any], fields: str) -> None:
        one = AirflowTask({**TWO_STEPS, **arguments}).run()
        with pytest.raises(SopsConfigException, match=f"^{fields}: of template 101 .* no node is left to run"):
            one.outcome  # noqa: B018
        assert world.fake.tasks == []

    def test_a_common_template_is_looked_at_as_one(self, world: World) -> None:
        one = AirflowTask({"template_id": 21, "template_source": "common", "execute_task_nodes_id": ["typo"]}).run()
        with pytest.raises(SopsConfigException, match="template 21 'Common template' has no node 'typo'"):
            one.outcome  # noqa: B018

    def test_where_the_template_may_not_be_read_a_start_that_dies_is_told_as_that(self, world: World) -> None:
        world.fake.deny("get_template_info")
        one = AirflowTask({**TWO_STEPS, "execute_task_nodes_id": ["typo"]}).run()
        with pytest.raises(SopsTimedOutException, match="it has no nodes, and SOPS' engine starts no such task") as e:
            one.outcome  # noqa: B018
        assert "Look at exclude_task_nodes_id and execute_task_nodes_id" in str(e.value)
        assert "The names of the nodes are not checked" in one.log


class TestEnd:
    def test_an_allowed_end_other_than_finished_gives_no_outputs(self, world: World) -> None:
        task = AirflowTask({**LONG, "allowed_states": ["FINISHED", "REVOKED"]})
        world.later(60, lambda: world.fake.operate(world.started()[0], "revoke"))
        assert task.run().outcome == {}

    def test_a_failed_task_says_why(self, world: World) -> None:
        one = AirflowTask({"template_id": 106}).run()
        with pytest.raises(SopsTaskFailedException) as caught:
            one.outcome  # noqa: B018
        assert not isinstance(caught.value, AirflowFailException)
        assert "has FAILED" in str(caught.value)
        assert "Node 'call' (plugin bk_http_request" in str(caught.value)
        assert "Connection refused" in str(caught.value)
        assert world.states() == {world.started()[0]: "FAILED"}

    def test_a_person_who_revokes_it_ends_the_retries(self, world: World) -> None:
        world.later(60, lambda: world.fake.operate(world.started()[0], "revoke"))
        one = AirflowTask(LONG).run()
        with pytest.raises(SopsTaskStoppedException) as caught:
            one.outcome  # noqa: B018
        assert isinstance(caught.value, AirflowFailException)

    def test_a_deleted_one_ends_the_retries(self, world: World) -> None:
        world.later(60, lambda: world.fake.delete_task(world.started()[0]))
        with pytest.raises(SopsTaskStoppedException, match="was deleted in SOPS"):
            AirflowTask(LONG).run().outcome  # noqa: B018

    def test_nothing_is_revoked_because_it_cannot_be_read(self, world: World) -> None:
        world.later(60, lambda: world.fake.faults.add(kind="status", status=502, times=None))
        with pytest.raises(SopsOutageException, match="could not be read for"):
            AirflowTask({**LONG, "max_outage": timedelta(minutes=5)}).run().outcome  # noqa: B018
        assert list(world.states().values()) == ["RUNNING"]

    def test_an_output_that_cannot_be_pushed_is_an_error(self, world: World) -> None:
        world.later(1, lambda: None)
        with pytest.raises(SopsOutputsException, match="cannot be pushed"):
            AirflowTask({**TWO_STEPS, "constants": {"IP": float("nan")}}).run().outcome  # noqa: B018


class TestStart:
    def test_not_waiting_for_the_end_waits_for_the_start(self, make_world: Callable[..., World]) -> None:
        world = make_world(start_delay=20)
        one = AirflowTask({**LONG, "wait_for_completion": False}).run()
        assert one.outcome == {}
        assert world.states() == {one.ti.xcoms["sops_task_id"]: "RUNNING"}

    def test_one_that_does_not_start_may_still_start_later(self, make_world: Callable[..., World]) -> None:
        world = make_world(start_delay=None)
        task = AirflowTask({**TWO_STEPS, "start_timeout": timedelta(seconds=90)})
        began = world.now
        with pytest.raises(SopsTimedOutException) as caught:
            task.run().outcome  # noqa: B018
        assert 90 <= world.now - began < 100
        text = str(caught.value)
        assert "has not started within 90 s (start_timeout), though SOPS has queued its start" in text
        assert "SOPS does not revoke what has not started" in text
        assert "It may still start later" in text
        assert "/taskflow/execute/" in text
        assert world.fake.count("operate_task") == 0
        world.fake.revive_worker()
        assert task.run().outcome["EXIT"] == "0"
        assert len(world.fake.tasks) == 1
        assert len(world.started()) == 1

    def test_without_its_detail_the_error_has_no_page_and_says_the_rest(self, make_world: Callable[..., World]) -> None:
        world = make_world(start_delay=None)
        world.fake.deny("get_task_detail")
        with pytest.raises(SopsTimedOutException, match="It may still start later") as caught:
            AirflowTask({**TWO_STEPS, "start_timeout": 90}).run().outcome  # noqa: B018
        assert "Task page" not in str(caught.value)

    @pytest.mark.parametrize("denied", [[], ["get_tasks_status"]])
    def test_a_function_task_waits_to_be_claimed(self, world: World, denied: list[str]) -> None:
        world.fake.deny(*denied)
        task = AirflowTask({**TWO_STEPS, "flow_type": "common_func", "start_timeout": 60})
        with pytest.raises(SopsTimedOutException, match="waits to be claimed by a person") as caught:
            task.run().outcome  # noqa: B018
        assert "start_timeout" in str(caught.value)
        (one,) = world.fake.tasks
        world.later(30, lambda: world.fake.claim(one.id))
        world.later(40, lambda: world.fake.start_task(one.id))
        assert task.run().outcome["EXIT"] == "0"
        assert world.started() == [one.id]

    def test_already_started_is_success(self, world: World) -> None:
        def person_starts_it(when: str, request: Request) -> None:
            if request.api == "start_task" and when == "before":
                world.fake.start_task(request.task_ids[0])
                world.fake.advance(1)

        world.fake.on_request = person_starts_it
        one = AirflowTask(TWO_STEPS).run()
        assert one.outcome["EXIT"] == "0"
        assert "had been started already" in one.log
        assert len(world.started()) == 1

    def test_one_that_starts_in_the_last_moment_is_waited_for(self, make_world: Callable[..., World]) -> None:
        world = make_world(start_delay=None, granted=["get_task_list", "create_task", "start_task", "get_task_detail"])
        # the detail that is read while it waits for the start is answered from a cache that does not see the start
        world.later(50, world.fake.revive_worker)
        assert AirflowTask(TWO_STEPS).run().outcome["EXIT"] == "0"


class TestRendering:
    def test_what_is_rendered(self) -> None:
        fields = set(SopsRunTaskOperator.template_fields)
        wanted = {"template_id", "template_name", "task_name", "constants", "bk_biz_id", "scope", "sops_conn_id"}
        assert wanted <= fields
        operator = SopsRunTaskOperator(
            task_id="t", template_id="{{ 100 + 1 }}", constants={"IP": "{{ ip }}", "count": 3}, task_name="of {{ ip }}"
        )
        operator.render_template_fields({"ip": "10.0.0.9"})
        assert operator.constants == {"IP": "10.0.0.9", "count": 3}
        assert operator.template_id == "101"
        assert operator.task_name == "of 10.0.0.9"

    @pytest.mark.parametrize(
        "arguments",
        [
            {"on_retry": "again"},
            {"on_clear": "old"},
            {"on_failed": "ignore"},
            {"start_timeout": -1},
            {"poll_interval": "soon"},
            {"allowed_states": ["FAILED"]},
            {"poll_interval": 0},
        ],
    )
    def test_wrong_arguments_are_named_when_the_dag_is_read(self, arguments: dict[str, Any]) -> None:
        (name,) = arguments
        with pytest.raises(ValueError, match=name):
            SopsRunTaskOperator(task_id="t", template_id=1, **arguments)


@pytest.mark.parametrize("constants", ["{'IP': '10.0.0.8'}", ["IP"], 5])
def test_constants_that_were_rendered_to_something_else_are_named(world: World, constants: Any) -> None:
    with pytest.raises(SopsConfigException, match="constants: must be a dict, not "):
        AirflowTask({**TWO_STEPS, "constants": constants}).run().outcome  # noqa: B018
    assert world.fake.tasks == []


@pytest.mark.parametrize("value", ["hidden-word", {"tag": "value", "value": "hidden-word"}, [1, "hidden-word"]])
def test_passwords_are_masked(world: World, monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow_provider_sops.task_log.mask_secret", masked.append)
    (template,) = [one for one in world.fake.site.templates.values() if one.name == "Password output"]
    (name,) = [key for key, one in template.graph.constants.items() if one["custom_type"] == "password"]
    AirflowTask({"template_id": template.id, "constants": {name: value}}).run().outcome  # noqa: B018
    assert set(masked) == {"hidden-word"} | ({"fake-pass-word-1"} & set(masked))


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("before", [0, 480], ids="cut at {}".format)
def test_a_refusal_that_quotes_a_password_does_not_show_it(world: World, name: str, before: int) -> None:
    (template,) = [one for one in world.fake.site.templates.values() if one.name == "Password output"]
    secret = 'Zq7 "quoted"\\ and\nmore Zq7'
    told = f"{'x' * before} {ENCODINGS[name](secret)} is not of type 'object'"
    world.fake.faults.add("create_task", **refuse({"constants": [told]}, 3546100))
    with pytest.raises(SopsInvalidParameterException) as caught:
        AirflowTask({"template_id": template.id, "constants": {"password": secret}}).run().outcome  # noqa: B018
    assert "constants: x" in str(caught.value) or "constants: *** is not of type" in str(caught.value)
    assert "Zq7" not in f"{caught.value} {vars(caught.value)}"


def test_where_only_the_detail_may_be_read_it_ends_too(make_world: Callable[..., World]) -> None:
    world = make_world(granted=["get_task_list", "create_task", "start_task", "get_task_detail"])
    one = AirflowTask(TWO_STEPS).run()
    assert one.outcome["EXIT"] == "0"
    assert one.log.count("The app may not call get_task_status") <= 2
    assert len(world.started()) == 1


def test_a_run_that_no_scheduler_has_started(world: World) -> None:
    assert AirflowTask(TWO_STEPS, run_start=None).run().outcome["EXIT"] == "0"
    assert "create_time_start" not in world.fake.requests[0].params


def test_the_search_looks_no_further_back_than_needed(world: World) -> None:
    start = datetime.datetime(2026, 11, 22, 3, 4, 5, 678, tzinfo=datetime.timezone(timedelta(hours=8)))
    AirflowTask(TWO_STEPS, run_start=start).run().outcome  # noqa: B018
    sent = world.fake.requests[0].params
    assert sent["create_time_start"] == "2026-11-19 19:04:05"
    assert sent["without_count"] == "True"
