# SPDX-License-Identifier: Apache-2.0
"""The endpoints to the API: which address is which call, who calls, and what each endpoint refuses by itself.

Three endpoints: the API gateway, the ESB component API, and SOPS itself (``/apigw/``) as the gateway calls it.
"""

from __future__ import annotations

import json
import re
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from airflow_provider_sops.testing.api import APIS, Api
from airflow_provider_sops.testing.templates.trees import as_list

GATEWAY, ESB, DIRECT = "apigw", "esb", "direct"
HTML = "text/html; charset=utf-8"
GATEWAY_PATH = "/api/bk-sops/prod"
ESB_PATH = "/api/c/compapi/v2/sops"
DIRECT_PATH = "/apigw"
_PREFIXES = {GATEWAY_PATH + "/": GATEWAY, "/prod/": GATEWAY, ESB_PATH + "/": ESB, DIRECT_PATH + "/": DIRECT}
CREDENTIALS = ("bk_app_code", "bk_app_secret", "bk_username", "bk_token", "access_token")

#: Refusals of the gateway: code -> (HTTP status, code_name, message), after its public source. A gateway of an older
#: version refuses wrong credentials with 1640001 instead, and says in the message what is wrong. Of those with the same
#: status, the usual one stands first.
GATEWAY_REFUSALS = {
    1640001: (400, "INVALID_ARGS", "Parameters error"),
    1640101: (401, "APP_VERIFY_FAILED", "App authentication failed"),
    1640102: (401, "USER_VERIFY_FAILED", "User authentication failed"),
    1640301: (403, "APP_NO_PERMISSION", "App has no permission to the resource"),
    1640302: (403, "IP_NOT_ALLOWED", "Request rejected by ip restriction"),
    1640401: (404, "API_NOT_FOUND", "API not found"),
    1640501: (405, "METHOD_NOT_ALLOWED", "Method not allowed"),
    1641301: (413, "BODY_SIZE_LIMIT_EXCEED", "Request body size too large."),
    1642902: (429, "RATE_LIMIT_RESTRICTION", "API rate limit exceeded by stage strategy"),
    1642901: (429, "RATE_LIMIT_RESTRICTION", "API rate limit exceeded by stage global limit"),
    1642903: (429, "RATE_LIMIT_RESTRICTION", "API rate limit exceeded by resource strategy"),
    1642904: (429, "CONCURRENCY_LIMIT_RESTRICTION", "Request concurrency exceeds"),
    1650001: (500, "INTERNAL_SERVER_ERROR", "Internal Server Error"),
    1650002: (500, "INVALID_RESOURCE_CONFIG", "Resource configuration error"),
    1650003: (500, "INVALID_RESOURCE_CONFIG", "Resource configuration error"),
    1650201: (502, "ERROR_REQUESTING_RESOURCE", "Request backend service failed"),
    1650200: (502, "BAD_GATEWAY", "Bad Gateway"),
    1650300: (503, "SERVICE_UNAVAILABLE", "Service Unavailable"),
    1650401: (504, "REQUEST_BACKEND_TIMEOUT", "Request backend service timeout"),
}
#: Refusals of the ESB, by the gateway's code: code and message, after its public source (not measured). The ESB
#: answers with HTTP 200.
_ESB_REFUSALS = {
    1640001: (1306406, "Parameters error"),
    1640101: (1306406, "APP authentication failed"),
    1640102: (1306406, "User authentication failed"),
    1640301: (1306403, "APP permission is insufficient"),
    1640302: (1306402, "User permission is insufficient"),
    1640401: (1306404, "Not found, component class not found"),
    **dict.fromkeys((1642901, 1642902, 1642903, 1642904), (1306429, "Access frequency limit")),
}
_ESB_BACKEND_FAILED = (1306201, "Request third-party interface error")


@dataclass(slots=True)
class Reply:
    """What goes back over HTTP.

    :param body: a JSON value, or text.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def data(self) -> bytes:
        """The body's bytes."""
        if isinstance(self.body, str):
            return self.body.encode()
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(slots=True)
class Address:
    """Where a request goes.

    :param api: None: the endpoint has no such call.
    :param name: what stands where the API's name is expected.
    :param ids: numbers from the path; None: they are not there, or are no numbers.
    :param rest: the path behind the endpoint.
    """

    endpoint: str
    name: str
    api: Api | None
    ids: dict[str, int] | None
    rest: str


