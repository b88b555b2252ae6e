# SPDX-License-Identifier: Apache-2.0
"""One model out of both generations of answers, read from what was recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pendulum
import pytest

from airflow_provider_sops.core import errors, models
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.models import readers
from airflow_provider_sops.core.models.readers import parse_time
from airflow_provider_sops.core.pipeline_tree import activities, count_activities
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.progress import describe_progress
from tests.hostile import SHOWN, TEXT, assert_storable
from tests.samples_of_sops import ENDPOINT, OLD_DETAIL, RECORDED, answer_of, answer_with, call_of, reply_of

READERS: dict[str, Callable[[Answer], Any]] = {
    "create_and_start_task": readers.created_task,
    "create_task": readers.created_task,
    "fast_create_task": readers.created_task,
    "get_task_detail": readers.task_detail,
    "get_task_list": readers.task_list,
    "get_task_node_detail": readers.node_detail,
    "get_task_status": readers.task_status,
    "get_tasks_manual_intervention_state": readers.interventions,
    "get_tasks_status": readers.tasks_status,
    "get_template_info": readers.template,
    "get_template_list": readers.template_list,
}


def detail_of(data: Any) -> models.TaskDetail:
    return readers.task_detail(answer_with("get_task_detail", data, task_id=10))


def status_of(data: Any) -> models.TaskStatus:
    return readers.task_status(answer_with("get_task_status", data, task_id=10))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recorded_answer_can_be_read(path: Path) -> None:
    call, reply = call_of(path), reply_of(path)
    if call is None:  # made on purpose as no client would
        return
    if reply.status != 200 or b'"result": false' in reply.body:
        with pytest.raises(errors.SopsError) as caught:
            ENDPOINT.read(call, reply)
        assert type(caught.value) is not errors.SopsError
        return
    answer = ENDPOINT.read(call, reply)
    if call.name in READERS:
        assert READERS[call.name](answer) is not None


# ---- times ----


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2019-01-17 04:13:15", "2019-01-17T04:13:15+00:00"),
        ("2026-11-22 21:03:25 +0800", "2026-11-22T21:03:25+08:00"),
        ("2026-11-22 21:03:25 -0330", "2026-11-22T21:03:25-03:30"),
        ("2026-11-22 21:03:25 +0000", "2026-11-22T21:03:25+00:00"),
        ("2026-11-22T13:11:00.852Z", "2026-11-22T13:11:00.852000+00:00"),
        ("2026-11-22T13:11:00Z", "2026-11-22T13:11:00+00:00"),
        ("2026-11-22T21:03:25+08:00", "2026-11-22T21:03:25+08:00"),
        (" 2026-11-22 21:03:25 ", "2026-11-22T21:03:25+00:00"),
    ],
)
def test_a_time(text: str, moment: str) -> None:
    parsed = parse_time(text)
    assert isinstance(parsed, pendulum.DateTime)
    assert parsed == pendulum.parse(moment)
    assert parsed.utcoffset() is not None
    assert parsed.isoformat().replace("Z", "+00:00") == moment


@pytest.mark.parametrize("nothing", ["", None])
def test_a_time_that_is_not_yet_known(nothing: Any) -> None:
    assert parse_time(nothing) is None


@pytest.mark.parametrize(
    "text",
    ["soon", "2026-13-45 99:99:99", 1795352598, {"at": 1}, "P1D", " ", "21:03:25", "2026-11-22/13:11:00", "P81Y/P2M"],
)
def test_what_is_no_time(text: Any) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_time(text)


# ---- states ----


@pytest.mark.parametrize("word", ["FINISHED", "REVOKED", "EXPIRED"])
def test_what_is_final(word: str) -> None:
    assert readers.parse_state(word).is_final


@pytest.mark.parametrize("word", ["CREATED", "READY", "RUNNING", "SUSPENDED", "NODE_SUSPENDED", "BLOCKED", "FAILED"])
def test_what_is_not_final(word: str) -> None:
    assert readers.parse_state(word) is TaskState(word)
    assert not readers.parse_state(word).is_final


@pytest.mark.parametrize("word", ["DREAMING", "", "finished", "ENDED", "UNKNOWN", None, 5, ["FINISHED"]])
def test_a_word_that_nobody_knows_is_no_end(word: Any) -> None:
    assert readers.parse_state(word) is TaskState.UNKNOWN
    assert not TaskState.UNKNOWN.is_final


# ---- the detail of both generations ----


def test_the_detail_of_an_old_server() -> None:
    detail = detail_of(OLD_DETAIL["data"])
    assert (detail.task_id, detail.name) == (10, "job输出变量测试_20190117121300")
    assert (detail.project_id, detail.project_name, detail.template_id) == (2, "蓝鲸", 266)
    assert detail.finish_time is not None
    assert detail.finish_time.isoformat() == "2019-01-17T04:13:15+00:00"
    assert detail.start_time == pendulum.datetime(2019, 1, 17, 4, 13, 8)
    assert detail.create_time == pendulum.datetime(2019, 1, 17, 4, 13, 3)
    assert detail.elapsed_time == 7
    assert (detail.creator, detail.executor, detail.create_method) == ("admin", "admin", "app")
    assert detail.task_url == "http://bk_sops_host/taskflow/execute/3/?instance_id=15364"
    assert [(one.key, one.name, one.value, one.label) for one in detail.outputs] == [
        ("${job_script_type}", "job_script_type", "1", "脚本类型"),
        ("${IP}", "IP", "127.0.0.1", "IP"),
        ("${EXIT}", "EXIT", "0", "EXIT"),
    ]


def test_the_detail_of_a_current_server() -> None:
    detail = readers.task_detail(answer_of("01-lifecycle-two-sleeps/20"))
    assert (detail.name, detail.project_id, detail.project_name, detail.template_id) == (
        "rec lifecycle",
        7,
        "蓝鲸",
        101,
    )
    assert detail.finish_time is not None
    assert detail.finish_time.utcoffset() == pendulum.duration(hours=8)
    assert {one.name for one in detail.outputs} == {"IP", "EXIT", "job_script_type"}
    running = readers.task_detail(answer_of("01-lifecycle-two-sleeps/15"))
    assert running.finish_time is None
    assert running.start_time is not None
    created = readers.task_detail(answer_of("01-lifecycle-two-sleeps/09"))
    assert (created.start_time, created.outputs) == (None, ())


@pytest.mark.parametrize("nothing", ["", None, "missing"])
def test_not_yet_is_said_in_three_ways(nothing: Any) -> None:
    for name in ("finish_time", "end_time", "start_time", "template_id", "outputs", "constants", "elapsed_time"):
        data = copy.deepcopy(OLD_DETAIL["data"])
        data["finish_time"] = data["end_time"]
        data.pop("end_time")
        data[name] = [] if name == "outputs" and nothing == "" else nothing
        if nothing == "missing":
            del data[name]
        detail = detail_of(data)
        if name == "outputs":
            assert detail.outputs == ()
        elif name == "finish_time":
            assert detail.finish_time is None
        elif name == "template_id":
            assert detail.template_id is None


def test_outputs_keep_their_types() -> None:
    detail = readers.task_detail(answer_of("08-output-types/06"))
    by_name = {output.name: output.value for output in detail.outputs}
    raw = {item["key"]: item["value"] for item in answer_of("08-output-types/06").data["outputs"]}
    assert {f"${{{name}}}": value for name, value in by_name.items()} == raw
    kinds = {type(value) for value in by_name.values()}
    assert kinds >= {str, int, bool, dict, list, type(None)}


def test_values_of_passwords_are_known() -> None:
    data = copy.deepcopy(OLD_DETAIL["data"])
    data["constants"]["${EXIT}"] |= {"custom_type": "password", "value": "entered"}
    data["constants"]["${IP}"] |= {"source_tag": "password.password", "value": {"tag": "variable", "value": "x1y2"}}
    data["outputs"] += [{"key": "${EXIT}", "value": "put out", "name": ""}]
    detail = detail_of(data)
    assert set(detail.secret_values) >= {"entered", "put out", "x1y2"}
    assert "variable" not in detail.secret_values
    assert "put out" not in repr(detail)
    assert "entered" not in repr(detail)


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        (123456, ["123456"]),
        ({"user": "root", "keys": ["k-1", {"tag": "value", "value": "k-2"}]}, ["root", "k-1", "k-2"]),
        ({"tag": "value", "value": {"tag": "variable", "value": "inner"}}, ["inner"]),
        (["one", None, True, ""], ["one"]),
        (None, []),
    ],
)
def test_values_of_passwords_that_are_no_texts(value: Any, secrets: list[str]) -> None:
    data = copy.deepcopy(OLD_DETAIL["data"])
    data["constants"] = {"${p}": {"custom_type": "password", "value": value}}
    assert sorted(detail_of(data).secret_values) == sorted(secrets)


def test_values_of_passwords_in_subprocesses_are_known() -> None:
    data = copy.deepcopy(OLD_DETAIL["data"])
    inner = {"constants": {"${p}": {"custom_type": "password", "value": "of the inner one"}}, "activities": {}}
    outer = {"constants": {}, "activities": {"n2": {"pipeline": inner}, "n3": {}, "n4": None}}
    data["pipeline_tree"] = {"constants": {}, "activities": {"n1": {"pipeline": outer}}}
    assert detail_of(data).secret_values == ["of the inner one"]


# ---- what the detail tells of the state ----


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, TaskState.FINISHED),
        ({"end_time": ""}, TaskState.FINISHED),
        ({"outputs": []}, TaskState.ENDED),
        ({"outputs": [], "end_time": ""}, TaskState.RUNNING),
        ({"outputs": [], "end_time": "", "start_time": ""}, TaskState.CREATED),
    ],
)
def test_the_state_that_a_detail_tells(changes: dict[str, Any], state: TaskState) -> None:
    status = readers.status_from_detail(detail_of(OLD_DETAIL["data"] | changes))
    assert status.state is state
    assert (status.finish_time is None) == (changes.get("end_time") == "")


# ---- status ----


def test_the_status_of_one_task() -> None:
    status = readers.task_status(answer_of("01-lifecycle-two-sleeps/19"))
    assert (status.task_id, status.state, status.name) == (50101, TaskState.FINISHED, "rec lifecycle")
    assert status.finish_time is not None
    assert [node.name for node in status.steps] == ["show vars", "sleep1", "sleep2"]
    created = readers.task_status(answer_of("01-lifecycle-two-sleeps/07"))
    assert (created.state, created.finish_time, created.nodes) == (TaskState.CREATED, None, ())
    expired = readers.task_status(answer_of("16e-EXPIRED-and-deleted/03"))
    assert (expired.state, expired.finish_time) == (TaskState.EXPIRED, None)


def test_why_nodes_failed() -> None:
    status = readers.task_status(answer_of("05a-node-failed-retry/04"))
    assert status.state is TaskState.FAILED
    (text,) = status.ex_data.values()
    assert "500" in text
    assert status.failed_at is not None
    assert readers.task_status(answer_of("05a-node-failed-retry/03")).ex_data == {}


def test_a_paused_task_with_a_failed_node_has_failed() -> None:
    """SOPS says SUSPENDED: of one task, and of many where their nodes are asked for."""
    single = answer_of("20d-failed-then-paused/01")
    status = readers.task_status(single)
    assert (status.state, status.raw_state, status.is_paused) == (TaskState.FAILED, "SUSPENDED", True)
    assert status.failed_at is not None
    batch = answer_of("20d-failed-then-paused/02")
    (item,) = batch.data
    plain = readers.status_of_item(batch, item)
    assert (plain.state, plain.is_paused, plain.nodes) == (TaskState.SUSPENDED, True, ())
    assert readers.is_paused_item(item)
    with_nodes = {**item, "status": {**item["status"], "children": single.data["children"]}}
    assert readers.status_of_item(batch, with_nodes).state is TaskState.FAILED
    assert readers.status_signature(with_nodes) != readers.status_signature(item)


@pytest.mark.parametrize("sample", ["20e-pause_subproc/02", "04-pause-resume-revoke/12"])
def test_a_paused_task_without_one_is_paused(sample: str) -> None:
    status = readers.task_status(answer_of(sample))
    assert status.state.is_suspended
    assert (status.is_paused, status.raw_state) == (True, status.state.value)


def test_nodes_that_end_are_no_news_of_a_task_that_is_not_paused() -> None:
    (item,) = answer_of("20d-failed-then-paused/02").data
    children: dict[str, Any] = answer_of("20d-failed-then-paused/01").data["children"]
    none: dict[str, Any] = {}
    states = [
        readers.status_signature({**item, "status": {**item["status"], "state": "RUNNING", "children": nodes}})
        for nodes in (none, children)
    ]
    assert states[0] == states[1]


def test_a_time_of_sops_is_put_on_our_clock() -> None:
    """The answer's date is by the same clock as the times in it."""
    status = readers.task_status(answer_of("20d-failed-then-paused/01"))
    assert status.answered_at == parse_time("2026-11-28T14:14:26Z").timestamp()  # type: ignore[union-attr]
    failed_at = parse_time("2026-11-28 22:14:20 +0800")
    assert failed_at is not None
    assert status.since(failed_at, 1000.0) == 994.0
    assert status.since(failed_at.add(minutes=1), 1000.0) == 1000.0  # not in the future
    undated = readers.task_status(answer_of("01-lifecycle-two-sleeps/19"))
    assert undated.answered_at is None
    assert undated.since(failed_at, failed_at.timestamp() + 5) == failed_at.timestamp()


