# SPDX-License-Identifier: Apache-2.0
"""Each kind of error over real HTTP, in both endpoints: its class, its attributes and its message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.http.endpoint import Credentials, Endpoint
from airflow_provider_sops.core.http.reply import HttpReply
from airflow_provider_sops.testing import FakeSops
from tests.clients import connect_to, secret_sops
from tests.core.test_redact import ENCODINGS, nasty_secrets

CALL = Call("get_task_status", "GET", (("task_id", 1), ("bk_biz_id", 2)), reads=True)
CHECK_CREDENTIALS = "Check the connection's login (app code) and password (app secret), and bk_username"
APPLY = "Apply for the API permission 'get_task_status' of bk-sops for app 'demo-app' in the BlueKing developer center."
TRACEBACK = 'fail: Traceback (most recent call last):\n  File "engine.py", line 1, in run\n\nRuntimeError: no state\n'


@dataclass(frozen=True)
class Refusal:
    """One way to be refused: what goes wrong, and what is to come of it."""

    name: str
    fault: dict[str, Any]
    error: type[errors.SopsError]
    says: tuple[str, ...]
    endpoints: tuple[str, ...] = ("apigw", "esb")
    #: code and HTTP status that the error is to know
    code: object = None
    status: int | None = None
    #: for what the other endpoint's own codes do not tell
    silent: tuple[str, ...] = field(default=())


def answers(status: int, body: Any, **headers: str) -> dict[str, Any]:
    return {"kind": "function", "function": lambda request: (status, body, headers)}


def esb(code: object, message: Any, status: int = 200) -> dict[str, Any]:
    return answers(status, {"result": False, "code": code, "message": message, "data": None, "request_id": "r-1"})


def gateway(code: int, status: int, message: str, **headers: str) -> dict[str, Any]:
    body = {"code": code, "code_name": "NAME", "message": message, "data": None, "result": False}
    own = {"X-Bkapi-Error-Code": str(code), "X-Bkapi-Error-Message": message, "X-Bkapi-Request-Id": "r-2"}
    return answers(status, body, **own, **headers)


def sops_says(code: object, message: Any, status: int = 200, **more: Any) -> dict[str, Any]:
    return answers(status, {"result": False, "code": code, "message": message, "trace_id": "t-3"} | more)


GATEWAY = [
    Refusal(
        "wrong app secret",
        gateway(1640101, 401, "App authentication failed"),
        errors.SopsAuthenticationError,
        (
            "the API gateway refused (code 1640101, HTTP 401): App authentication failed [request id r-2]",
            CHECK_CREDENTIALS,
        ),
        code=1640101,
        status=401,
    ),
    Refusal(
        "wrong user",
        gateway(1640102, 401, "User authentication failed"),
        errors.SopsAuthenticationError,
        ("code 1640102", CHECK_CREDENTIALS),
    ),
    Refusal(
        "no permission for this API",
        gateway(1640301, 403, "App has no permission to the resource"),
        errors.SopsApiPermissionError,
        ("code 1640301", APPLY),
    ),
    Refusal(
        "address refused",
        gateway(1640302, 403, "Request rejected by ip restriction"),
        errors.SopsIpRefusedError,
        ("code 1640302", "allow the address of the Airflow workers"),
    ),
    Refusal(
        "no such API",
        gateway(1640401, 404, "API not found"),
        errors.SopsApiNotFoundError,
        ("code 1640401", "Check the connection's host and api_type (apigw)", "too old to have 'get_task_status'"),
    ),
    Refusal(
        "wrong method",
        gateway(1640501, 405, "Request method not allowed"),
        errors.SopsGatewayError,
        ("code 1640501", "'get_task_status' was called by GET: say another http_method."),
    ),
    Refusal(
        "wrong parameters for the gateway",
        gateway(1640001, 400, "Parameters error"),
        errors.SopsGatewayError,
        ("code 1640001, HTTP 400", "Check the call's parameters"),
    ),
    Refusal(
        "wrong app secret, as older gateways say it",
        gateway(1640001, 400, 'Parameters error [reason="bk_app_code or bk_app_secret is incorrect"]'),
        errors.SopsAuthenticationError,
        ("code 1640001, HTTP 400", CHECK_CREDENTIALS),
    ),
    Refusal(
        "too large",
        gateway(1641301, 413, "Request body size too large"),
        errors.SopsGatewayError,
        ("code 1641301", "Check the call's parameters"),
    ),
    *(
        Refusal(
            f"rate limit {code}",
            gateway(code, 429, "Request rejected by rate limit", **{"Retry-After": "7"}),
            errors.SopsRateLimitError,
            (f"refused and asks to wait 7 s (code {code}, HTTP 429)", "Ask less often", "for app 'demo-app'"),
        )
        for code in (1642901, 1642902, 1642903, 1642904)
    ),
    Refusal(
        "rate limit until a time of the gateway's own clock",
        gateway(
            1642902,
            429,
            "Request rejected by rate limit",
            **{"Retry-After": "Sun, 22 Nov 2026 13:00:40 GMT", "Date": "Sun, 22 Nov 2026 13:00:10 GMT"},
        ),
        errors.SopsRateLimitError,
        ("refused and asks to wait 30 s",),
    ),
    *(
        Refusal(
            f"gateway broken {code}",
            gateway(code, status, message),
            errors.SopsGatewayUnavailableError,
            (
                f"the API gateway, or SOPS behind it, is not available (code {code}, HTTP {status}): {message}",
                "Try again later",
            ),
        )
        for code, status, message in (
            (1650002, 500, "Internal Server Error"),
            (1650003, 500, "Invalid resource config"),
            (1650201, 502, "Request backend service failed"),
            (1650401, 504, "Request backend service timeout"),
        )
    ),
]

ESB = [
    Refusal(
        "ESB: wrong app secret",
        esb(1306000, "APP Secret verification failed, does it match the APP Code [bk_app_code=demo-app]"),
        errors.SopsAuthenticationError,
        ("ESB refused (code 1306000): APP Secret verification failed", "[request id r-1]", CHECK_CREDENTIALS),
    ),
    Refusal(
        "ESB: unknown app",
        esb(1306000, "Invalid APP Code [bk_app_code=x], has it been registered"),
        errors.SopsAuthenticationError,
        (CHECK_CREDENTIALS,),
    ),
    Refusal(
        "ESB: wrong user token",
        esb(1306000, "User authentication failed, is the bk_token valid"),
        errors.SopsAuthenticationError,
        (CHECK_CREDENTIALS,),
    ),
    Refusal(
        "ESB: wrong access token",
        esb(1306000, "verify access_token failed, is the access_token valid"),
        errors.SopsAuthenticationError,
        (CHECK_CREDENTIALS,),
    ),
    Refusal(
        "ESB: no user",
        esb(1306401, "You must specify the current operator"),
        errors.SopsAuthenticationError,
        ("code 1306401", CHECK_CREDENTIALS),
        code=1306401,
        status=200,
    ),
    Refusal(
        "ESB: user may not",
        esb(1306402, "User permission is insufficient"),
        errors.SopsApiPermissionError,
        ("code 1306402", "Let the user of the connection be permitted to use 'get_task_status'"),
        silent=("developer center",),
    ),
    Refusal(
        "ESB: app may not",
        esb(1306403, "APP permission is insufficient"),
        errors.SopsApiPermissionError,
        ("ESB refused (code 1306403)", APPLY),
    ),
    Refusal(
        "ESB: no such component",
        esb(1306404, "Not found, component class not found"),
        errors.SopsApiNotFoundError,
        ("code 1306404", "Check the connection's host and api_type (esb)"),
    ),
    Refusal(
        "ESB: channel off",
        esb(1306405, "Not found, inactive channel"),
        errors.SopsApiNotFoundError,
        ("code 1306405", "inactive channel"),
    ),
    Refusal(
        "ESB: wrong parameters",
        esb(1306406, "Parameters error"),
        errors.SopsGatewayError,
        ("code 1306406", "Check the call's parameters"),
    ),
    Refusal(
        "ESB: wrong app secret, as its newer versions say it",
        esb(1306406, "APP authentication failed, reason=bk_app_secret is incorrect"),
        errors.SopsAuthenticationError,
        ("code 1306406", CHECK_CREDENTIALS),
    ),
    Refusal(
        "ESB: rate limit",
        esb(1306429, "Access frequency limit"),
        errors.SopsRateLimitError,
        ("code 1306429", "Ask less often"),
    ),
    *(
        Refusal(
            f"ESB: cannot reach SOPS ({code})",
            esb(code, message),
            errors.SopsGatewayUnavailableError,
            (f"ESB, or SOPS behind it, is not available (code {code})", message, "Try again later"),
        )
        for code, message in (
            (1306201, "Component request third-party system [SOPS] interface error: Status Code: 502, Bad Gateway"),
            (1306203, "Component request third-party system [SOPS] SSL error"),
            (1306207, "Request to the third-party system is blocked"),
            (1306208, "SOPS system interface results in an unknown format"),
            (1306000, "Component error, please contact the component developer to handle it."),
            (1306000, "System error"),
            (1306000, ""),
        )
    ),
    *(
        Refusal(
            f"ESB: SOPS behind it has no such API ({status})",
            esb(1306201, f"Component request third-party system [SOPS] error: Status Code: {status}, Error Message: …"),
            errors.SopsApiNotFoundError,
            ("code 1306201", "too old to have 'get_task_status'"),
        )
        for status in (302, 404, 405)
    ),
    Refusal(
        "an old SOPS said no without a code, so ESB gave its own",
        esb(1306000, "TaskFlowInstance matching query does not exist."),
        errors.SopsNotFoundError,
        ("SOPS says no (code 1306000)", "Check the ids (task_id="),
    ),
    Refusal(
        "an old SOPS passed a denial of IAM on without a code",
        esb(1306000, "iam authentication exception, please check, action:task_view"),
        errors.SopsIamDeniedError,
        ("SOPS says no (code 1306000)", "the permission 'task_view'"),
    ),
    Refusal(
        "an old SOPS said no, and why is not known",
        esb(1306000, "something of the flow is wrong"),
        errors.SopsApiError,
        ("SOPS says no (code 1306000): something of the flow is wrong",),
    ),
]

SOPS = [
    Refusal(
        "not found",
        sops_says(3540400, "TaskFlowInstance(id=1) does not exist."),
        errors.SopsNotFoundError,
        (
            "SOPS says no (code 3540400): TaskFlowInstance(id=1) does not exist. [request id t-3]",
            "bk_biz_id=2",
            "scope",
        ),
        code=3540400,
        status=200,
    ),
    Refusal(
        "not found, as get_task_status says it",
        sops_says(3599999, "task[id=1] get status error: TaskFlowInstance matching query does not exist."),
        errors.SopsNotFoundError,
        ("Check the ids (task_id=",),
    ),
    Refusal(
        "parameter",
        sops_says(3540000, "task params is invalid: '' should be non-empty\n\nFailed validating 'minLength'"),
        errors.SopsInvalidParameterError,
        ("(code 3540000): task params is invalid: '' should be non-empty [", "Check the parameters that were given"),
        silent=("minLength",),
    ),
    Refusal(
        "a dict of errors",
        sops_says(3546100, {"scope": ["Not a valid word.", "Too long."], "limit": {"max": "200"}}),
        errors.SopsInvalidParameterError,
        ("scope: Not a valid word., Too long.; limit: max: 200",),
    ),
    Refusal(
        "operation",
        sops_says(3545000, "task already started"),
        errors.SopsInvalidOperationError,
        ("(code 3545000): task already started", "its present state does not allow this"),
    ),
    Refusal(
        "the app is not on SOPS' own list",
        sops_says(3540100, "you have no permission to call this api."),
        errors.SopsApiPermissionError,
        (
            "SOPS says no (code 3540100): you have no permission to call this api.",
            "SOPS itself lets only some apps call 'get_task_status'",
            "ask those who run SOPS to add app 'demo-app'",
        ),
        silent=("user", "IAM"),
        code=3540100,
    ),
    Refusal(
        "IAM",
        sops_says(3599999, "iam authentication exception, please check, action:task_view"),
        errors.SopsIamDeniedError,
        ("Give the user of the connection the permission 'task_view' in BlueKing's permission center (IAM).",),
    ),
    Refusal(
        "traceback",
        sops_says(3599999, TRACEBACK),
        errors.SopsApiError,
        ("SOPS says no (code 3599999): fail: RuntimeError: no state [", "look the request id up"),
        silent=("engine.py",),
    ),
    Refusal(
        "SOPS crashed, and writes its code as a string",
        sops_says("50000", "系统异常,请联系管理员处理", status=500),
        errors.SopsGatewayUnavailableError,
        ("SOPS failed inside (code 50000, HTTP 500): 系统异常,请联系管理员处理", "Try again later"),
        code="50000",
        status=500,
    ),
    Refusal(
        "SOPS denies, whatever the HTTP status",
        sops_says(3599999, "iam authentication exception, please check, action:task_view", status=500),
        errors.SopsIamDeniedError,
        ("SOPS says no (code 3599999, HTTP 500)", "the permission 'task_view'"),
        status=500,
    ),
    Refusal(
        "no message",
        answers(200, {"result": False, "code": 3599999}),
        errors.SopsApiError,
        ("SOPS says no (code 3599999)", "look the request id up"),
    ),
    Refusal(
        "a very long message",
        sops_says(3599999, "x" * 10_000),
        errors.SopsApiError,
        ("x" * 500 + "…",),
        silent=("x" * 501,),
    ),
]

NOT_SOPS = [
    Refusal(
        "a login page",
        {"kind": "html"},
        errors.SopsInvalidAnswerError,
        ("the answer (HTTP 200) is not one of SOPS': text/html", "Please log in", "login page may have answered"),
    ),
    Refusal(
        "a redirect",
        {"kind": "redirect", "location": "https://login.example.com/?c_url=here&bk_token=x#top"},
        errors.SopsInvalidAnswerError,
        ("/get_task_status/", "redirects (HTTP 302) to https://login.example.com/", "Check the connection's host"),
        silent=("c_url", "#top"),
        status=302,
    ),
    Refusal(
        "a redirect to no address",
        {"kind": "redirect", "location": "http://[broken/"},
        errors.SopsInvalidAnswerError,
        ("redirects (HTTP 302) to http://[broken/",),
    ),
    Refusal(
        "half of the JSON",
        {"kind": "not_json"},
        errors.SopsInvalidAnswerError,
        ("the answer (HTTP 200) is not one of SOPS': application/json", '\'{"result": true'),
    ),
    Refusal(
        "a list",
        answers(200, [1, 2]),
        errors.SopsInvalidAnswerError,
        ("is not one of SOPS'", "'[1, 2]'"),
    ),
    Refusal(
        "no result",
        answers(200, {"detail": "who are you"}),
        errors.SopsInvalidAnswerError,
        ("is not one of SOPS'", "who are you"),
    ),
    Refusal(
        "a result that is no boolean",
        answers(200, {"result": "yes", "data": {}}),
        errors.SopsInvalidAnswerError,
        ("is not one of SOPS'",),
    ),
    Refusal(
        "nothing",
        answers(200, ""),
        errors.SopsInvalidAnswerError,
        ("application/json, 0 bytes",),
    ),
    Refusal(
        "JSON that is nested too deeply",
        answers(200, "[" * 100_000),
        errors.SopsInvalidAnswerError,
        ("is not one of SOPS'",),
    ),
    *(
        Refusal(
            f"a page that says {status}",
            {"kind": "html", "status": status},
            error,
            (f"(HTTP {status}): text/html", says),
            status=status,
        )
        for status, error, says in (
            (400, errors.SopsGatewayError, "Check the call's parameters"),
            (401, errors.SopsAuthenticationError, CHECK_CREDENTIALS),
            (403, errors.SopsAuthenticationError, CHECK_CREDENTIALS),
            (404, errors.SopsApiNotFoundError, "Check the connection's host and api_type"),
            (405, errors.SopsGatewayError, "say another http_method"),
            (429, errors.SopsRateLimitError, "Ask less often"),
            (500, errors.SopsGatewayUnavailableError, "Try again later"),
            (502, errors.SopsGatewayUnavailableError, "Try again later"),
            (503, errors.SopsGatewayUnavailableError, "Try again later"),
            (504, errors.SopsGatewayUnavailableError, "Try again later"),
        )
    ),
    Refusal(
        "JSON of something else that says 503",
        answers(503, {"result": False, "message": "down for maintenance"}),
        errors.SopsGatewayUnavailableError,
        ("HTTP 503): down for maintenance", "Try again later"),
    ),
]

CASES = [
    *(pytest.param(one, "apigw", id=f"apigw-{one.name}") for one in (*GATEWAY, *SOPS, *NOT_SOPS)),
    *(pytest.param(one, "esb", id=f"esb-{one.name}") for one in (*ESB, *SOPS, *NOT_SOPS)),
    # newer sites have the API gateway in front of the ESB as well
    *(pytest.param(one, "esb", id=f"gateway before esb-{one.name}") for one in GATEWAY),
]


@pytest.fixture(scope="module")
def one_sops() -> Iterator[FakeSops]:
    with secret_sops() as fake:
        yield fake


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(("refusal", "endpoint"), CASES)
def test_an_error_says_what_happened_and_what_to_do(one_sops: FakeSops, refusal: Refusal, endpoint: str) -> None:
    sops = one_sops
    sops.clear_requests()
    task_id = sops.create_task()
    sops.faults.add(**refusal.fault)
    with connect_to(sops, endpoint) as client, pytest.raises(refusal.error) as caught:
        client.call("get_task_status", task_id=task_id)
    error, message = caught.value, str(caught.value)
    assert type(error) is refusal.error
    assert message.startswith(f"get_task_status of SOPS task {task_id}: ")
    assert message.endswith((".", "。"))
    for words in refusal.says:
        if endpoint == "esb":
            words = words.replace("the API gateway", "ESB").replace("(apigw)", "(esb)")
        assert words in message
    for words in refusal.silent:
        assert words not in message
    assert "\n" not in message
    assert (error.api, error.task_id) == ("get_task_status", task_id)
    assert error.request_id
    assert error.request_id in message
    if refusal.code is not None:
        assert error.code == refusal.code
    if refusal.status is not None:
        assert error.http_status == refusal.status
    assert sops.count("get_task_status") == 1


def test_a_real_refusal_of_each_endpoint(sops: FakeSops, api_type: str) -> None:
    task_id = sops.create_task()
    with connect_to(sops, api_type) as client:
        sops.deny("get_task_status")
        with pytest.raises(errors.SopsApiPermissionError):
            client.call("get_task_status", task_id=task_id)
        sops.remove_api("get_task_detail")
        with pytest.raises(errors.SopsApiNotFoundError):
            client.call("get_task_detail", task_id=task_id)
        sops.site.users["admin"] = ()
        with pytest.raises(errors.SopsIamDeniedError, match="'project_view'"):
            client.call("get_task_list")
        sops.apps["demo-app"] = "changed"
        with pytest.raises(errors.SopsAuthenticationError):
            client.call("get_user_project_list")


@pytest.mark.parametrize(
    ("name", "params", "error"),
    [
        ("get_task_detail", {"task_id": 999}, errors.SopsNotFoundError),
        ("get_task_status", {"task_id": 999}, errors.SopsNotFoundError),
        ("start_task", {"task_id": 999}, errors.SopsNotFoundError),
        ("get_task_detail", {"task_id": 50001, "bk_biz_id": 4242}, errors.SopsNotFoundError),
        ("get_task_detail", {"task_id": 50001, "bk_biz_id": 7}, errors.SopsNotFoundError),
        ("create_task", {"template_id": 4242, "name": "x"}, errors.SopsNotFoundError),
        ("create_task", {"template_id": 101, "name": ""}, errors.SopsInvalidParameterError),
        ("create_task", {"template_id": 101, "name": "x" * 101}, errors.SopsInvalidParameterError),
        ("get_task_detail", {"task_id": 50001, "include_webhook_history": "maybe"}, errors.SopsInvalidParameterError),
        ("get_task_list", {"expected_timezone": "Mars/X"}, errors.SopsInvalidParameterError),
        ("start_task", {"task_id": 50001}, errors.SopsInvalidOperationError),
        ("operate_task", {"task_id": 50001, "action": "resume"}, errors.SopsApiError),
        ("get_nothing", {}, errors.SopsApiNotFoundError),
    ],
)
def test_sops_own_refusals_have_their_class(
    sops: FakeSops, api_type: str, name: str, params: dict[str, Any], error: type[errors.SopsError]
) -> None:
    assert sops.create_task("Long sleep") == 50001
    sops.advance(1)
    with connect_to(sops, api_type) as client, pytest.raises(error) as caught:
        client.call(name, **params)
    assert type(caught.value) is error
    assert str(caught.value).startswith(name)


def test_a_crash_of_sops(sops: FakeSops) -> None:
    unavailable = errors.SopsGatewayUnavailableError
    with connect_to(sops) as client, pytest.raises(unavailable, match=r"\(code 50000, HTTP 500\)"):
        client.call("get_template_list", id_in="x")
    # what SOPS answers with anything but 200, ESB tells in its own words
    with connect_to(sops, "esb") as client, pytest.raises(unavailable, match="1306201"):
        client.call("get_template_list", id_in="x")


def test_the_message_of_sops_is_scrubbed_before_it_is_cut(sops: FakeSops, api_type: str) -> None:
    secret = sops.app_secret
    task_id = sops.create_task()
    for before in (0, 480, 495, 499):
        sops.faults.add(**sops_says(3599999, "y" * before + f" {secret}"))
        with connect_to(sops, api_type) as client, pytest.raises(errors.SopsApiError) as caught:
            client.call("get_task_status", task_id=task_id)
        assert not re.search(r"Zq7|q7app", str(caught.value))
    sops.faults.add(kind="redirect", location=f"/login/{secret}/x")
    with connect_to(sops, api_type) as client, pytest.raises(errors.SopsInvalidAnswerError):
        client.call("get_task_status", task_id=task_id)
    sops.faults.add(kind="function", function=lambda request: (200, f"<p>{secret}</p>"))
    with connect_to(sops, api_type) as client, pytest.raises(errors.SopsInvalidAnswerError):
        client.call("get_task_status", task_id=task_id)


# ---- secrets ----


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("before", [0, 480], ids="cut at {}".format)
def test_no_answer_shows_a_credential(name: str, before: int) -> None:
    encode = ENCODINGS[name]
    for start, end in pairwise(nasty_secrets(5, 7)):
        secret = f"{start}Zq7{end}".replace("\ud800", "")  # which no body that is not JSON can hold
        endpoint = Endpoint("apigw", "http://sops.example.com", Credentials("app", secret, bk_username="tester"))
        told = f"{'x' * before} what you sent: {encode(secret)}"
        body = {"result": False, "message": {"field": [told, secret]}, "code": told, "trace_id": told}
        headers = {"x-bkapi-error-message": told, "x-bkapi-request-id": told, "location": told, "content-type": told}
        for status, text in ((200, json.dumps(body)), (200, told), (302, ""), (403, ""), (500, json.dumps(body))):
            with pytest.raises(errors.SopsError) as caught:
                endpoint.read(CALL, HttpReply(status, headers, text.encode()))
            shown = f"{caught.value} {vars(caught.value)}"
            assert "Zq7" not in shown, (secret, shown)


def test_a_header_that_is_no_credential_wrecks_no_address() -> None:
    headers = {"X-Stage": "prod", "X-Bk-Tenant-Id": "system", "X-Api-Key": "hidden"}
    endpoint = Endpoint("apigw", "http://sops.example.com/prod", Credentials("app", "x", bk_username="tester"), headers)
    with pytest.raises(errors.SopsInvalidAnswerError) as caught:
        endpoint.read(CALL, HttpReply(302, {"location": "http://sops.example.com/prod/filesystem/hidden/"}, b""))
    assert "http://sops.example.com/prod/get_task_status/1/2/ redirects (HTTP 302)" in str(caught.value)
    assert "to http://sops.example.com/prod/filesystem/***/" in str(caught.value)
