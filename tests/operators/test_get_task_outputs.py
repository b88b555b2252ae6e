# SPDX-License-Identifier: Apache-2.0
"""The outputs operator: what it pushes, what it refuses, in both endpoints and with both generations of answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_sops import exceptions
from airflow_provider_sops.compat import NONE_IS_PUSHED
from airflow_provider_sops.exceptions import SopsConfigException, SopsOutputsException
from airflow_provider_sops.operators import sops as module
from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from airflow_provider_sops.testing import FakeSops
from tests.samples_of_sops import OLD_DETAIL, answer_of
from tests.tasks import TaskInstance, collect_log
from tests.times import MovedTime, move_time
from tests.verdict_cases import crash

Connect = Callable[..., None]
#: Airflow 3's parts talk with each other in MessagePack
WIRE_OF_64_BITS = not airflow.__version__.startswith("2.")
THREE = {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}


def twins(outputs: dict[str, Any]) -> dict[str, Any]:
    """Return what is pushed: both spellings, and what Airflow 3.0 cannot push left out."""
    both = outputs | {f"${{{name}}}": value for name, value in outputs.items()}
    return {key: value for key, value in both.items() if value is not None or NONE_IS_PUSHED}


class Ran:
    """An operator's run."""

    def __init__(self, sops_task_id: Any, **arguments: Any) -> None:
        self.ti = TaskInstance()
        operator = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=sops_task_id, **arguments)
        self.lines = collect_log(operator)
        self.returned = operator.execute(self.ti.context)
        self.url = self.ti.xcoms.pop("sops_task_url", None)
        self.pushed = self.ti.xcoms


def refused(error: type[BaseException], sops_task_id: Any, **arguments: Any) -> str:
    ti = TaskInstance()
    operator = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=sops_task_id, **arguments)
    with pytest.raises(error) as caught:
        operator.execute(ti.context)
    assert isinstance(caught.value, AirflowException)
    assert ti.xcoms.keys() <= {"sops_task_url"}, "nothing is pushed unless all can be"
    if error is SopsOutputsException:
        assert "/taskflow/execute/" in ti.xcoms["sops_task_url"], "the link is what helps most then"
    return str(caught.value)


@pytest.fixture
def finished(sops: FakeSops, connect: Connect, api_type: str) -> int:
    """A finished task, and a connection to each endpoint."""
    connect(sops, api_type)
    task_id = sops.create_task()
    sops.advance(10)
    return task_id


def put_out(sops: FakeSops, task_id: int, outputs: dict[str, Any]) -> None:
    """Let a finished task have these outputs."""
    sops.task(task_id).outputs = [{"key": f"${{{name}}}", "value": one, "name": name} for name, one in outputs.items()]


# ---- both generations of answers, through the endpoint that grants the detail alone, and through the other ----


@pytest.mark.parametrize("generation", ["old", "current"])
@pytest.mark.parametrize("endpoint", ["esb", "apigw"])
def test_a_site_that_grants_the_detail_alone(
    make_sops: Callable[..., FakeSops], connect: Connect, generation: str, endpoint: str
) -> None:
    sops = make_sops(granted=["get_task_detail"])
    body = OLD_DETAIL if generation == "old" else answer_of("01-lifecycle-two-sleeps/20").body
    sops.serve_canned({"get_task_detail": body})
    connect(sops, endpoint)
    task_id = body["data"]["id"]
    ti = TaskInstance()
    sensor = SopsTaskSensor(task_id="wait", sops_task_id=str(task_id))
    lines = collect_log(sensor)
    waited = sensor.execute(ti.context)
    assert waited["state"] == "FINISHED"
    if generation == "old":
        assert waited == {
            "sops_task_id": 10,
            "state": "FINISHED",
            "start_time": "2019-01-17T04:13:08+00:00",
            "end_time": "2019-01-17T04:13:15+00:00",
            "elapsed_time": 7,
            "task_url": "http://bk_sops_host/taskflow/execute/3/?instance_id=15364",
            "task_name": "job输出变量测试_20190117121300",
        }
    else:
        assert waited["end_time"].endswith("+08:00")
    assert sum("get_task_detail alone" in line for line in lines) == 1
    ran = Ran(task_id)
    assert set(ran.returned) == {"job_script_type", "IP", "EXIT"}
    assert ran.pushed == twins(ran.returned)
    assert ran.returned["IP"] == {"old": "127.0.0.1", "current": "10.20.30.40"}[generation]
    assert sum("get_task_detail alone" in line for line in ran.lines) == 1
    assert ran.url == body["data"]["task_url"]