def test_the_status_of_many_tasks() -> None:
    found = readers.tasks_status(answer_of("01-lifecycle-two-sleeps/21"))
    (status,) = found.values()
    assert list(found) == [50101]
    assert (status.state, status.current_flow, status.flow_type) == (TaskState.FINISHED, "finished", "common")
    assert status.finish_time is not None
    assert status.task_url.startswith("http")
    (deleted,) = readers.tasks_status(answer_of("16e-EXPIRED-and-deleted/13")).values()
    assert deleted.is_deleted is True
    (revoked,) = readers.tasks_status(answer_of("04-pause-resume-revoke/28")).values()
    assert revoked.state is TaskState.REVOKED


def test_the_name_is_the_tasks_own() -> None:
    row = {"id": 7, "name": "mine", "status": {"state": "CREATED", "name": "another's"}, "is_deleted": False}
    assert readers.tasks_status(answer_with("get_tasks_status", [row]))[7].name == "mine"


@pytest.mark.parametrize("row", [{}, {"is_deleted": None}, {"is_deleted": "no"}])
def test_a_batch_that_does_not_say_whether_a_task_is_deleted(row: dict[str, Any]) -> None:
    item = {"id": 7, "name": "mine", "status": STATUS, **row}
    (status,) = readers.tasks_status(answer_with("get_tasks_status", [item])).values()
    assert status.is_deleted is None
    assert status_of(STATUS).is_deleted is False  # else it had not answered