@dataclass(slots=True)
class Incoming:
    """A request that has come to a endpoint.

    :ivar params: what the caller asks with: the query of a GET, the JSON body of another method.
    """

    address: Address
    method: str
    path: str
    query: dict[str, str]
    raw: bytes
    headers: Message  # whose names may be in any case
    params: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        if self.method == "GET":
            self.params = dict(self.query)
            return
        try:
            body = json.loads(self.raw or b"{}")
        except ValueError:
            body = None
        self.params = body if isinstance(body, dict) else {}

    def task_ids(self) -> tuple[int, ...]:
        """The tasks that the request is about, as far as they can be told."""
        if self.address.ids and "task_id" in self.address.ids:
            return (self.address.ids["task_id"],)
        given = self.params.get("task_id_list", self.params.get("task_id"))
        return tuple(int(value) for value in as_list(given) if re.fullmatch(r"\d+", str(value)))


class Refusal(Exception):
    """The endpoint refuses by itself."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


def find(path: str) -> Address | None:
    """The call that a path means; None: it is behind no endpoint."""
    for prefix, endpoint in _PREFIXES.items():
        if path.startswith(prefix):
            rest = path[len(prefix) :]
            name, *parts = rest.split("/")
            api = APIS.get(name)
            return Address(endpoint, name, api, None if api is None or endpoint == ESB else _ids(api, parts), rest)
    return None


def _ids(api: Api, parts: list[str]) -> dict[str, int] | None:
    if not parts or parts.pop() != "":
        return None  # no slash at the end
    if len(parts) != len(api.ids) or not all(re.fullmatch(r"\d+", part) for part in parts):
        return None
    return {name: int(part) for name, part in zip(api.ids, parts, strict=True)}


def esb_ids(api: Api, params: Mapping[str, Any]) -> dict[str, int]:
    """The ids of an ESB call, which are ordinary parameters.

    :raises Refusal: one is missing or no number.
    """
    ids = {}
    for name in api.ids:
        try:
            ids[name] = int(params[name])
        except (KeyError, TypeError, ValueError):
            raise Refusal(1640001, f"param {name} is required") from None
    return ids


def page_not_found(url: str) -> Reply:
    """302 to a page, as SOPS answers every path that it does not know."""
    location = "/?page_not_found=" + urllib.parse.quote(url)
    return Reply(302, "", {"Location": location}, HTML)


def refuse(endpoint: str, code: int, detail: str = "") -> Reply:
    """A refusal in the endpoint's own shape.

    :param code: the gateway's code; the ESB has its own for it.
    :param detail: more words for the message.
    """
    if endpoint == ESB:
        esb_code, message = _ESB_REFUSALS.get(code, _ESB_BACKEND_FAILED)
        message = f"{message}, {detail}" if detail else message
        request_id = uuid.uuid4().hex
        body = {"result": False, "code": esb_code, "data": None, "message": message, "request_id": request_id}
        return Reply(200, body)
    status, name, message = GATEWAY_REFUSALS.get(code, (500, "UNKNOWN_ERROR", "unknown error"))
    message = f"{message} [{detail}]" if detail else message
    body = {"code": code, "code_name": name, "message": message, "data": None, "result": False}
    return Reply(status, body, {"X-Bkapi-Error-Code": str(code), "X-Bkapi-Error-Message": message})


def through_esb(reply: Reply, api: str) -> Reply:
    """What the ESB makes of a reply of SOPS that is no plain answer: a refusal of its own."""
    if reply.status == 200:
        return reply
    detail = (
        f"Component request third-party system [SOPS] interface [{api}] error: Status Code: {reply.status}, "
        "please try again later or contact component developer to handle this"
    )
    return refuse(ESB, 1650201, detail)


def code_of_status(status: int) -> int:
    """The gateway's usual code for an HTTP status."""
    return next((code for code, (usual, *_) in GATEWAY_REFUSALS.items() if usual == status), 1650001)


def business(answer: dict[str, Any], *, traced: bool = True, status: int = 200) -> Reply:
    """An answer of SOPS itself, with the header that names its trace.

    :param traced: the trace id stands in the body too.
    """
    trace_id = uuid.uuid4().hex
    body = answer | {"trace_id": trace_id} if traced else answer
    return Reply(status, body, {"Sops-Trace-Id": trace_id})


def credentials(incoming: Incoming) -> dict[str, str]:
    """The credentials of a request: from the header, or, where the endpoint allows it, from its parameters.

    :raises Refusal: the header is not what it should be.
    """
    endpoint = incoming.address.endpoint
    header = incoming.headers["X-Bkapi-Authorization"]
    given: Any = {} if endpoint == GATEWAY else incoming.params
    if header is not None and endpoint != ESB:
        try:
            given = json.loads(header)
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise Refusal(1640001, 'reason="request header X-Bkapi-Authorization is not a valid JSON"')
    return {name: str(given[name]) for name in CREDENTIALS if given.get(name)}