def test_a_current_site(sops: FakeSops, finished: int) -> None:
    ran = Ran(finished)
    assert ran.returned == THREE
    assert ran.pushed == twins(THREE)
    assert ran.url == sops.site.task_url(sops.task(finished))
    assert "with outputs: " in ran.lines[-1]
    for key in ("${IP}", "${EXIT}", "${job_script_type}"):
        assert key in ran.lines[-1]


@pytest.mark.parametrize("api", ["get_task_status", "get_task_detail"])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "html"},
        {"kind": "html", "status": 404},
        {"kind": "redirect"},
        {"kind": "not_json"},
        {"kind": "function", "function": crash},
    ],
    ids=["a login page", "nobody there", "a redirect", "half a JSON", "a crash"],
)
def test_one_answer_that_is_not_the_apis_is_read_again(
    sops: FakeSops, finished: int, api: str, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    move_time(monkeypatch, MovedTime())
    sops.faults.add(api, **fault)
    assert Ran(finished).returned == THREE
    assert sops.count(api) == 2


def test_a_stale_detail_of_the_same_user_is_not_pushed(
    make_sops: Callable[..., FakeSops], connect: Connect, api_type: str
) -> None:
    sops = make_sops(caches=True)
    sops.clock.stop()
    connect(sops, api_type)
    task_id = sops.create_task()
    sops.advance(3)
    sensor = SopsTaskSensor(task_id="wait", sops_task_id=task_id)
    assert sensor.poke(TaskInstance().context) is False  # reads detail and status just before the end
    before = sops.clock.now()
    sops.advance(1)
    assert Ran(task_id).pushed == twins(THREE)
    assert sops.clock.now() == before + 1


# ---- what it pushes ----


@pytest.mark.parametrize("keys", [["IP", "${EXIT}"], ["$<IP>", "EXIT"], ("${IP}", "$< EXIT >")])
def test_selected_keys(finished: int, keys: Any) -> None:
    ran = Ran(finished, keys=keys)
    assert ran.returned == {"IP": "127.0.0.1", "EXIT": "0"}
    assert ran.pushed == twins(ran.returned)


def test_one_key_may_be_a_string(finished: int) -> None:
    assert Ran(finished, keys="${IP}").pushed == twins({"IP": "127.0.0.1"})


def test_no_key_pushes_none(finished: int) -> None:
    ran = Ran(finished, keys=[])
    assert (ran.returned, ran.pushed) == ({}, {})


def test_an_absent_key_is_an_error_that_lists_those_there_are(finished: int) -> None:
    message = refused(SopsOutputsException, finished, keys=["IP", "${HOST}", "PORT"])
    assert message == (
        f"SOPS task {finished} 'Two steps with outputs' has no output ${{HOST}}, ${{PORT}}; "
        "there are: ${EXIT}, ${IP}, ${job_script_type}"
    )


VALUES: dict[str, Any] = {
    "text": "plain",
    "chinese": "中文值 — ünï",
    "empty": "",
    "lines": "one\r\ntwo\n",
    "number": 5,
    "big": 9223372036854775807,
    "float": 1.5,
    "small float": 5e-324,
    "yes": True,
    "none": None,
    "list": [1, "two", [3, None]],
    "nested": {"a": {"b": [{"c": "中"}]}},
    "中文": "name",
    "literal": "${literal}",
}


def test_values_keep_their_json_types(sops: FakeSops, finished: int) -> None:
    put_out(sops, finished, VALUES)
    ran = Ran(finished)
    assert json.dumps(ran.returned) == json.dumps(VALUES)
    assert json.dumps(ran.pushed, sort_keys=True) == json.dumps(twins(VALUES), sort_keys=True)


def test_every_type_that_sops_puts_out(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    task_id = sops.create_task("Every type of output")
    sops.advance(10)
    served = {item["key"]: item["value"] for item in sops.task(task_id).outputs}
    if WIRE_OF_64_BITS:
        assert "Output ${big} of" in refused(SopsOutputsException, task_id)
        del served["${big}"]
    ran = Ran(task_id, keys=served.keys())
    pushed = {key: value for key, value in ran.pushed.items() if key.startswith("$")}
    assert pushed == {key: value for key, value in served.items() if value is not None or NONE_IS_PUSHED}
    assert ran.returned["none"] is None
    assert Ran(task_id, do_xcom_push=False).returned["big"] == 12345678901234567890123


def test_a_bare_name_that_is_the_operators_own_key(sops: FakeSops, finished: int) -> None:
    put_out(sops, finished, {"return_value": 1, "sops_task_url": "mine", "sops_task_id": 3, "IP": 4})
    ran = Ran(finished)
    assert ran.returned == {"return_value": 1, "sops_task_url": "mine", "sops_task_id": 3, "IP": 4}
    assert ran.pushed == {
        "${return_value}": 1,
        "${sops_task_url}": "mine",
        "${sops_task_id}": 3,
        "IP": 4,
        "${IP}": 4,
    }
    assert ran.url == sops.site.task_url(sops.task(finished))
    for name in ("return_value", "sops_task_url", "sops_task_id"):
        assert f"Output {name} is pushed as ${{{name}}} only: the bare name is taken." in ran.lines


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "a\nb", "a/../b", ".."])
def test_a_name_that_cannot_be_an_xcoms_key(sops: FakeSops, finished: int, name: str) -> None:
    put_out(sops, finished, {name: 1, "IP": 2})
    ran = Ran(finished)
    assert ran.returned == {name: 1, "IP": 2}
    assert ran.pushed == twins({"IP": 2})
    assert f"Output {name} is in the returned dict only: its name cannot be an XCom key." in ran.lines