def test_what_has_no_name_has_that_of_its_class_in_the_first_engine() -> None:
    """As SOPS documented it from 2018 to 2021."""
    names = {
        "start": "<class 'pipeline.core.flow.event.EmptyStartEvent'>",
        "n1": "act_3",
        "fork": "<class 'pipeline.core.flow.gateway.ParallelGateway'>",
        "n2": "class 3 of 4",
    }
    children = {own_id: {"name": name, "state": "RUNNING"} for own_id, name in names.items()}
    status = status_of({**STATUS, "name": "<class 'pipeline.core.pipeline.Pipeline'>", "children": children})
    assert status.name == ""
    assert [node.name for node in status.steps] == ["act_3", "class 3 of 4"]
    assert describe_progress(status, None) == "RUNNING, 0 nodes done, now: act_3, class 3 of 4"


def test_a_detail_of_release_3_3() -> None:
    detail = detail_of(
        {
            "id": 10,
            "name": "mine",
            "business_id": 2,
            "business_name": "蓝鲸",
            "template_id": 7,
            "start_time": "2019-04-17 15:49:00 +0800",
            "finish_time": "",
        }
    )
    assert (detail.project_id, detail.project_name, detail.name, detail.template_id) == (2, "蓝鲸", "mine", 7)
    assert detail.finish_time is None
    assert detail.start_time == pendulum.datetime(2019, 4, 17, 7, 49)


