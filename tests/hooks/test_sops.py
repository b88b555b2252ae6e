# SPDX-License-Identifier: Apache-2.0
"""The hook over real HTTP, in both endpoints: connections, typed results, errors, and what `Test` says."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_sops import exceptions
from airflow_provider_sops.core import errors
from airflow_provider_sops.core.http.network import CA_VARIABLES
from airflow_provider_sops.core.http.retry import NO_RETRY, RetryPolicy
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.exceptions import SopsConfigException, SopsException, airflow_errors, as_airflow
from airflow_provider_sops.hooks import sops as module
from airflow_provider_sops.hooks.sops import SopsHook
from airflow_provider_sops.testing import FakeSops, Request
from tests import secrets
from tests.servers import Proxy, make_certificate

Connect = Callable[..., None]


@pytest.fixture
def hook(sops: FakeSops, connect: Connect, api_type: str) -> SopsHook:
    """A hook of each endpoint, which tries each call once."""
    connect(sops, api_type)
    return SopsHook(retry=NO_RETRY)


# ---- typed results ----


def test_the_life_of_a_task(sops: FakeSops, hook: SopsHook) -> None:
    (template,) = (one for one in hook.get_template_list(name_keyword="Fails until") if one.template_id == 105)
    assert template.name == "Fails until retried with good inputs"
    assert "${flag}" in hook.get_template_info(template.template_id).constants
    created = hook.create_task(template.template_id, "中文 'name' \"x\"", constants={"${IP}": "10.0.0.9"})
    task_id = created.task_id
    assert created.task_url.endswith(f"instance_id={task_id}")
    assert hook.get_task_status(task_id).state is TaskState.CREATED
    hook.start_task(task_id)
    sops.advance(1)
    failed = hook.get_task_status(str(task_id), with_ex_data=True, with_auto_retry_status=True)
    assert (failed.state, failed.auto_retry_pending) == (TaskState.FAILED, False)
    ((node_id, reason),) = failed.ex_data.items()
    assert "500" in reason
    detail = hook.get_task_node_detail(task_id, node_id, component_code="bk_http_request")
    assert (detail.state, detail.inputs["bk_http_request_url"]) == (
        TaskState.FAILED,
        "http://service.example.com/bad",
    )
    inputs = {**detail.inputs, "bk_http_request_url": "http://service.example.com/good"}
    hook.operate_node(task_id, node_id, "retry", inputs=inputs)
    sops.advance(5)
    assert hook.get_task_status(task_id, fresh=True).state is TaskState.FINISHED
    done = hook.get_task_detail(task_id)
    assert (done.name, done.create_method) == ("中文 'name' \"x\"", "api")
    assert {output.name: output.value for output in done.outputs} == {"IP": "10.0.0.9", "EXIT": "0"}
    (listed,) = hook.get_task_list(keyword="'name'", is_finished=True)
    assert (listed.task_id, listed.is_finished) == (task_id, True)
    assert listed.finish_time == done.finish_time or listed.finish_time is not None


def test_a_task_is_paused_resumed_and_revoked(sops: FakeSops, hook: SopsHook) -> None:
    task_id = sops.create_task("Long sleep")
    sops.advance(1)
    for action, state in (("pause", "SUSPENDED"), ("resume", "RUNNING"), ("revoke", "REVOKED")):
        hook.operate_task(task_id, action)
        assert hook.get_task_status(task_id).state is TaskState(state)
        assert hook.get_tasks_status([task_id])[task_id].state is TaskState(state)
    with pytest.raises(exceptions.SopsInvalidOperationException, match="cannot be revoke"):
        hook.operate_task(task_id, "revoke")


def test_any_number_of_tasks_is_asked_for_in_chunks(sops: FakeSops, hook: SopsHook) -> None:
    task_ids = [sops.create_task(start=False) for _ in range(120)]
    found = hook.get_tasks_status([*task_ids, *map(str, task_ids[:5]), 999_999])
    assert set(found) == set(task_ids)
    asked = [request.params["task_id_list"] for request in sops.requests]
    assert [len(chunk) for chunk in asked] == [50, 50, 21]
    assert hook.get_tasks_status([]) == {}
    assert sops.count() == 3


def test_flags_are_sent_only_when_true(sops: FakeSops, hook: SopsHook) -> None:
    task_id = sops.create_task("Long sleep")
    sops.advance(1)
    hook.get_task_status(task_id)
    hook.get_task_status(task_id, with_ex_data=True, with_failed_node_info=True, with_auto_retry_status=True)
    plain, full = (
        {name: value for name, value in request.params.items() if name.startswith("with")} for request in sops.requests
    )
    assert plain == {}
    assert set(full) == {"with_ex_data", "with_failed_node_info", "with_auto_retry_status"}


def test_a_fresh_answer_passes_the_cache(make_sops: Callable[..., FakeSops], connect: Connect) -> None:
    sops = make_sops(caches=True)
    sops.clock.stop()
    connect(sops)
    hook, task_id = SopsHook(), sops.create_task()
    sops.advance(2)
    assert hook.get_task_status(task_id).state is TaskState.RUNNING
    assert hook.get_task_detail(task_id).finish_time is None
    sops.advance(2)
    assert hook.get_task_status(task_id).state is TaskState.RUNNING
    assert hook.get_task_detail(task_id).finish_time is None
    assert hook.get_task_status(task_id, fresh=True).state is TaskState.FINISHED
    assert hook.get_task_detail(task_id, fresh=True).finish_time is not None
    assert hook.get_tasks_status([task_id], fresh=True)[task_id].state is TaskState.FINISHED


def test_any_api_can_be_called(sops: FakeSops, hook: SopsHook) -> None:
    task_id = sops.create_task()
    assert hook.call("get_user_project_list")[0]["bk_biz_id"]
    assert hook.call("get_template_schemes", template_id=101)[0]["name"] == "without sleep2"
    assert hook.call("get_task_detail", task_id=task_id, bk_biz_id=2)["id"] == task_id
    assert hook.call("get_task_detail", task_id=task_id, bk_biz_id=7, scope="project")["id"] == task_id
    with pytest.raises(exceptions.SopsApiNotFoundException):
        hook.call("get_new_things", page=1)
    with pytest.raises(exceptions.SopsApiNotFoundException):
        hook.call("do_new_things", http_method="POST", path_ids=("bk_biz_id",), what="x")
    methods = [request.method for request in sops.requests]
    assert methods == ["GET"] * 5 + ["POST"]


def test_one_http_session_serves_the_hook(sops: FakeSops, hook: SopsHook) -> None:
    for _ in range(3):
        hook.call("get_user_project_list")
    assert sops.connections == 1
    hook.close()
    hook.call("get_user_project_list")
    assert sops.connections == 2


def test_a_read_is_tried_again_by_default(sops: FakeSops, connect: Connect) -> None:
    connect(sops)
    sops.faults.add(kind="drop")
    hook = SopsHook(retry=RetryPolicy(first_delay=0.01))
    assert hook.call("get_user_project_list")
    assert SopsHook().get_conn().retry == RetryPolicy()


# ---- where ----


def test_the_hooks_business_and_scope_win_over_the_connections(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type, bk_biz_id=4242)
    task_id = sops.create_task()
    with pytest.raises(exceptions.SopsNotFoundException, match="bk_biz_id=4242"):
        SopsHook().get_task_detail(task_id)
    assert SopsHook(bk_biz_id="2").get_task_detail(task_id).task_id == task_id
    assert SopsHook(bk_biz_id=7, scope="project").get_task_detail(task_id).task_id == task_id


def test_the_connections_scope(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type, bk_biz_id=7, scope="project")
    task_id = sops.create_task()
    hook = SopsHook()
    assert hook.get_task_detail(task_id).task_id == task_id
    assert hook.get_tasks_status([task_id])
    with pytest.raises(exceptions.SopsNotFoundException):
        SopsHook(scope="cmdb_biz").get_task_detail(task_id)


def test_a_business_that_nobody_names(sops: FakeSops, connect: Connect) -> None:
    connect(sops, bk_biz_id=None)
    hook = SopsHook(bk_biz_id="")
    with pytest.raises(SopsConfigException) as caught:
        hook.get_task_detail(1)
    assert str(caught.value) == (
        "bk_biz_id: is not given; name it in the task, or in the extra of connection 'sops_default'"
    )
    with pytest.raises(SopsConfigException, match="bk_biz_id: get_task_list needs it"):
        hook.call("get_task_list")
    assert hook.call("get_user_project_list")
    assert sops.count() == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"bk_biz_id": "two"}, "bk_biz_id: must be a positive whole number, not 'two'"),
        ({"scope": "biz"}, "scope: must be 'cmdb_biz' or 'project', not 'biz'"),
    ],
)
def test_a_wrong_argument(sops: FakeSops, connect: Connect, arguments: dict[str, Any], says: str) -> None:
    connect(sops)
    with pytest.raises(SopsConfigException) as caught:
        SopsHook(**arguments).get_task_detail(1)
    assert str(caught.value) == says
    with pytest.raises(SopsConfigException, match="task_id: must be a positive whole number, not 'x'"):
        SopsHook().get_task_detail("x")
    with pytest.raises(SopsConfigException, match="task_id: must be"):
        SopsHook().get_tasks_status([1, "x"])
    assert sops.count() == 0


# ---- its connection ----


@pytest.mark.parametrize("form", ["json", "uri"])
def test_a_connection_of_the_environment(
    sops: FakeSops, form: str, api_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_sops.testing.__main__ import connection_uri

    fields = sops.connection(api_type)
    text = json.dumps(fields) if form == "json" else connection_uri(fields)
    monkeypatch.setenv("AIRFLOW_CONN_MY_SITE", text)
    assert SopsHook("my_site").call("get_user_project_list")


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"bk_username": None}, "bk_username: is empty; give one of bk_username, bk_token, access_token in extra"),
        ({"bk_token": secrets.BK_TOKEN}, "bk_token: contradicts bk_username"),
        ({"verify": "maybe"}, "verify: must be true, false or the path of a CA bundle"),
        ({"verify": "/nowhere/ca.pem"}, "verify: '/nowhere/ca.pem' is not there: no such file"),
        ({"timeout": "soon"}, "timeout: must be a number of seconds greater than 0"),
        ({"scope": "biz"}, "scope: must be 'cmdb_biz' or 'project'"),
    ],
)
def test_a_connection_that_cannot_be_used(sops: FakeSops, connect: Connect, extra: dict[str, Any], says: str) -> None:
    connect(sops, **extra)
    hook = SopsHook()
    with pytest.raises(SopsConfigException) as caught:
        hook.get_task_detail(1)
    assert str(caught.value).startswith(says)
    assert isinstance(caught.value, AirflowException)
    works, message = SopsHook().test_connection()
    assert (works, message) == (False, str(caught.value))
    assert sops.count() == 0


def test_an_extra_that_was_encoded_twice(sops: FakeSops, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = sops.connection()
    twice = json.dumps(json.dumps({**fields["extra"], "bk_token": secrets.BK_TOKEN}))
    monkeypatch.setenv("AIRFLOW_CONN_SOPS_DEFAULT", json.dumps({**fields, "extra": twice}))
    says = "extra: is JSON within JSON: a text|`sops_default` isn't defined"  # Airflow 3.0 and 3.1 do not give it to us
    with pytest.raises(AirflowException, match=says) as caught:
        SopsHook().get_task_detail(1)
    assert SopsHook().test_connection() == (False, str(caught.value))
    assert sops.count() == 0


def test_a_secret_that_was_pasted_with_a_line_break(sops: FakeSops, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = sops.connection()
    fields["password"] += "\n"
    monkeypatch.setenv("AIRFLOW_CONN_SOPS_DEFAULT", json.dumps(fields))
    assert SopsHook().test_connection()[0]


def test_all_secrets_are_masked(sops: FakeSops, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    masked: set[str] = set()
    monkeypatch.setattr(module, "mask_secret", masked.add)
    connect(
        sops,
        bk_username=None,
        bk_token=secrets.BK_TOKEN,
        headers={"X-Secret": secrets.HEADER_SECRET},
        proxies={"https": f"http://me:{secrets.PROXY_PASSWORD}@proxy.example.com:3128"},
    )
    SopsHook().call("get_user_project_list")
    assert masked >= {secrets.APP_SECRET, secrets.BK_TOKEN, secrets.HEADER_SECRET, secrets.PROXY_PASSWORD}
    connect(sops, bk_username=None, access_token=secrets.ACCESS_TOKEN)
    SopsHook().call("get_user_project_list")
    assert secrets.ACCESS_TOKEN in masked


def test_headers_and_tenant_are_sent(sops: FakeSops, connect: Connect, api_type: str) -> None:
    seen: list[str] = []
    connect(sops, api_type, headers={"X-Site": "a"}, tenant_id="t1")
    hook = SopsHook()
    session = hook.get_conn()
    from airflow_provider_sops.core.api.calls import make_call

    request = session.endpoint.request(make_call("get_user_project_list", {}))
    seen += [request.headers["X-Site"], request.headers["X-Bk-Tenant-Id"]]
    assert seen == ["a", "t1"]


def test_a_field_that_means_nothing_is_told_of_once(
    sops: FakeSops, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(sops, verfiy=False)
    lines: list[str] = []
    hook = SopsHook()
    logger = logging.Logger("hook")  # noqa: LOG001
    logger.addHandler(_Collect(lines))
    monkeypatch.setattr(type(hook), "log", logger)
    for _ in range(3):
        hook.call("get_user_project_list")
    assert lines == ["Connection sops_default has fields in extra that mean nothing to this provider: verfiy"]


class _Collect(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_a_changed_connection_is_looked_up_again_on_demand(sops: FakeSops, connect: Connect) -> None:
    connect(sops)
    hook = SopsHook(retry=NO_RETRY)
    hook.call("get_user_project_list")
    sops.apps["demo-app"] = sops.app_secret = f"{secrets.APP_SECRET}2"
    connect(sops)
    with pytest.raises(exceptions.SopsAuthenticationException):
        hook.call("get_user_project_list")
    hook.forget_connection()
    assert hook.call("get_user_project_list")


# ---- errors ----

TREE = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type)
    and issubclass(kind, errors.SopsError)
    # no hook meets it: of what a triggerer finds wrong, a wait makes a SopsConfigException
    and kind is not errors.SopsUnusableConnectionError
}


@pytest.mark.parametrize("name", TREE)
def test_each_error_is_an_airflow_exception_of_the_same_place_in_the_tree(name: str) -> None:
    kind = TREE[name]
    error = kind("what happened")
    error.api, error.task_id, error.code, error.request_id = "get_task_status", 5, 3540400, "r-1"
    error.__cause__ = ValueError("why")
    made = as_airflow(error)
    assert type(made).__name__ == name.replace("Error", "Exception")
    assert isinstance(made, AirflowException)
    assert isinstance(made, SopsException)
    assert isinstance(made, kind)
    assert [one for one in TREE.values() if isinstance(error, one)] == [
        one for one in TREE.values() if isinstance(made, one)
    ]
    assert str(made) == "what happened"
    assert (made.api, made.task_id, made.code, made.request_id) == ("get_task_status", 5, 3540400, "r-1")
    assert made.__cause__ is error.__cause__
    assert as_airflow(made) is made


def test_errors_leave_the_layer_as_airflows() -> None:
    with pytest.raises(exceptions.SopsTimeoutException) as caught, airflow_errors():
        raise errors.SopsTimeoutError("late")
    assert str(caught.value) == "late"
    with pytest.raises(SopsConfigException, match="host: is empty") as config, airflow_errors():
        raise errors.SopsConfigError("host", "is empty")
    assert isinstance(config.value, AirflowException)
    assert config.value.field == "host"
    with pytest.raises(ZeroDivisionError), airflow_errors():
        raise ZeroDivisionError


def test_an_error_of_the_hook_keeps_what_is_known(sops: FakeSops, hook: SopsHook) -> None:
    with pytest.raises(exceptions.SopsNotFoundException) as caught:
        hook.get_task_detail(4242)
    error = caught.value
    assert (error.api, error.task_id, error.code, error.http_status) == ("get_task_detail", 4242, 3540400, 200)
    assert error.request_id
    sops.faults.add(kind="drop")
    with pytest.raises(exceptions.SopsConnectionException) as lost:
        hook.get_task_detail(4242)
    assert type(lost.value.__cause__).__name__ == "ConnectionError"


def test_wrong_types_are_an_error_of_the_hook_too(sops: FakeSops, hook: SopsHook) -> None:
    task_id = sops.create_task("Long sleep")
    sops.advance(1)
    for call in (
        lambda: hook.get_task_status(task_id),
        lambda: hook.get_tasks_status([task_id]),
        lambda: hook.get_task_detail(task_id),
        hook.get_task_list,
        hook.get_template_list,
    ):
        sops.faults.add(kind="wrong_types")
        with pytest.raises(exceptions.SopsInvalidAnswerException, match="the answer is not one of SOPS'"):
            call()


# ---- lists ----


@pytest.fixture
def many(sops: FakeSops) -> list[int]:
    """Ids of 450 tasks, the newest first."""
    return [sops.create_task(name=f"deploy {number}", start=False) for number in range(450)][::-1]


@pytest.mark.parametrize("limit", [1, 200, 201, "250", 400, 450, 1000])
@pytest.mark.parametrize("filters", [{}, {"without_count": True}], ids=["counted", "not counted"])
def test_a_list_has_as_many_tasks_as_were_asked_for(
    sops: FakeSops, hook: SopsHook, many: list[int], limit: Any, filters: dict[str, Any]
) -> None:
    listed = [item.task_id for item in hook.get_task_list(limit=limit, keyword="deploy", **filters)]
    assert listed == many[: int(limit)]
    assert sops.count("get_task_list") == -(-min(int(limit), 450) // 200)
    assert all(request.params["keyword"] == "deploy" for request in sops.requests)


def test_a_list_may_begin_later(hook: SopsHook, many: list[int]) -> None:
    assert [item.task_id for item in hook.get_task_list(limit=300, offset=100)] == many[100:400]
    assert [item.task_id for item in hook.get_task_list(limit=300, offset="400")] == many[400:]
    assert [item.task_id for item in hook.get_task_list(offset=449)] == many[449:]
    assert hook.get_task_list(limit=300, offset=450) == []


def test_without_a_limit_a_list_is_as_long_as_sops_makes_it(sops: FakeSops, hook: SopsHook, many: list[int]) -> None:
    assert [item.task_id for item in hook.get_task_list()] == many[:100]
    assert hook.get_task_list(limit=0) == []
    assert sops.count() == 1


def test_no_task_is_listed_twice_where_more_come_meanwhile(sops: FakeSops, hook: SopsHook, many: list[int]) -> None:
    def more(when: str, request: Request) -> None:
        if when == "after":
            sops.create_task(name="deploy one more", start=False)

    sops.on_request = more
    assert [item.task_id for item in hook.get_task_list(limit=420, keyword="deploy")] == many[:420]


def test_a_site_that_gives_the_same_page_ever_again_is_not_asked_for_ever(sops: FakeSops, hook: SopsHook) -> None:
    rows = [{"id": number, "name": "x"} for number in range(1, 201)]
    sops.serve_canned({"get_task_list": {"result": True, "code": 0, "count": 10_000, "data": rows}})
    assert len(hook.get_task_list(limit=1000)) == 200
    assert sops.count() == 2


def test_tasks_are_counted(sops: FakeSops, hook: SopsHook, many: list[int]) -> None:
    assert hook.count_tasks() == 450
    assert hook.count_tasks(keyword="deploy 44", without_count=True, limit=5) == 11
    assert sops.count() == 2
    sops.serve_canned({"get_task_list": {"result": True, "code": 0, "count": -1, "data": []}})
    with pytest.raises(exceptions.SopsInvalidAnswerException, match="count is -1 where a number belongs"):
        hook.count_tasks()


@pytest.mark.parametrize("limit", ["many", -1, True, 1.5])
def test_what_is_no_number_of_tasks(sops: FakeSops, hook: SopsHook, limit: Any) -> None:
    with pytest.raises(SopsConfigException, match="limit: must be a whole number, 0 or more"):
        hook.get_task_list(limit=limit)
    assert sops.count() == 0


# ---- what `Test` says ----


def said(sops: FakeSops, api_type: str) -> tuple[bool, str]:
    works, message = SopsHook().test_connection()
    assert message.endswith((".", ")"))
    base = sops.esb_url if api_type == "esb" else sops.apigw_url
    if "credentials are right" in message:
        assert message.startswith(f"{base} answers and the credentials are right; ")
    return works, message


LIST, DETAIL, STATUS, TASKS = "get_user_project_list", "get_task_detail", "get_task_status", "get_task_list"
NO_PERMISSION = "no permission for this API, apply for it in the BlueKing developer center"
NOT_NEEDED = "no permission for this API, which only this test calls"


def test_a_connection_that_works(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    works, message = said(sops, api_type)
    assert works
    assert message.endswith(f"right; {LIST}: granted (3 projects); {DETAIL}: granted.")


@pytest.mark.parametrize(
    ("granted", "works", "says"),
    [
        ([DETAIL], True, f"{LIST}: {NOT_NEEDED}; {DETAIL}: granted."),
        ([DETAIL, TASKS], True, f"{LIST}: {NOT_NEEDED}; {DETAIL}: granted."),
        ([STATUS], True, f"{LIST}: {NOT_NEEDED}; {DETAIL}: {NO_PERMISSION}; {STATUS}: granted."),
        ([LIST], False, f"{LIST}: granted (3 projects); {DETAIL}: {NO_PERMISSION}; {STATUS}: {NO_PERMISSION}."),
        ([], False, f"{LIST}: {NOT_NEEDED}; {DETAIL}: {NO_PERMISSION}; {STATUS}: {NO_PERMISSION}."),
    ],
)
def test_no_permission_still_proves_the_credentials(
    make_sops: Callable[..., FakeSops], connect: Connect, api_type: str, granted: list[str], works: bool, says: str
) -> None:
    sops = make_sops(granted=granted)
    connect(sops, api_type)
    assert said(sops, api_type)[0] is works
    assert said(sops, api_type)[1].endswith(f"the credentials are right; {says}")


def test_an_old_site_without_the_cheap_api(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    sops.remove_api(LIST)
    assert said(sops, api_type)[1].endswith(
        f"{LIST}: this site does not have it (SOPS has it since 3.5.5); {DETAIL}: granted."
    )


ADVICE = "give this user project_view and task_view in BlueKing's permission center (IAM)."
DENIED = "iam authentication exception, please check, action:"


@pytest.mark.parametrize("tasks", [0, 1])
@pytest.mark.parametrize(
    ("denied", "extra", "says"),
    [
        ([], {}, f"; but user 'admin' may not see cmdb_biz 2 ({DENIED}project_view): {ADVICE}"),
        ([TASKS], {}, f"; but user 'admin' may see no project: {ADVICE}"),
        ([LIST], {}, f"; but user 'admin' may not see cmdb_biz 2 ({DENIED}project_view): {ADVICE}"),
        ([], {"bk_biz_id": None}, f"; but user 'admin' may see no project: {ADVICE}"),
        (
            [],
            {"bk_username": None, "bk_token": secrets.BK_TOKEN},
            f"; but the user of the token may not see cmdb_biz 2 ({DENIED}project_view): {ADVICE}",
        ),
    ],
    ids=["nothing", "no list", "no projects", "no business", "a token"],
)
def test_a_user_who_may_see_nothing(
    make_sops: Callable[..., FakeSops],
    connect: Connect,
    api_type: str,
    tasks: int,
    denied: list[str],
    extra: dict[str, Any],
    says: str,
) -> None:
    sops = make_sops(users={})
    sops.deny(*denied)
    for _ in range(tasks):
        sops.create_task()
    connect(sops, api_type, **extra)
    works, message = said(sops, api_type)
    assert not works
    assert message.endswith(says)


def test_a_user_who_may_see_the_project_but_no_task(
    make_sops: Callable[..., FakeSops], connect: Connect, api_type: str
) -> None:
    sops = make_sops(users={"admin": ["project_view"]})
    connect(sops, api_type)
    assert said(sops, api_type)[0]  # there is no task that could tell
    task_id = sops.create_task()
    works, message = said(sops, api_type)
    assert not works
    assert message.endswith(f"; but user 'admin' may not see its newest task {task_id} ({DENIED}task_view): {ADVICE}")


def test_a_user_who_may_see_another_project_only(sops: FakeSops, connect: Connect, api_type: str) -> None:
    sops.deny(TASKS)
    rows = [{"project_id": 9, "bk_biz_id": 3, "name": "another"}]
    sops.serve_canned({LIST: {"result": True, "code": 0, "data": rows}})
    for extra, says in (
        ({"bk_biz_id": 2}, f"; but user 'admin' may not see cmdb_biz 2: {ADVICE}"),
        ({"bk_biz_id": 7, "scope": "project"}, f"; but user 'admin' may not see project 7: {ADVICE}"),
    ):
        connect(sops, api_type, **extra)
        works, message = said(sops, api_type)
        assert not works
        assert message.endswith(says)
    good: tuple[dict[str, Any], ...] = ({"bk_biz_id": 3}, {"bk_biz_id": 9, "scope": "project"}, {"bk_biz_id": None})
    for extra in good:
        connect(sops, api_type, **extra)
        assert said(sops, api_type)[0]


@pytest.mark.parametrize("denied", [[], [TASKS]])
def test_an_app_that_sops_trusts_needs_no_user_with_rights(
    make_sops: Callable[..., FakeSops], connect: Connect, api_type: str, denied: list[str]
) -> None:
    sops = make_sops(users={}, trusted_apps=["demo-app"])
    sops.deny(*denied)
    connect(sops, api_type)
    works, message = said(sops, api_type)
    assert works, message
    assert f"{LIST}: granted (0 projects)" in message


def test_an_app_that_is_not_on_sops_own_list(sops: FakeSops, connect: Connect, api_type: str) -> None:
    unlisted = {"result": False, "message": "you have no permission to call this api.", "code": 3540100}
    sops.serve_canned(dict.fromkeys([LIST, DETAIL, STATUS], unlisted))
    connect(sops, api_type)
    works, message = said(sops, api_type)
    assert not works
    assert f"{DETAIL}: SOPS does not let this app call it" in message


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"kind": "drop", "times": None}, "could not get an answer from http://127.0.0.1"),
        ({"kind": "html", "times": None}, "is not one of SOPS': text/html"),
        ({"kind": "redirect", "times": None}, "redirects (HTTP 302) to /login/"),
        ({"kind": "status", "status": 502, "times": None}, "is not available"),
        ({"kind": "status", "status": 429, "times": None}, "Ask less often"),
    ],
)
def test_a_connection_that_does_not_work(
    sops: FakeSops, connect: Connect, api_type: str, fault: dict[str, Any], says: str
) -> None:
    connect(sops, api_type)
    sops.faults.add(**fault)
    works, message = said(sops, api_type)
    assert not works
    assert says in message
    # whoever presses the button does not want to wait for more tries; what is redirected may be a single API
    asked = [request.api for request in sops.requests]
    assert asked == ([LIST, TASKS, DETAIL, STATUS] if fault["kind"] == "redirect" else [LIST])


def test_wrong_credentials(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    sops.apps["demo-app"] = "changed"
    works, message = said(sops, api_type)
    assert not works
    assert "Check the connection's login (app code) and password (app secret)" in message


def test_the_business_is_none_that_sops_knows(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type, bk_biz_id=4242)
    works, message = said(sops, api_type)
    assert not works
    assert message.endswith("get_task_detail: granted; but SOPS knows no cmdb_biz 4242: check bk_biz_id and scope.")
    connect(sops, api_type, bk_biz_id=2, scope="project")
    assert said(sops, api_type)[0]
    connect(sops, api_type, bk_biz_id=3, scope="project")
    assert "but SOPS knows no project 3" in said(sops, api_type)[1]
    connect(sops, api_type, bk_biz_id=None)
    assert said(sops, api_type)[0]


def test_an_address_that_is_none_of_sops(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    sops.remove_api(LIST, DETAIL, STATUS, TASKS)
    works, message = said(sops, api_type)
    assert not works
    assert "answers, but seems to be no address of SOPS' API" in message
    assert message.endswith("check the connection's host and api_type.")


# ---- Airflow's form before 3.2 ----


def test_the_hook_describes_its_form_for_older_airflows() -> None:
    behaviour = SopsHook.get_ui_field_behaviour()
    assert behaviour["relabeling"]["login"] == "App code"
    assert "schema" in behaviour["hidden_fields"]
    assert (SopsHook.conn_type, SopsHook.hook_name) == ("sops", "BlueKing SOPS")
    assert (SopsHook.conn_name_attr, SopsHook.default_conn_name) == ("sops_conn_id", "sops_default")


def test_a_ca_bundle_that_is_there(sops: FakeSops, connect: Connect, tmp_path: Path) -> None:
    connect(sops, verify=str(make_certificate(tmp_path)))
    assert SopsHook().call("get_user_project_list")


def test_the_environments_certificates_are_tried_before_anything_is_sent(
    sops: FakeSops, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    connect(sops)
    assert SopsHook().test_connection()[0]  # nothing speaks TLS
    fields = {**sops.connection(), "host": sops.apigw_url.replace("http:", "https:")}
    monkeypatch.setenv("AIRFLOW_CONN_SOPS_DEFAULT", json.dumps(fields))
    sops.clear_requests()
    with pytest.raises(SopsConfigException, match=r"REQUESTS_CA_BUNDLE: .* holds no certificates") as caught:
        SopsHook().get_task_detail(1)
    assert SopsHook().test_connection() == (False, str(caught.value))
    assert sops.connections == 1


def test_the_password_of_the_environments_proxy_is_masked(
    sops: FakeSops, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked: set[str] = set()
    monkeypatch.setattr(module, "mask_secret", masked.add)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", f"//me:{secrets.PROXY_PASSWORD}@"))
        connect(sops)
        assert SopsHook().call("get_user_project_list")
    assert secrets.PROXY_PASSWORD in masked