def test_nothing_is_pushed_where_nothing_is_to_be(finished: int) -> None:
    ran = Ran(finished, do_xcom_push=False)
    assert (ran.returned, ran.pushed, ran.url) == (THREE, {}, None)


def nested(levels: int) -> Any:
    value: Any = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


#: what no Airflow may store, and why
UNSTORABLE: dict[str, tuple[Any, str]] = {
    "NaN": (float("nan"), "nan is not JSON"),
    "Infinity": (float("inf"), "inf is not JSON"),
    "a deep NaN": ({"deep": [float("nan")]}, "nan is not JSON"),
    "a class's name": ({"__classname__": "builtins.set"}, "for it has the keys __classname__"),
    "what a class is stored as": (
        {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1]},
        "for it has the keys __classname__, __data__, __version__",
    ),
    "a dict of old": ({"__type": "dict", "__var": {"a": 1}}, "come back as something else, for it has the keys __type"),
    "a set of old": ([{"__type": "set", "__var": [1]}], "for it has the keys __type, __var"),
    "too many levels": (nested(151), "it is nested more than 150 levels deep"),
    "hundreds of levels": (nested(600), "it is nested more than 150 levels deep"),
    "NUL": ("a\0b", "NUL character, which PostgreSQL refuses"),
    "NUL in a key": ({"a": {"\0": 1}}, "NUL character, which PostgreSQL refuses"),
    "a surrogate": (["\ud800"], "lone surrogate"),
    "a surrogate in a key": ({"\udfff": None}, "lone surrogate"),
}
#: what Airflow 3 cannot, whose parts talk in MessagePack and whose values are PostgreSQL's JSONB
UNSTORABLE_ON_AIRFLOW_3: dict[str, tuple[Any, str]] = {
    "more than 64 bits": (2**63, "a number in it needs more than 64 bits"),
    "less than 64 bits": ([-(2**63) - 1], "a number in it needs more than 64 bits"),
    "a float that JSONB makes a whole number": (1e16, "it would come back as something else"),
    "a float that JSONB makes a huge whole number": ({"a": -1e300}, "a number in it needs more than 64 bits"),
}


