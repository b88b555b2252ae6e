# SPDX-License-Identifier: Apache-2.0
"""What to ask: names, methods, ids and their order, and how each endpoint writes it into a request."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_sops.core.api.calls import make_call, parse_id, parse_scope
from airflow_provider_sops.core.api.catalogue import APIS
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.http.endpoint import Credentials, Endpoint
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.testing.api import APIS as SERVED
from tests import secrets
from tests.clients import connect_to

IDS = {"task_id": 10, "template_id": 20, "bk_biz_id": 2}
CREDENTIALS = Credentials("app", secrets.APP_SECRET, bk_username="admin")
FIELDS = {"bk_app_code": "app", "bk_app_secret": secrets.APP_SECRET, "bk_username": "admin"}
GATEWAY = Endpoint("apigw", "https://gateway.example.com/api/bk-sops/prod", CREDENTIALS, {"X-Bk-Tenant-Id": "t1"})
ESB = Endpoint("esb", "https://paas.example.com/api/c/compapi/v2/sops", CREDENTIALS)


#: what the fake SOPS does not serve, as the paths of SOPS are
NOT_SERVED = {
    "claim_functionalization_task": "POST task_id bk_biz_id",
    "create_clocked_task": "POST template_id bk_biz_id",
    "create_periodic_task": "POST template_id bk_biz_id",
    "dispatch_plugin_query": "POST",
    "get_clocked_task_list": "GET bk_biz_id",
    "get_common_template_info": "GET template_id",
    "get_common_template_list": "GET",
    "get_functionalization_task_list": "GET",
    "get_mini_app_list": "GET bk_biz_id",
    "get_periodic_task_info": "GET task_id bk_biz_id",
    "get_periodic_task_list": "GET bk_biz_id",
    "get_plugin_detail": "GET bk_biz_id",
    "get_plugin_list": "GET bk_biz_id",
    "get_task_count": "GET bk_biz_id",
    "get_user_project_detail": "GET bk_biz_id",
    "import_common_template": "POST",
    "import_project_template": "POST bk_biz_id",
    "modify_constants_for_periodic_task": "POST task_id bk_biz_id",
    "modify_cron_for_periodic_task": "POST task_id bk_biz_id",
    "preview_common_task_tree": "POST bk_biz_id template_id",
    "preview_task_tree": "POST bk_biz_id template_id",
    "query_task_count": "POST bk_biz_id",
    "register_project": "POST",
    "set_periodic_task_enabled": "POST task_id bk_biz_id",
}


@pytest.mark.parametrize("name", APIS)
def test_each_api_has_the_method_and_path_that_sops_serves(name: str) -> None:
    wanted = " ".join([SERVED[name].method, *SERVED[name].ids]) if name in SERVED else NOT_SERVED[name]
    assert " ".join([APIS[name].method, *APIS[name].ids]) == wanted


@pytest.mark.parametrize("name", SERVED)
def test_each_api_that_the_fake_serves_is_listed(name: str) -> None:
    assert name in APIS


def test_the_default_business_is_not_sent_where_the_api_takes_none() -> None:
    call = make_call("get_common_template_info", {"template_id": 5}, bk_biz_id=2, scope="project")
    assert (call.ids, dict(call.params)) == ((("template_id", 5),), {})
    assert dict(make_call("get_user_project_list", {}, bk_biz_id=2).params) == {}
    assert make_call("get_new_things", {}, bk_biz_id=2).ids == (("bk_biz_id", 2),)
    assert make_call("get_new_things", {}, bk_biz_id=2, ids=()).ids == ()


def test_what_only_reads_is_known_for_each_api() -> None:
    reading = {name for name, api in APIS.items() if api.reads}
    assert reading == {name for name in APIS if name.startswith(("get_", "preview_", "query_"))}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("get_task_detail", "get_task_detail/10/2/"),
        ("get_tasks_status", "get_tasks_status/2/"),
        ("create_task", "create_task/20/2/"),
        ("operate_task", "operate_task/10/2/"),
        ("operate_node", "operate_node/2/10/"),
        ("get_template_schemes", "get_template_schemes/2/20/"),
        ("get_user_project_list", "get_user_project_list/"),
    ],
)
def test_the_gateway_has_ids_in_the_path_and_credentials_in_a_header(name: str, path: str) -> None:
    call = make_call(name, {key: IDS[key] for key in APIS[name].ids} | {"keyword": "x y", "none": None})
    request = GATEWAY.request(call)
    assert request.url == f"https://gateway.example.com/api/bk-sops/prod/{path}"
    assert json.loads(request.headers["X-Bkapi-Authorization"]) == FIELDS
    assert request.headers["X-Bk-Tenant-Id"] == "t1"
    if call.method == "GET":
        assert (request.query, request.body) == ({"keyword": "x y"}, None)
    else:
        assert (request.query, json.loads(request.body or b"")) == ({}, {"keyword": "x y"})
        assert request.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("name", ["get_task_detail", "create_task", "operate_node"])
def test_esb_has_ids_and_credentials_among_the_parameters(name: str) -> None:
    ids = {key: IDS[key] for key in APIS[name].ids}
    request = ESB.request(make_call(name, ids | {"keyword": "x"}))
    assert request.url == f"https://paas.example.com/api/c/compapi/v2/sops/{name}/"
    assert not any("auth" in header.lower() for header in request.headers)
    if name == "get_task_detail":
        assert request.body is None
        assert request.query == FIELDS | {"task_id": "10", "bk_biz_id": "2", "keyword": "x"}
    else:
        assert request.query == {}
        assert json.loads(request.body or b"") == FIELDS | ids | {"keyword": "x"}


def test_no_repr_shows_a_secret() -> None:
    request = ESB.request(make_call("get_task_detail", IDS))
    post = ESB.request(make_call("create_task", IDS | {"name": "x"}))
    for thing in (CREDENTIALS, GATEWAY, ESB, request, post, GATEWAY.request(make_call("get_task_detail", IDS))):
        assert "Zq7" not in f"{thing!r} {thing}"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "True"),  # which every SOPS reads, and "true" not before 3.9.2
        (False, "False"),
        (5, "5"),
        ("中 文", "中 文"),
        ([1, "a"], '[1, "a"]'),
        ({"k": "中"}, '{"k": "中"}'),
    ],
)
def test_a_get_parameter_is_written_as_text(value: Any, written: str) -> None:
    call = make_call("get_task_list", {"bk_biz_id": 2, "x": value})
    assert GATEWAY.request(call).query == {"x": written}


def test_a_time_is_written_with_its_offset() -> None:
    call = make_call("get_task_list", {"bk_biz_id": 2, "create_time_start": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)})
    assert GATEWAY.request(call).query == {"create_time_start": "2026-01-02T03:04:05+00:00"}


def test_scope_is_sent_where_a_business_is_named_and_it_is_not_the_default() -> None:
    assert "scope" not in make_call("get_task_detail", IDS).params
    assert make_call("get_task_detail", IDS, scope="project").params["scope"] == "project"
    assert make_call("get_tasks_status", {"bk_biz_id": 2}, scope="project").params["scope"] == "project"
    assert "scope" not in make_call("get_user_project_list", {}, bk_biz_id=2, scope="project").params


def test_a_post_takes_its_scope_from_the_body(sops: FakeSops, api_type: str) -> None:
    task_id = sops.create_task("Long sleep")
    sops.advance(1)
    with connect_to(sops, api_type, scope="project", bk_biz_id=sops.project_id) as client:
        assert client.call("get_task_detail", task_id=task_id).data["id"] == task_id
        client.call("operate_task", task_id=task_id, action="pause")
    assert sops.task(task_id).state == "SUSPENDED"


@pytest.mark.parametrize("value", [7, "7", " 7 ", "007", 2**63 - 1])
def test_an_id(value: Any) -> None:
    assert parse_id("task_id", value) == int(value)


@pytest.mark.parametrize("value", [None, "", "0", 0, -1, "-1", True, 1.0, "1.0", "1e3", "٣", "abc", [], {}, 2**63])
def test_what_is_no_id(value: Any) -> None:
    with pytest.raises(SopsConfigError) as caught:
        parse_id("task_id", value)
    assert str(caught.value) == f"task_id: must be a positive whole number, not {value!r}"


def test_an_id_without_an_end() -> None:
    for value in ("9" * 5_000, 10**4_000):
        with pytest.raises(SopsConfigError) as caught:
            parse_id("task_id", value)
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("value", ["", "biz", "CMDB_BIZ", "project "])
def test_what_is_no_scope(value: str) -> None:
    with pytest.raises(SopsConfigError, match="scope: must be 'cmdb_biz' or 'project', not "):
        parse_scope(value)


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("get_task_detail", {"bk_biz_id": 2}, "task_id: get_task_detail needs it"),
        ("get_task_detail", {"task_id": 1}, "bk_biz_id: get_task_detail needs it: give it to the call or as the conn"),
        ("create_task", {"task_id": 1, "bk_biz_id": 2}, "template_id: create_task needs it"),
        ("get_task_detail", {"task_id": "x", "bk_biz_id": 2}, "task_id: must be a positive whole number, not 'x'"),
        ("../admin", {}, "name: '../admin' is not the name of an API"),
        ("get task", {}, "name: 'get task' is not the name of an API"),
    ],
)
def test_a_call_that_cannot_be_made(name: str, params: dict[str, Any], says: str) -> None:
    with pytest.raises(SopsConfigError) as caught:
        make_call(name, params)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("name", "more", "method", "ids", "reads"),
    [
        ("get_anything", {}, "GET", ("task_id", "bk_biz_id"), True),
        ("query_anything", {}, "GET", ("task_id", "bk_biz_id"), True),
        ("do_anything", {}, "POST", ("task_id", "bk_biz_id"), False),
        ("get_anything", {"http_method": "POST"}, "POST", ("task_id", "bk_biz_id"), False),
        ("do_anything", {"ids": ("bk_biz_id", "task_id")}, "POST", ("bk_biz_id", "task_id"), False),
        ("get_anything", {"ids": ()}, "GET", (), True),
        ("get_tasks_status", {"http_method": "POST"}, "POST", ("bk_biz_id",), True),
        ("start_task", {"http_method": "GET"}, "GET", ("task_id", "bk_biz_id"), False),
    ],
)
def test_an_api_that_is_not_listed(
    name: str, more: dict[str, Any], method: str, ids: tuple[str, ...], reads: bool
) -> None:
    call = make_call(name, {"task_id": 1, "bk_biz_id": 2}, **more)
    assert (call.method, tuple(key for key, _ in call.ids), call.reads) == (method, ids, reads)


def test_every_api_can_be_called(sops: FakeSops, api_type: str) -> None:
    task_id = sops.create_task("Long sleep")
    with connect_to(sops, api_type) as client:
        assert client.call("get_template_schemes", template_id=101).data[0]["name"] == "without sleep2"
        assert client.call("get_task_operate_record", task_id=task_id).data == []
        answer = client.call("get_user_project_list")
        assert answer.body["code"] == 0
        assert answer.request_id
    assert [request.endpoint for request in sops.requests] == [api_type] * 3


def test_another_user(sops: FakeSops, api_type: str) -> None:
    for name, value in (("bk_token", secrets.BK_TOKEN), ("access_token", secrets.ACCESS_TOKEN)):
        credentials: dict[str, Any] = {"bk_username": None, name: value}
        with connect_to(sops, api_type, **credentials) as client:
            assert client.call("get_user_project_list").data
    assert [request.user for request in sops.requests] == ["admin", "admin"]
