# SPDX-License-Identifier: Apache-2.0
"""Reading outputs past caches and the race at the end, and explaining a failure; over real HTTP, without Airflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.failure_report import explain, telling_lines
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.task_outputs import OutputsUnavailable, TaskOutputs, read_outputs, select
from airflow_provider_sops.testing import FakeSops
from tests.clients import connect_to
from tests.core.test_redact import ENCODINGS, nasty_secrets
from tests.hostile import SHOWN, assert_storable, fill
from tests.old_answers import leave_out, with_class_names
from tests.samples_of_sops import answer_of
from tests.times import MovedTime, move_time

SECRET_INPUTS = Path(__file__).parents[1] / "secret_inputs.toml"
TWO_FAIL = Path(__file__).parents[1] / "two_fail.toml"


@pytest.fixture
def cached_sops(make_sops: Callable[..., FakeSops]) -> FakeSops:
    """A fake SOPS with its caches, whose time stands still."""
    fake = make_sops(caches=True)
    fake.clock.stop()
    return fake


@pytest.fixture(autouse=True)
def moved(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> MovedTime:
    """Pauses move the fake's time instead of ours."""

    def advance(seconds: float) -> None:
        if "cached_sops" in request.fixturenames:
            request.getfixturevalue("cached_sops").advance(seconds)

    moved = MovedTime(advance)
    move_time(monkeypatch, moved)
    return moved


def outputs_of(sops: FakeSops, task_id: int, api_type: str = "apigw", **more: Any) -> TaskOutputs:
    with connect_to(sops, api_type) as client:
        return client.run(read_outputs(task_id, Project(2), **more))


def unavailable(sops: FakeSops, task_id: int, **more: Any) -> OutputsUnavailable:
    with pytest.raises(OutputsUnavailable) as caught:
        outputs_of(sops, task_id, **more)
    assert str(caught.value).startswith(f"SOPS task {task_id} ")
    return caught.value


def test_a_detail_read_just_before_the_end_does_no_harm(cached_sops: FakeSops, api_type: str, moved: MovedTime) -> None:
    task_id = cached_sops.create_task()
    cached_sops.advance(3)
    with connect_to(cached_sops, api_type) as client:
        before = client.call("get_task_detail", task_id=task_id).data
        assert (before["outputs"], before["finish_time"]) == ([], "")
        client.call("get_task_status", task_id=task_id)
        cached_sops.advance(1)
        assert cached_sops.task(task_id).state == "FINISHED"
        # whoever asks the same as before gets the stale answer …
        assert client.call("get_task_detail", task_id=task_id).data["outputs"] == []
        assert client.call("get_task_status", task_id=task_id).data["state"] == "RUNNING"
    # … but not the one who needs the outputs, and at once
    outputs = outputs_of(cached_sops, task_id, api_type)
    assert outputs.values == {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}
    assert outputs.detail.finish_time is not None
    assert moved.sleeps == []
    assert outputs.notices == ()


def test_old_values_of_an_earlier_read_are_not_taken(cached_sops: FakeSops) -> None:
    task_id = cached_sops.create_task()
    cached_sops.advance(10)
    first = outputs_of(cached_sops, task_id)
    cached_sops.task(task_id).outputs = [{"key": "${IP}", "value": "new", "name": "IP"}]
    assert outputs_of(cached_sops, task_id).values == {"IP": "new"}
    assert first.values["IP"] == "127.0.0.1"


@pytest.mark.parametrize("granted", [None, ["get_task_detail"]])
def test_the_race_at_the_end(make_sops: Callable[..., FakeSops], granted: list[str] | None, moved: MovedTime) -> None:
    sops = make_sops(granted=granted)
    task_id = sops.create_task()
    sops.advance(10)
    sops.faults.add(kind="end_race", reads=5)
    outputs = outputs_of(sops, task_id)
    assert outputs.detail.finish_time is not None
    assert outputs.values["IP"] == "127.0.0.1"
    assert 1 <= len(moved.sleeps) <= 5


def test_an_end_that_never_comes(cached_sops: FakeSops, moved: MovedTime) -> None:
    task_id = cached_sops.create_task()
    cached_sops.advance(10)
    cached_sops.faults.add(kind="end_race", seconds=10_000)
    problem = unavailable(cached_sops, task_id)
    assert "is FINISHED, but SOPS has given no end time for 120 s, so its outputs may not be complete" in str(problem)
    assert "Look at the task's page: http://" in str(problem)
    assert sum(moved.sleeps) == 120


