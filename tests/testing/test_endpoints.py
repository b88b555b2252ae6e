# SPDX-License-Identifier: Apache-2.0
"""What each endpoint refuses by itself, and who may come in."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import Any

import pytest

from airflow_provider_sops.testing import FakeSops
from tests.testing.calls import Caller, Http

APP = {"bk_app_code": "demo-app", "bk_app_secret": "demo-secret"}
WRONG_SECRET = {**APP, "bk_app_secret": "wrong-secret"}


@pytest.mark.parametrize(
    "credentials",
    [
        {**APP, "bk_username": "admin"},
        {**APP, "bk_token": "demo-token"},
        {"access_token": "demo-access-token"},
    ],
    ids=["username", "token", "access token alone"],
)
@pytest.mark.parametrize("endpoint", ["apigw", "esb"])
def test_accepted_credentials(fake_sops: FakeSops, endpoint: str, credentials: dict[str, str]) -> None:
    answer = Caller(fake_sops, endpoint, **credentials)("get_user_project_list")
    assert [row["bk_biz_id"] for row in answer["data"]] == [5, 2, 3]
    assert fake_sops.requests[-1].user == "admin"


@pytest.mark.parametrize(
    ("credentials", "code", "words"),
    [
        (WRONG_SECRET | {"bk_username": "admin"}, 1640101, "bk_app_secret is incorrect"),
        ({"bk_username": "admin"}, 1640101, "please provide bk_app_code"),
        (APP, 1640102, "valid user identity"),
        (APP | {"bk_token": "wrong"}, 1640102, "bk_token is invalid"),
        ({"access_token": "wrong"}, 1640102, "access_token is invalid"),
    ],
)
def test_credentials_that_the_gateway_refuses(
    fake_sops: FakeSops, credentials: dict[str, str], code: int, words: str
) -> None:
    reply = Caller(fake_sops, **credentials).send("get_user_project_list")
    body = reply.json()
    assert (reply.status, body["code"], body["result"], body["data"]) == (401, code, False, None)
    assert words in body["message"]
    assert set(body) == {"code", "code_name", "message", "data", "result"}
    assert reply.headers["X-Bkapi-Error-Code"] == str(code)
    assert reply.headers["X-Bkapi-Error-Message"] == body["message"]
    assert reply.headers["X-Bkapi-Request-Id"]


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (WRONG_SECRET | {"bk_username": "admin"}, "APP authentication failed"),
        (APP, "User authentication failed"),
    ],
)
def test_credentials_that_the_esb_refuses(fake_sops: FakeSops, credentials: dict[str, str], words: str) -> None:
    reply = Caller(fake_sops, "esb", **credentials).send("get_user_project_list")
    body = reply.json()
    assert reply.status == 200
    assert set(body) == {"result", "code", "data", "message", "request_id"}
    assert (body["result"], body["code"]) == (False, 1306406)
    assert words in body["message"]


def test_a_header_that_is_no_json(fake_sops: FakeSops) -> None:
    url = f"{fake_sops.apigw_url}/get_user_project_list/"
    reply = Http(url).send("GET", url, headers={"X-Bkapi-Authorization": "demo"})
    assert (reply.status, reply.json()["code"]) == (400, 1640001)


def test_credentials_in_the_query_do_not_open_the_gateway(fake_sops: FakeSops) -> None:
    query = urllib.parse.urlencode(APP | {"bk_username": "admin"})
    reply = Http(fake_sops.url).send("GET", f"{fake_sops.apigw_url}/get_user_project_list/?{query}")
    assert reply.json()["code"] == 1640101


def test_secrets_are_not_in_the_request_log(fake_sops: FakeSops) -> None:
    for endpoint in ("apigw", "esb"):
        caller = Caller(fake_sops, endpoint)
        caller("get_task_list", keyword="x")
        caller("get_tasks_status", task_id_list=[1])
    assert fake_sops.app_secret not in json.dumps([request.as_dict() for request in fake_sops.requests])
    assert fake_sops.requests[2].params == {"keyword": "x", "bk_biz_id": "2"}


def test_grants_are_per_api() -> None:
    with FakeSops(granted={"get_task_detail"}) as fake:
        task_id = fake.create_task()
        call = Caller(fake)
        assert call("get_task_detail", task_id)["result"] is True
        reply = call.send("get_task_status", task_id)
        assert (reply.status, reply.json()["code"]) == (403, 1640301)
        assert reply.headers["X-Bkapi-Error-Code"] == "1640301"
        esb = Caller(fake, "esb")("get_task_status", task_id)
        assert (esb["result"], esb["code"]) == (False, 1306403)
        fake.grant("get_task_status")
        assert call("get_task_status", task_id)["result"] is True
        fake.deny("get_task_detail")
        assert call("get_task_detail", task_id)["code"] == 1640301
        assert Caller(fake, "direct")("get_task_detail", task_id)["result"] is True


def test_an_old_server_without_an_api(fake_sops: FakeSops) -> None:
    fake_sops.remove_api("get_tasks_status")
    gateway = Caller(fake_sops).send("get_tasks_status", task_id_list=[1])
    assert (gateway.status, gateway.json()["code"]) == (404, 1640401)
    assert Caller(fake_sops, "esb")("get_tasks_status", task_id_list=[1])["code"] == 1306404
    direct = Caller(fake_sops, "direct").send("get_tasks_status", task_id_list=[1])
    assert direct.status == 302
    fake_sops.restore_api("get_tasks_status")
    assert Caller(fake_sops)("get_tasks_status", task_id_list=[1])["data"] == []


def test_paths_behind_the_gateway(fake_sops: FakeSops) -> None:
    """The gateway knows the APIs' names; what is behind the name is SOPS' matter: a 302, never an answer."""
    call = Caller(fake_sops)
    assert call.send("get_task_status", "abc").status == 302
    url = f"{fake_sops.apigw_url}/get_task_status/50001/2"
    reply = call.http.send("GET", url, headers=call.headers)
    assert reply.status == 302
    assert reply.headers["Location"].endswith("/apigw/get_task_status/50001/2")
    page = call.http.send("GET", fake_sops.url + reply.headers["Location"])
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    unknown = call.http.send("GET", f"{fake_sops.apigw_url}/nothing/", headers=call.headers)
    assert (unknown.status, unknown.json()["code"]) == (404, 1640401)
    wrong_method = call.http.send("POST", f"{fake_sops.apigw_url}/get_user_project_list/", "{}", call.headers)
    assert (wrong_method.status, wrong_method.text) == (405, "")


def test_the_gateway_by_its_other_address(fake_sops: FakeSops) -> None:
    call = Caller(fake_sops)
    reply = call.http.send("GET", f"{fake_sops.url}/prod/get_user_project_list/", headers=call.headers)
    assert reply.json()["result"] is True


def test_the_esb_names_a_missing_id(fake_sops: FakeSops) -> None:
    call = Caller(fake_sops, "esb")
    query = urllib.parse.urlencode(call.credentials | {"bk_biz_id": 2})
    reply = call.http.send("GET", f"{fake_sops.esb_url}/get_task_status/?{query}")
    assert reply.json()["code"] == 1306406
    assert reply.json()["message"] == "Parameters error, param task_id is required"


def test_the_esb_hides_a_crash_of_sops(fake_sops: FakeSops) -> None:
    reply = Caller(fake_sops, "esb").send("get_tasks_status", task_id_list=["abc"])
    assert (reply.status, reply.json()["code"]) == (200, 1306201)
    assert "Status Code: 500" in reply.json()["message"]
    reply = Caller(fake_sops).send("get_tasks_status", task_id_list=["abc"])
    assert (reply.status, reply.json()["code"]) == (500, "50000")


def test_iam(fake_sops: FakeSops) -> None:
    fake_sops.site.users["viewer"] = ["task_view", "project_view"]
    task_id = fake_sops.create_task()
    call = Caller(fake_sops, **APP, bk_username="viewer")
    assert call("get_task_detail", task_id)["result"] is True
    answer = call("start_task", task_id)
    assert answer["code"] == 3599999
    assert answer["message"] == "iam authentication exception, please check, action:task_operate"
    assert Caller(fake_sops, **APP, bk_username="nobody")("get_user_project_list")["data"] == []


def test_a_canned_answer_of_an_old_site() -> None:
    with FakeSops(granted={"get_task_detail"}) as fake:
        fake.serve_canned({"get_task_detail": {"result": True, "data": {"id": 10}}})
        call = Caller(fake, "esb")
        assert call("get_task_detail", 10) == {"result": True, "data": {"id": 10}}
        assert call("get_task_status", 10)["code"] == 1306403
        wrong = Caller(fake, "esb", **WRONG_SECRET, bk_username="admin")
        assert wrong("get_task_detail", 10)["result"] is False


def _extra(connection: dict[str, Any]) -> dict[str, Any]:
    extra: dict[str, Any] = connection["extra"]
    return extra


def test_the_connection_for_airflow(fake_sops: FakeSops) -> None:
    gateway = fake_sops.connection()
    assert gateway["host"] == fake_sops.apigw_url == fake_sops.url + "/api/bk-sops/prod"
    assert (gateway["conn_type"], gateway["login"], gateway["password"]) == ("sops", "demo-app", "demo-secret")
    assert _extra(gateway) == {"api_type": "apigw", "bk_username": "admin", "bk_biz_id": 2}
    esb = fake_sops.connection("esb", bk_username=None, bk_token="demo-token")
    assert esb["host"] == fake_sops.url + "/api/c/compapi/v2/sops"
    assert _extra(esb) == {"api_type": "esb", "bk_biz_id": 2, "bk_token": "demo-token"}


def test_connections_are_kept_alive_and_counted(fake_sops: FakeSops) -> None:
    call = Caller(fake_sops)
    for _ in range(5):
        call("get_user_project_list")
    assert (fake_sops.count(), fake_sops.count("get_user_project_list"), fake_sops.connections) == (5, 5, 1)
    assert {request.connection for request in fake_sops.requests} == {1}
    Caller(fake_sops)("get_template_list")
    assert fake_sops.connections == 2
    fake_sops.clear_requests()
    assert fake_sops.count() == 0


def test_stop_and_start_again_at_the_same_address() -> None:
    with FakeSops() as fake:
        task_id = fake.create_task()
        call = Caller(fake)
        assert call("get_task_status", task_id)["result"] is True
        fake.stop()
        with pytest.raises((OSError, http.client.HTTPException)):
            call("get_task_status", task_id)
        fake.start()
        assert call("get_task_status", task_id)["result"] is True