@pytest.mark.parametrize(
    ("node", "retryable", "skippable"),
    [
        ({}, True, True),
        ({"retryable": False, "skippable": False}, False, False),
        ({"can_retry": False, "isSkipped": True}, False, True),
        ({"can_retry": True, "isSkipped": False}, True, False),
        ({"retryable": True, "can_retry": False, "skippable": True, "isSkipped": False}, True, True),
    ],
)
def test_whether_a_node_may_be_retried_and_skipped(node: dict[str, Any], retryable: bool, skippable: bool) -> None:
    (activity,) = activities({"activities": {"n1": node}})
    assert (activity.retryable, activity.skippable) == (retryable, skippable)


def test_a_subprocess() -> None:
    status = readers.task_status(answer_of("09a-subprocess/03"))
    paths = {node.name: [above.name for above in path] for top in status.nodes for node, path in top.walk()}
    assert paths["child sleep"] == ["sub"]
    assert "sub" not in [node.name for node in status.steps]


# ---- wrong types ----

STATUS = {"state": "RUNNING", "children": {}}


@pytest.mark.parametrize(
    ("api", "data", "says"),
    [
        ("get_task_status", [], "list where an object belongs"),
        ("get_task_status", None, "NoneType where an object belongs"),
        ("get_task_status", {}, "state is None where a word belongs"),
        ("get_task_status", {"state": 5}, "state is 5 where a word belongs"),
        ("get_task_status", STATUS | {"finish_time": {"at": 1}}, "a time must be a string"),
        ("get_task_status", STATUS | {"finish_time": "soon"}, "not a time: 'soon'"),
        ("get_task_status", STATUS | {"children": {"n1": {"start_time": 5}}}, "a time must be a string"),
        ("get_tasks_status", {}, "data is dict where a list belongs"),
        ("get_tasks_status", [5], "int where an object belongs"),
        ("get_tasks_status", [{"id": 1, "status": []}], "list where an object belongs"),
        ("get_tasks_status", [{"id": None, "status": STATUS}], "an id is None"),
        ("get_tasks_status", [{"id": "x", "status": STATUS}], "an id is 'x'"),
        ("get_task_detail", [OLD_DETAIL["data"]], "list where an object belongs"),
        ("get_task_detail", {}, "an id is None"),
        ("get_task_detail", {"id": 1, "outputs": {}}, "outputs is dict where a list belongs"),
        ("get_task_detail", {"id": 1, "outputs": [5]}, "an output is not an object with key and value but int"),
        ("get_task_detail", {"id": 1, "outputs": [{"key": "${IP}"}]}, "an output is not an object with key and value"),
        ("get_task_detail", {"id": 1, "outputs": [{"key": 5, "value": 1}]}, "an output is not an object"),
        ("get_task_list", {"rows": []}, "data is dict where a list belongs"),
        ("get_task_list", [{"id": True}], "an id is True"),
        ("get_template_list", None, "data is NoneType where a list belongs"),
        ("get_template_info", [], "list where an object belongs"),
        ("create_task", {"task_url": "x"}, "an id is None"),
        ("create_task", "ok", "str where an object belongs"),
        ("get_task_node_detail", [], "list where an object belongs"),
        ("get_tasks_manual_intervention_state", [{"id": []}], "an id is []"),
    ],
)
def test_wrong_types_are_an_error_that_says_so(api: str, data: Any, says: str) -> None:
    with pytest.raises(errors.SopsInvalidAnswerError) as caught:
        READERS[api](answer_with(api, data, task_id=10))
    message = str(caught.value)
    assert message.startswith(f"{api} of SOPS task 10: the answer is not one of SOPS': ")
    assert says in message
    assert "[request id r-1]" in message
    assert message.endswith("check that this provider supports its version.")