@pytest.mark.parametrize("granted", [None, ["get_task_detail"]])
def test_the_detail_alone(make_sops: Callable[..., FakeSops], granted: list[str] | None, api_type: str) -> None:
    sops = make_sops(granted=granted)
    task_id = sops.create_task()
    sops.advance(10)
    outputs = outputs_of(sops, task_id, api_type)
    assert outputs.values == {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}
    assert len(outputs.notices) == (0 if granted is None else 1)
    assert all("get_task_detail alone" in notice for notice in outputs.notices)


@pytest.mark.parametrize(
    ("act", "template", "state", "says"),
    [
        (
            None,
            "Long sleep",
            "RUNNING",
            "has not finished: it is RUNNING, and outputs come at the end. Put a",
        ),
        ("pause", "Long sleep", "SUSPENDED", "has not finished: it is SUSPENDED"),
        ("revoke", "Long sleep", "REVOKED", "was ended as REVOKED, so it has no outputs."),
        ("expire", "Two steps with outputs", "EXPIRED", "was ended as EXPIRED, so it has no outputs."),
        (None, "Always fails", "FAILED", "has FAILED, so it has no outputs."),
    ],
)
def test_a_task_without_outputs(sops: FakeSops, act: str | None, template: str, state: str, says: str) -> None:
    task_id = sops.create_task(template)
    sops.advance(10)
    if act == "expire":
        sops.expire_task(task_id)
    elif act:
        sops.operate(task_id, act)
    problem = unavailable(sops, task_id)
    assert f"SOPS task {task_id} {template!r} {says}" in str(problem)
    assert problem.status is not None
    assert problem.status.state is TaskState(state)


def test_a_task_that_was_never_started(sops: FakeSops) -> None:
    assert "it is CREATED" in str(unavailable(sops, sops.create_task(start=False)))


def test_a_deleted_task(sops: FakeSops) -> None:
    task_id = sops.create_task()
    sops.advance(10)
    sops.delete_task(task_id)
    assert str(unavailable(sops, task_id)) == f"SOPS task {task_id} 'Two steps with outputs' was deleted in SOPS."


def test_a_task_that_is_not_there(sops: FakeSops, api_type: str) -> None:
    with pytest.raises(errors.SopsNotFoundError):
        outputs_of(sops, 4242, api_type)


def test_a_finish_without_outputs(make_sops: Callable[..., FakeSops]) -> None:
    sops = make_sops()
    task_id = sops.create_task("No outputs")
    sops.advance(10)
    assert outputs_of(sops, task_id).values == {}
    sops.deny("get_task_status")
    assert "ended without outputs, and its state is unknown" in str(unavailable(sops, task_id))
    assert outputs_of(sops, task_id, assume_finished=True).values == {}


def test_selecting() -> None:
    outputs = {"IP": 1, "EXIT": 2, "中文": 3}
    assert select(outputs, None) == outputs
    assert select(outputs, ["${EXIT}", "$<IP>", "中文"]) == {"EXIT": 2, "IP": 1, "中文": 3}
    assert select(outputs, []) == {}
    with pytest.raises(KeyError) as caught:
        select(outputs, ["IP", "HOST", "$<PORT>"])
    assert caught.value.args == ("no output ${HOST}, ${PORT}; there are: ${EXIT}, ${IP}, ${中文}",)
    with pytest.raises(KeyError, match="there are: none"):
        select({}, ["IP"])


# ---- why it failed ----


def explanation(sops: FakeSops, task_id: int, api_type: str = "apigw") -> str:
    with connect_to(sops, api_type) as client:
        return client.run(explain(task_id, Project(2), None))


def test_an_explanation_names_node_plugin_message_inputs_log_and_page(sops: FakeSops, api_type: str) -> None:
    task_id = sops.create_task("Always fails")
    sops.advance(5)
    node = sops.task(task_id).node("call")
    lines = explanation(sops, task_id, api_type).splitlines()
    assert lines[0] == (
        f"  Node 'call' (plugin bk_http_request, id {node.id}) failed: 请求异常，详细信息: Connection refused"
    )
    assert lines[1].startswith('    inputs: {"bk_http_request_method": "GET", "bk_http_request_url": "http://service.')
    log = [line for line in lines if line.startswith("    log: ")]
    assert [line.split("]", 1)[1] for line in log] == [
        "[INFO] send GET request to http://service.example.com/nothing",
        "[ERROR] 请求异常，详细信息: Connection refused",
    ]
    assert lines[-1] == f"  Task page: {sops.site.task_url(sops.task(task_id))}"