@pytest.mark.parametrize("kind", UNSTORABLE)
def test_what_xcoms_do_not_keep_is_an_error_before_the_first_push(sops: FakeSops, finished: int, kind: str) -> None:
    check_refused(sops, finished, *UNSTORABLE[kind])


@pytest.mark.parametrize("kind", UNSTORABLE_ON_AIRFLOW_3)
def test_numbers_that_airflow_2_alone_keeps(sops: FakeSops, finished: int, kind: str) -> None:
    value, why = UNSTORABLE_ON_AIRFLOW_3[kind]
    if WIRE_OF_64_BITS:
        check_refused(sops, finished, value, why)
    else:
        put_out(sops, finished, {"number": value})
        assert repr(Ran(finished).pushed["number"]) == repr(value)


def check_refused(sops: FakeSops, finished: int, value: Any, why: str) -> None:
    put_out(sops, finished, {"IP": "1", "bad": value})
    message = refused(SopsOutputsException, finished)
    assert message.startswith(f"Output ${{bad}} of SOPS task {finished} cannot be pushed into XCom (")
    assert why in message
    assert message.endswith("nothing was pushed. Name the outputs you need in keys.")
    assert Ran(finished, keys=["IP"]).returned == {"IP": "1"}
    silent = Ran(finished, do_xcom_push=False)
    assert (repr(silent.returned["bad"]), silent.pushed) == (repr(value), {})


def test_a_name_that_xcoms_do_not_keep(sops: FakeSops, finished: int) -> None:
    put_out(sops, finished, {"IP": "1", "__classname__": "2"})
    message = refused(SopsOutputsException, finished)
    assert message.startswith(f"Output ${{__classname__}} of SOPS task {finished} cannot be pushed into XCom (")
    assert Ran(finished, keys=["IP"]).returned == {"IP": "1"}


@pytest.mark.parametrize(("name", "shown"), [("a\0b", "a\\x00b"), ("a\ud800", "a\\ud800")])
def test_a_name_that_no_database_keeps(sops: FakeSops, finished: int, name: str, shown: str) -> None:
    put_out(sops, finished, {"IP": "1", name: "2"})
    ran = Ran(finished)
    assert (ran.returned, ran.pushed) == ({"IP": "1", shown: "2"}, twins({"IP": "1"}))


def test_names_that_xcoms_do_not_keep_together(sops: FakeSops, finished: int) -> None:
    put_out(sops, finished, {"__type": "dict", "__var": {"IP": "1"}})
    message = refused(SopsOutputsException, finished)
    assert message.startswith(f"Output ${{__type}}, ${{__var}} of SOPS task {finished} cannot be pushed into XCom (")
    assert Ran(finished, keys=["__type"]).returned == {"__type": "dict"}


def test_as_many_levels_as_every_airflow_keeps(sops: FakeSops, finished: int) -> None:
    put_out(sops, finished, {"deep": nested(150)})
    assert Ran(finished).pushed["deep"] == nested(150)


