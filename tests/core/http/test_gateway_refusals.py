# SPDX-License-Identifier: Apache-2.0
"""Who has refused a request, and what for: the rules and tables of the gateway's and ESB's refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.http.gateway_refusals import Refusal, find_refusal
from airflow_provider_sops.core.http.reply import HttpReply

AUTHENTICATION, PERMISSION = errors.SopsAuthenticationError, errors.SopsApiPermissionError
NOT_FOUND, UNAVAILABLE = errors.SopsApiNotFoundError, errors.SopsGatewayUnavailableError
RATE, OTHER = errors.SopsRateLimitError, errors.SopsGatewayError


@pytest.mark.parametrize(
    ("code", "status", "message", "kind"),
    [
        (1640101, 401, "", AUTHENTICATION),
        (1640301, 403, "", PERMISSION),
        (1640302, 403, "", errors.SopsIpRefusedError),
        (1640401, 404, "", NOT_FOUND),
        (1642902, 429, "", RATE),
        (1650201, 502, "", UNAVAILABLE),
        (1640001, 400, "wrong parameters", OTHER),
        (1640001, 400, "app_code is empty", AUTHENTICATION),
        (1306000, 200, "component error", UNAVAILABLE),
        (1306000, 200, "app secret is wrong", AUTHENTICATION),
        (1306201, 200, "Status Code: 502", UNAVAILABLE),
        (1306201, 200, "Status Code: 302", NOT_FOUND),
        (1306401, 200, "", AUTHENTICATION),
        (1306402, 200, "", PERMISSION),
        (1306429, 200, "", RATE),
        (1306406, 200, "wrong parameters", OTHER),
        (None, 401, "", AUTHENTICATION),
        (None, 404, "", NOT_FOUND),
        (None, 429, "", RATE),
        (None, 418, "", OTHER),
        (None, 503, "", UNAVAILABLE),
    ],
)
def test_the_code_says_what_is_refused_or_else_the_status(
    code: int | None, status: int, message: str, kind: type[Exception]
) -> None:
    assert Refusal(status, code, message).error_class is kind


@pytest.mark.parametrize(
    ("status", "body", "headers", "code"),
    [
        (200, {"result": True, "code": 1640401}, {}, "sops"),
        (200, {"result": False, "code": 3540400, "message": "no"}, {}, "sops"),
        (499, {"result": False, "code": 9900403, "message": "no"}, {}, "sops"),
        (500, {"result": False, "code": "50000", "message": "x"}, {}, "sops"),
        (200, {"result": False, "code": 1306000, "message": "task not started"}, {}, "sops"),
        (200, {"result": False, "code": 1306000, "message": "component error"}, {}, 1306000),
        (404, {"result": False, "code": 1640401, "message": "no"}, {}, 1640401),
        (403, {"result": False, "code": 9900403}, {"x-bkapi-error-code": "1640301"}, 1640301),
        (403, {"result": False, "message": "no"}, {}, None),
        (502, "<html>", {}, None),
        (200, "<html>", {}, "sops"),
    ],
)
def test_whose_word_it_is(status: int, body: Any, headers: dict[str, str], code: object) -> None:
    written = json.dumps(body).encode() if isinstance(body, dict) else body.encode()
    found = find_refusal(HttpReply(status, headers, written), body if isinstance(body, dict) else None, ())
    assert (found.code if found else "sops") == code