def test_of_a_recorded_log_the_plugins_own_lines_are_told() -> None:
    log = answer_of("20f-misc-apis/03").data
    assert len(log.splitlines()) == 40
    assert [line.partition("]")[2][:36] for line in telling_lines(log, 5)] == [
        "[INFO] send GET request to http://12",
        "[ERROR] request error: HTTPConnectio",
    ]


AT = "[2026-11-28 22:14:13,318]"
ENGINE = f"{AT}[INFO] root_pipeline[n1] node(n2) skip dispatch(node_enter)"


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("", []),
        ("no record\n\nat all\nno record", ["no record", "at all"]),
        # errors first, and all in their order
        (
            "\n".join([f"{AT}[ERROR] bad", *(f"{AT}[INFO] {n}" for n in range(9)), f"{AT}[INFO] 8"]),
            [f"{AT}[ERROR] bad", f"{AT}[INFO] 7", f"{AT}[INFO] 8"],
        ),
        ("\n".join(f"{AT}[ERROR] {n}" for n in range(9)), [f"{AT}[ERROR] {n}" for n in (6, 7, 8)]),
        # a record of several lines is one; as a whole it may stand there twice
        (
            f"{AT}[ERROR] boom\n  File x\nValueError: no\n" * 2 + ENGINE,
            [f"{AT}[ERROR] boom", "  File x", "ValueError: no"],
        ),
        # an error counts although the engine tells it; not that nobody listens
        (
            f"{ENGINE}\n{AT}[ERROR] root_pipeline[n1] node(n2) boom\n{AT}[ERROR] event task_failed not found",
            [f"{AT}[ERROR] root_pipeline[n1] node(n2) boom"],
        ),
        # nothing else is there
        (f"{ENGINE}\n{ENGINE}\n{ENGINE}x", [ENGINE, f"{ENGINE}x"]),
    ],
)
def test_the_lines_of_a_log_that_say_why(log: str, told: list[str]) -> None:
    assert telling_lines(log, 3) == told


def test_an_explanation_of_a_task_that_was_paused_then(sops: FakeSops) -> None:
    """SOPS gives no reasons with the status of a paused task."""
    task_id = sops.create_task("Always fails")
    sops.advance(5)
    sops.operate(task_id, "pause")
    assert "failed: 请求异常，详细信息: Connection refused" in explanation(sops, task_id)


def test_an_explanation_where_sops_gives_no_reasons_with_a_status(sops: FakeSops, api_type: str) -> None:
    """As before release 3.6.10, which names after classes what has no name, too."""
    leave_out(sops, "ex_data", edit=with_class_names)
    task_id = sops.create_task("Always fails")
    sops.advance(5)
    (first, *_) = explanation(sops, task_id, api_type).splitlines()
    assert first.startswith("  Node 'call' (plugin bk_http_request, id n")
    assert first.endswith(" failed: 请求异常，详细信息: Connection refused")


@pytest.mark.parametrize("missing", ["removed", "redirected"])
def test_logs_that_are_not_to_be_had_are_asked_for_once(make_sops: Callable[..., FakeSops], missing: str) -> None:
    """Before release 3.34.5 there are none."""
    sops = make_sops(templates=TWO_FAIL)
    task_id = sops.create_task("Two branches fail")
    sops.advance(5)
    if missing == "removed":
        sops.remove_api("get_task_node_log")
    else:
        sops.faults.add("get_task_node_log", kind="redirect", times=None, location="/")
    text = explanation(sops, task_id)
    assert [name for name in ("'bad'", "'worse'") if f"Node {name} " in text] == ["'bad'", "'worse'"]
    assert text.count("    inputs: ") == 2
    assert "    log: " not in text
    assert "get_task_node_log" not in text
    assert sops.count("get_task_node_log") == 1


def test_an_explanation_of_a_node_in_a_subprocess(sops: FakeSops) -> None:
    task_id = sops.create_task("With a subprocess that fails")
    sops.advance(5)
    assert "Node 'child call' (plugin bk_http_request" in explanation(sops, task_id)
    assert ") in subprocess sub failed: " in explanation(sops, task_id)
    (asked,) = {
        request.params["subprocess_stack"] for request in sops.requests if request.api == "get_task_node_detail"
    }
    assert json.loads(asked) == [sops.task(task_id).node("sub").id]