def test_a_backend_of_the_sites_own_is_not_asked(
    sops: FakeSops, finished: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", "tests.operators.no_such_module.Backend")
    put_out(sops, finished, {"bad": float("nan"), "IP": "1"})
    refused(SopsOutputsException, finished)
    assert Ran(finished, keys=["IP"]).returned == {"IP": "1"}


def test_a_push_that_fails_is_not_hidden(finished: int) -> None:
    class Broken(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            raise RuntimeError("database is gone")

    operator = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=finished)
    with pytest.raises(RuntimeError, match="database is gone"):
        operator.execute(Broken().context)


def test_values_of_password_variables_are_masked(
    sops: FakeSops, connect: Connect, api_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(sops, api_type)
    task_id = sops.create_task("Password output")
    sops.advance(5)
    masked: list[str] = []
    monkeypatch.setattr("airflow_provider_sops.xcom_outputs.mask_secret", masked.append)
    ran = Ran(task_id)
    assert "fake-pass-word-1" in masked
    assert ran.pushed["password"] == "fake-pass-word-1"
    assert not any("fake-pass-word-1" in line for line in ran.lines)


# ---- what it refuses ----


@pytest.mark.parametrize(
    ("template", "act", "says"),
    [
        ("Long sleep", None, "'Long sleep' has not finished: it is RUNNING, and outputs come at the end. Put a SopsTa"),
        ("Long sleep", "pause", "has not finished: it is SUSPENDED"),
        ("Long sleep", "revoke", "was ended as REVOKED, so it has no outputs."),
        ("Pause for a person", None, "has not finished: it is RUNNING"),
    ],
)
def test_a_task_that_has_no_outputs(
    sops: FakeSops, connect: Connect, api_type: str, template: str, act: str | None, says: str
) -> None:
    connect(sops, api_type)
    task_id = sops.create_task(template)
    sops.advance(3)
    if act:
        sops.operate(task_id, act)
    message = refused(SopsOutputsException, task_id)
    assert message.startswith(f"SOPS task {task_id} ")
    assert says in message
    assert message.endswith(f" Task page: {sops.site.task_url(sops.task(task_id))}")


def test_a_failed_task_says_why(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    task_id = sops.create_task("Always fails")
    sops.advance(3)
    message = refused(SopsOutputsException, task_id)
    assert message.startswith(f"SOPS task {task_id} 'Always fails' has FAILED, so it has no outputs.\n")
    assert "Node 'call' (plugin bk_http_request" in message
    assert "failed: 请求异常，详细信息: Connection refused" in message
    assert f"Task page: {sops.url}" in message


def test_a_deleted_task(sops: FakeSops, finished: int) -> None:
    sops.delete_task(finished)
    assert "was deleted in SOPS" in refused(SopsOutputsException, finished)


def test_an_end_of_unknown_state(make_sops: Callable[..., FakeSops], connect: Connect) -> None:
    sops = make_sops(granted=["get_task_detail"])
    connect(sops)
    task_id = sops.create_task("No outputs")
    sops.advance(10)
    assert "set assume_finished=True" in refused(SopsOutputsException, task_id)
    assert Ran(task_id, assume_finished=True).returned == {}


def test_errors_of_reading_keep_their_class(sops: FakeSops, finished: int) -> None:
    assert "Check the ids" in refused(exceptions.SopsNotFoundException, 4242)
    sops.apps["demo-app"] = "changed"
    refused(exceptions.SopsAuthenticationException, finished)


@pytest.mark.parametrize("task_id", ["abc", "", None, 0, "1.5"])
def test_an_id_that_is_none(sops: FakeSops, connect: Connect, task_id: Any) -> None:
    connect(sops)
    assert refused(SopsConfigException, task_id).startswith("sops_task_id: must be a positive whole number, not ")
    assert sops.count() == 0


def test_another_business_scope_and_connection(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type, conn_id="my_site", bk_biz_id=None)
    task_id = sops.create_task()
    sops.advance(10)
    project = {"bk_biz_id": str(sops.project_id), "scope": "project", "sops_conn_id": "my_site"}
    assert Ran(f" {task_id}", **project).returned == THREE
    assert "bk_biz_id: is not given" in refused(SopsConfigException, task_id, sops_conn_id="my_site")


def test_all_that_may_differ_between_runs_is_templated() -> None:
    fields = {"sops_task_id", "keys", "bk_biz_id", "scope", "sops_conn_id"}
    assert set(module.SopsGetTaskOutputsOperator.template_fields) >= fields
