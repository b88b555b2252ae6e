# SPDX-License-Identifier: Apache-2.0
"""How each release of SOPS says no, through both endpoints: which error comes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.refusals import api_error_class, just_started
from airflow_provider_sops.core.http.endpoint import Credentials, Endpoint
from airflow_provider_sops.core.http.gateway_refusals import crashed
from airflow_provider_sops.core.http.reply import HttpReply
from airflow_provider_sops.testing import FakeSops
from tests import secrets
from tests.clients import connect_to
from tests.old_sites import ACTIONS, DENIALS, OPERATE, deny_users, through_esb

ENGINE_ID = "n1f0c7a35b9d3f7c8e6a4b2d1c0e9f8a"
UNKNOWN_NODE = "task[id={task}] get status error: node({node}) does not exist, may have not by executed"
NOT_FOUND, INVALID_PARAMETER = errors.SopsNotFoundError, errors.SopsInvalidParameterError
INVALID_OPERATION, DENIED, NO = errors.SopsInvalidOperationError, errors.SopsIamDeniedError, errors.SopsApiError


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("task[id=5] of business[bk_biz_id=2] does not exist", NOT_FOUND),
        ("template[id=5] of business[bk_biz_id=2] does not exist", NOT_FOUND),
        ("Object not found: TaskFlowInstance matching query does not exist.", NOT_FOUND),
        ("Object not found: no such thing", NOT_FOUND),
        ("task[id=5] get status error: TaskFlowInstance matching query does not exist.", NOT_FOUND),
        ("business[4242] does not exist", NOT_FOUND),
        ("business[bk_biz_id=4242] does not exist", NOT_FOUND),
        ("project(4242) with scope(cmdb_biz) does not exist.", NOT_FOUND),
        (UNKNOWN_NODE.format(task=5, node=5), NOT_FOUND),
        (UNKNOWN_NODE.format(task=5, node=ENGINE_ID), NO),
        (UNKNOWN_NODE.format(task=5, node=55), NO),
        ("task with current_flow:finished cannot be revokeed", INVALID_OPERATION),
        ("task with current_flow:func_claim cannot be started", INVALID_OPERATION),
        ("task not started", INVALID_OPERATION),
        ("task already started", INVALID_OPERATION),
        ("pipeline instance already started.", INVALID_OPERATION),
        ("task[id=5] action failed: PipelineModel matching query does not exist.", INVALID_OPERATION),
        ("task[id=5] action failed:PipelineModel matching query does not exist.", INVALID_OPERATION),
        ("pipeline to be revoked does not exist.", INVALID_OPERATION),
        ("task params is invalid: 'x' is too long", INVALID_PARAMETER),
        ("user[admin] does not have perm[view] of business[2]", DENIED),
        ("user[username=admin] does not have perm of business:[bk_biz_id=2]", DENIED),
        ("user[admin] does not exist or has not logged in this APP", DENIED),
        (OPERATE, DENIED),
        ("iam authentication exception, please check, action:task_view", DENIED),
        ("task[id=5] action failed: node[x] of it does not exist", NO),
        ("something else", NO),
    ],
)
@pytest.mark.parametrize("code", [None, 3599999, 3545100, 1306000])
def test_a_no_is_told_by_its_text_where_no_code_tells_it(code: int | None, message: str, kind: type[Exception]) -> None:
    assert api_error_class(code, message, 5) is kind


def test_a_code_that_tells_it_comes_first() -> None:
    assert api_error_class(3545000, "business[4242] does not exist") is INVALID_OPERATION
    assert api_error_class("3540400", "task not started") is NOT_FOUND
    assert api_error_class(9900403, "task not started") is DENIED
    assert api_error_class("9900403", "") is DENIED


@pytest.mark.parametrize("release", DENIALS)
@pytest.mark.parametrize("api", ["get_task_status", "get_tasks_status", "create_task"])
def test_iam_denies(sops: FakeSops, api_type: str, release: str, api: str) -> None:
    deny_users(sops, release)
    params: dict[str, Any] = {"task_id": 5, "template_id": 101, "task_id_list": [5]}
    with connect_to(sops, api_type) as client, pytest.raises(errors.SopsIamDeniedError) as caught:
        client.call(api, **params)
    message = str(caught.value)
    assert "SOPS says no" in message
    if release == "3.3":
        assert message.endswith("the connection this permission in SOPS, or a role in the business that has it.")
    elif api_type == "esb" and "prefix" in release:
        assert message.endswith("Give the user of the connection the permission in BlueKing's permission center (IAM).")
    elif release in ("3.4", "3.31"):
        assert "Give the user of the connection the permission 'task_view' in BlueKing's" in message
    else:
        assert "Give the user of the connection the permissions 'task_view', 'project_view' in BlueKing's" in message


def test_a_user_who_was_never_there(sops: FakeSops, api_type: str) -> None:
    body: dict[str, Any] = {"result": False, "message": "user[admin] does not exist or has not logged in this APP"}
    if api_type == "esb":
        body["code"] = 1306000
    sops.faults.add(kind="function", function=lambda request: (200, body))
    with connect_to(sops, api_type) as client, pytest.raises(errors.SopsIamDeniedError, match="log in to SOPS' page"):
        client.call("get_task_detail", task_id=5)


@pytest.mark.parametrize(
    ("permission", "named"),
    [
        (None, "the permission in"),
        ("task_view", "the permission in"),
        ({"actions": "all"}, "the permission in"),
        ([1, None, ["x"]], "the permission in"),
        ({"actions": [{"name": "任务查看"}]}, "the permission '任务查看' in"),
        ({"actions": [{"id": "a"}, {"id": "a"}, {"id": 5}]}, "the permission 'a' in"),
        ([{"actions": [{"id": "a"}]}, {"action_id": "b"}], "the permissions 'a', 'b' in"),
        ({"actions": [{"id": f"a{n}"} for n in range(9)]}, "permissions 'a0', 'a1', 'a2', 'a3', 'a4', … in"),
        ({"actions": [{"id": "x" * 5000}]}, f"the permission '{'x' * 63}…' in"),
        ({"actions": [{"id": "nul\0\ud800"}]}, r"the permission 'nul\\x00\\ud800' in"),
        ({"actions": [{"id": f"see {secrets.APP_SECRET}"}]}, "the permission 'see ***' in"),
    ],
)
def test_what_iam_says_of_permissions_is_data(sops: FakeSops, permission: Any, named: str) -> None:
    body = {"result": False, "code": 9900403, "message": OPERATE, "permission": permission}
    sops.faults.add(kind="function", function=lambda request: (200, body))
    with connect_to(sops) as client, pytest.raises(errors.SopsIamDeniedError) as caught:
        client.call("get_task_detail", task_id=5)
    assert named in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_the_gateways_own_word_is_not_sops(sops: FakeSops) -> None:
    own = {"X-Bkapi-Error-Code": "1640301", "X-Bkapi-Error-Message": OPERATE}
    body = {"result": False, "code": 9900403, "message": OPERATE, "permission": ACTIONS}
    sops.faults.add(kind="function", function=lambda request: (403, body, own))
    with connect_to(sops) as client, pytest.raises(errors.SopsApiPermissionError):
        client.call("get_task_detail", task_id=5)


@pytest.mark.parametrize(
    "body",
    [
        {"result": True, "data": {"x": 1}},
        {"result": True, "data": {"x": 1}, "code": 3545100},
        {"result": True, "data": {"x": 1}, "code": 1306000, "message": ""},
        {"result": True, "data": {"x": 1}, "code": "00", "message": "success"},
    ],
    ids=["without a code", "a good start of 3.5", "ESB's code for none", "ESB's code for good"],
)
def test_a_good_answer_is_told_by_its_result(sops: FakeSops, api_type: str, body: dict[str, Any]) -> None:
    sops.faults.add(kind="function", function=lambda request: (200, body))
    with connect_to(sops, api_type) as client:
        assert client.call("start_task", task_id=5).data == {"x": 1}


def refusal(api: str, status: int, body: str, endpoint: str = "apigw") -> errors.SopsError:
    """Read an answer that is none, to a GET for task 5."""
    call = Call(api, "GET", (("task_id", 5), ("bk_biz_id", 2)), reads=True)
    way = Endpoint("esb" if endpoint == "esb" else "apigw", "http://sops.example.com", Credentials("app", "secret"))
    with pytest.raises(errors.SopsError) as caught:
        way.read(call, HttpReply(status, {"content-type": "text/html"}, body.encode()))
    return caught.value


def test_405_may_be_a_403_of_an_old_sops() -> None:
    told = "SOPS 3.3 and 3.4 answer 405 also to an app or credentials that they do not accept"
    message = str(refusal("get_task_status", 405, ""))
    assert told in message
    assert "'get_task_status' was called by GET: say another http_method." in message
    assert told not in str(refusal("create_task", 405, ""))  # which is no GET
    assert told not in str(refusal("get_my_own", 405, ""))
    assert told in str(refusal("get_task_status", 200, json.dumps(through_esb(405)[1]), "esb"))
    assert told not in str(refusal("get_task_status", 200, json.dumps(through_esb(302)[1]), "esb"))


@pytest.mark.parametrize(
    ("status", "body", "endpoint", "is_crash"),
    [
        (500, "<h1>Server Error (500)</h1>", "apigw", True),
        (500, "<h1>Server Error (500)</h1>", "esb", True),
        (500, '{"result": false, "code": "50000", "message": "x"}', "apigw", True),
        (500, '{"result": false, "message": "x"}', "apigw", True),
        (500, '{"result": false, "code": 1650002, "message": "x"}', "apigw", False),
        (502, "<h1>Bad Gateway</h1>", "apigw", False),
        (200, '{"result": false, "code": 1306201, "message": "error: Status Code: 500, x"}', "esb", True),
        (200, '{"result": false, "code": 1306201, "message": "error: Status Code: 502, x"}', "esb", False),
    ],
)
def test_a_crash_of_sops_is_told_through_both_endpoints(status: int, body: str, endpoint: str, is_crash: bool) -> None:
    assert crashed(refusal("get_tasks_status", status, body, endpoint)) is is_crash


@pytest.mark.parametrize("code", ['"code": 3599999, ', ""])
def test_a_task_that_was_started_just_now(code: str) -> None:
    def said(api: str, node: object) -> errors.SopsError:
        message = UNKNOWN_NODE.format(task=5, node=node)
        return refusal(api, 200, f'{{"result": false, {code}"message": "{message}"}}')

    assert just_started(said("get_task_status", ENGINE_ID))
    assert "ask again in some seconds" in str(said("get_task_status", ENGINE_ID))
    assert not just_started(said("get_task_status", 5))
    assert not just_started(said("operate_node", ENGINE_ID))
    assert "ask again" not in str(said("operate_node", ENGINE_ID))
    assert not just_started(refusal("get_task_status", 500, UNKNOWN_NODE))


@pytest.mark.parametrize(
    ("api", "says"),
    [
        ("get_tasks_status", "'get_tasks_status' (SOPS has it since 3.5.5)."),
        ("operate_node", "'operate_node' (SOPS has it since 3.5.5)."),
        ("get_task_status", "'get_task_status'."),
    ],
)
def test_an_api_that_is_not_there_names_the_release_that_has_it(api: str, says: str) -> None:
    message = str(refusal(api, 404, '{"result": false, "code": 1640401, "message": "API not found"}'))
    assert message.endswith(f"this SOPS may be too old to have {says}")


def test_a_redirect_names_the_release_that_has_the_api() -> None:
    message = str(refusal("get_task_list", 302, ""))
    assert message.endswith(
        "A SOPS that is too old to have get_task_list (SOPS has it since 3.6.22) redirects it, too."
    )
    assert "too old" not in str(refusal("get_task_status", 302, ""))