# ---- what cannot be stored ----

NODE = {"name": TEXT, "state": TEXT, "children": {}}
ROW = {"id": 1, "name": TEXT, "category": TEXT, "creator": TEXT, "executor": TEXT, "create_method": TEXT}


def texts_of(one: object) -> list[str]:
    """Return all texts in a model, but values of outputs and what is handed on unread."""
    if isinstance(one, str):
        return [one]
    if isinstance(one, Mapping):
        return [text for pair in one.items() for side in pair for text in texts_of(side)]
    if isinstance(one, list | tuple):
        return [text for item in one for text in texts_of(item)]
    if not is_dataclass(one):
        return []
    unread = ("value", "pipeline_tree", "constants", "inputs")
    return [text for field in fields(one) if field.name not in unread for text in texts_of(getattr(one, field.name))]


@pytest.mark.parametrize(
    ("api", "data"),
    [
        ("get_task_status", {"state": TEXT, "name": TEXT, "children": {TEXT: NODE}, "ex_data": {TEXT: TEXT}}),
        (
            "get_tasks_status",
            [{"id": 1, "name": TEXT, "url": TEXT, "flow_type": TEXT, "current_flow": TEXT, "status": {"state": TEXT}}],
        ),
        (
            "get_task_detail",
            ROW
            | {
                "project_name": TEXT,
                "task_url": TEXT,
                "outputs": [{"key": f"${{{TEXT}}}", "value": TEXT, "name": TEXT}],
            },
        ),
        ("get_task_list", [ROW]),
        ("get_template_list", [ROW]),
        ("get_template_info", ROW),
        ("create_task", {"task_id": 1, "task_url": TEXT}),
        ("get_task_node_detail", {"id": TEXT, "state": TEXT, "ex_data": TEXT, "version": TEXT}),
    ],
)
def test_every_text_of_an_answer_is_storable(api: str, data: Any) -> None:
    texts = texts_of(READERS[api](answer_with(api, data, task_id=10)))
    assert [text for text in texts if text.startswith(SHOWN[:20])]
    assert_storable(texts)