def test_an_explanation_shows_no_password(make_sops: Callable[..., FakeSops], api_type: str) -> None:
    sops = make_sops(templates=SECRET_INPUTS)
    task_id = sops.create_task("Tells its password")
    sops.advance(5)
    text = explanation(sops, task_id, api_type)
    assert "failed: cannot log in with ***" in text
    assert "http://admin:***@service.example.com/" in text
    assert "Zq7" not in text


def _told(secret: str, encode: Callable[[str], str], before: int) -> str:
    """Return what a node may say of a password: behind so many characters, where it would be cut."""
    return f"{'x' * before} cannot log in with {encode(secret)}; and again: {encode(secret)}"


@pytest.mark.parametrize("before", [0, 470, 490], ids="cut at {}".format)
def test_an_explanation_shows_no_password_in_any_form(make_sops: Callable[..., FakeSops], before: int) -> None:
    sops = make_sops(templates=SECRET_INPUTS)
    for number, (start, end) in enumerate(pairwise(nasty_secrets(4, 23))):
        secret = f"{start}Zq7{end}"  # the mark is written alike in all forms
        encode = list(ENCODINGS.values())[number % len(ENCODINGS)]
        task_id = sops.create_task("Tells its password", constants={"password": secret})
        sops.advance(5)
        node = sops.task(task_id).node("login")
        node.ex_data = _told(secret, encode, before)
        node.inputs = {"script": _told(secret, encode, before), "list": [{"a": secret}], secret: 1}
        text = explanation(sops, task_id)
        assert "Zq7" not in text, (secret, text)
        assert "    inputs: " in text
        assert "    log: " in text
        if not before:
            assert "failed: cannot log in with ***; and again: ***" in text


@pytest.mark.parametrize("value", [7654321, {"tag": "value", "value": "Zq7wrapped"}, ["Zq7one", {"key": "Zq7two"}]])
def test_an_explanation_shows_no_password_that_is_no_text(make_sops: Callable[..., FakeSops], value: Any) -> None:
    sops = make_sops(templates=SECRET_INPUTS)
    task_id = sops.create_task("Tells its password", constants={"password": value})
    sops.advance(5)
    node = sops.task(task_id).node("login")
    node.ex_data = f"cannot log in with {value}"
    node.inputs = {"whole": value, "text": f"-p {json.dumps(value)}"}
    text = explanation(sops, task_id)
    assert "Zq7" not in text
    assert "7654321" not in text
    assert "value" in text or not isinstance(value, dict), "a tag is no secret"


def test_inputs_are_not_shown_where_it_is_not_known_which_are_secret(make_sops: Callable[..., FakeSops]) -> None:
    sops = make_sops(templates=SECRET_INPUTS)
    task_id = sops.create_task("Tells its password", constants={"password": "Zq7nodepassword"})
    sops.advance(5)
    sops.task(task_id).node("login").ex_data = "cannot log in"
    sops.deny("get_task_detail", "get_task_node_log")
    text = explanation(sops, task_id)
    assert "failed: cannot log in" in text
    assert "inputs" not in text


def test_an_explanation_is_storable(sops: FakeSops, api_type: str) -> None:
    task_id = sops.create_task("Always fails")
    sops.advance(5)
    fill(sops, task_id)
    text = explanation(sops, task_id, api_type)
    assert_storable(text)
    (first, inputs, *logs) = text.splitlines()
    assert first.startswith(f"  Node {SHOWN!r} (plugin bk_http_request, id ")
    assert first.endswith(f" failed: {SHOWN}")
    assert inputs.startswith('    inputs: {"a\\u0000a\\u0001a')
    assert any(SHOWN[:100] in line for line in logs)


@pytest.mark.parametrize(
    ("denied", "says"),
    [
        (["get_task_node_detail"], "failed: 请求异常"),
        (["get_task_node_log"], "inputs: "),
        (["get_task_detail"], "failed: 请求异常"),
        (["get_task_detail", "get_task_node_detail", "get_task_node_log"], "Node 'call' (id n"),
        (["get_task_status"], "Why it failed could not be read: get_task_status of SOPS task"),
    ],
)
def test_what_cannot_be_read_does_not_hide_the_rest(sops: FakeSops, denied: list[str], says: str) -> None:
    task_id = sops.create_task("Always fails")
    sops.advance(5)
    sops.deny(*denied)
    assert says in explanation(sops, task_id)


def test_an_explanation_has_an_end(sops: FakeSops) -> None:
    task_id = sops.create_task("Always fails")
    sops.advance(5)
    node = sops.task(task_id).node("call")
    node.ex_data = "x" * 10_000
    node.inputs = {"script": "y" * 10_000}
    assert len(explanation(sops, task_id)) < 4000
