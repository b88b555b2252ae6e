# SPDX-License-Identifier: Apache-2.0
"""What is read from an HTTP reply, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sops.core.http.reply import HttpReply

DATE = "Sun, 22 Nov 2026 13:03:25 GMT"


def reply(body: bytes = b"", /, **headers: str) -> HttpReply:
    return HttpReply(200, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'{"result": true}', {"result": True}),
        (b"[1]", None),
        (b"<html>", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
    ids=["object", "list", "page", "no text", "nested without an end"],
)
def test_only_an_object_is_an_answer(body: bytes, read: Any) -> None:
    assert reply(body).json_object() == read


def test_the_body_names_the_request_before_the_headers_do() -> None:
    both = reply(x_bkapi_request_id="gateway", sops_trace_id="trace")
    assert both.request_id({"trace_id": "", "request_id": "body"}) == "body"
    assert both.request_id({"request_id": 5}) == "gateway"
    assert reply(sops_trace_id="trace").request_id(None) == "trace"
    assert reply().request_id(None) == ""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": " 7 "}, 7.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "Sun, 22 Nov 2026 13:03:55 GMT", "date": DATE}, 30.0),
        ({"retry_after": "Sun, 22 Nov 2026 13:03:00 GMT", "date": DATE}, 0.0),
        ({"retry_after": "Sun, 22 Nov 2000 13:03:00 GMT"}, 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock(headers: dict[str, str], seconds: float | None) -> None:
    assert reply(**headers).retry_after == seconds


def test_a_reply_without_a_date_has_none() -> None:
    assert reply(date=DATE).date == 1_795_352_605.0
    assert reply(date="today").date is None
    assert reply().date is None


def test_an_excerpt_is_scrubbed_before_it_is_cut() -> None:
    page = b"<p>" + b"x" * 112 + b" top-secret\n words</p>"
    assert reply(page, content_type="text/html; charset=utf-8").excerpt(["top-secret"]) == (
        f"text/html, {len(page)} bytes, '<p>{'x' * 112} *** …'"
    )
    assert reply().excerpt([]) == "no content type, 0 bytes"