def test_values_of_outputs_stay_as_they_are() -> None:
    value = {"text": TEXT, "number": 2**80, "none": float("nan")}
    (output,) = detail_of({"id": 1, "outputs": [{"key": "${IP}", "value": value}]}).outputs
    assert output.value is value


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), 2**63, 10**400, 1e300, "7", None, [7]])
def test_a_number_that_decorates_is_dropped(number: Any) -> None:
    status = status_of(STATUS | {"elapsed_time": number, "children": {"n1": {"name": "n", "retry": number}}})
    assert (status.elapsed_time, status.nodes[0].retry) == (0, 0)
    assert detail_of({"id": 1, "elapsed_time": number}).elapsed_time == 0


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 1.0, 2**63, 10**400, "9" * 5_000, "1e3", "x" * 9_999])
def test_a_number_that_counts_is_a_bad_answer(number: Any) -> None:
    for api, data in (
        ("get_task_detail", {"id": number}),
        ("get_tasks_status", [{"id": number, "status": STATUS}]),
        ("create_task", {"task_id": number}),
        ("get_tasks_manual_intervention_state", [{"id": number}]),
    ):
        with pytest.raises(errors.SopsInvalidAnswerError, match="an id is") as caught:
            READERS[api](answer_with(api, data, task_id=10))
        assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    "time", ["9999-12-31 23:59:59 -1200", "0001-01-01 00:00:00 +1400", "2026" * 9_999, TEXT, 1e999]
)
def test_a_time_that_is_none_is_a_bad_answer(time: Any) -> None:
    with pytest.raises(errors.SopsInvalidAnswerError, match="time") as caught:
        status_of(STATUS | {"finish_time": time})
    assert_storable(str(caught.value))


def test_nesting_has_an_end() -> None:
    children: dict[str, Any] = {}
    tree: dict[str, Any] = {"activities": {"n": {"name": "leaf"}}}
    for level in range(400):
        children = {f"n{level}": {"name": f"node {level}", "state": "FAILED", "children": children}}
        tree = {"activities": {f"n{level}": {"name": f"node {level}", "pipeline": tree}}, "constants": {}}
    status = status_of(STATUS | {"children": children, "name": children, "ex_data": {"n": children}})
    assert len([node for top in status.nodes for node, _ in top.walk()]) == 50
    assert len(list(readers.failed_leaves(status.nodes))) == 1
    assert len(status.name) <= 500
    detail = detail_of({"id": 1, "pipeline_tree": tree})
    assert 0 < len(list(activities(detail.pipeline_tree))) < 100
    assert count_activities(detail.pipeline_tree) == 0
    assert detail.secret_values == []
    assert describe_progress(status, detail)


def test_what_is_compared_from_answer_to_answer_has_an_end() -> None:
    deep: Any = "x"
    for _ in range(800):
        deep = [deep]
    item = {"id": 1, "status": {"state": deep, "finish_time": deep}, "finish_time": deep, "current_flow": deep}
    assert readers.status_signature(item) == readers.status_signature(copy.copy(item))


def test_what_has_ended_and_what_is_paused() -> None:
    inner = models.NodeStatus("n2", "inner", TaskState.SUSPENDED)
    outer = models.NodeStatus("n1", "outer", TaskState.NODE_SUSPENDED, children=(inner,))
    status = models.TaskStatus(1, TaskState.NODE_SUSPENDED, nodes=(outer,))
    assert status.node("n2") is inner
    assert status.node("n3") is None
    assert status.paused_nodes == [inner]
    assert not status.has_ended
    assert models.TaskStatus(1, TaskState.RUNNING, is_deleted=True).has_ended
    assert not models.TaskStatus(1, TaskState.FAILED, is_deleted=None).has_ended
    for state in (TaskState.FINISHED, TaskState.REVOKED, TaskState.EXPIRED, TaskState.ENDED):
        assert models.TaskStatus(1, state).has_ended
