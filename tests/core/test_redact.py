# SPDX-License-Identifier: Apache-2.0
"""Secrets leave no text: whatever their form, whoever writes it."""

from __future__ import annotations

import html
import json
import logging
import random
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from airflow_provider_sops.core.redact import (
    header_secrets,
    protect_http_logs,
    scrub,
    scrub_values,
    scrubbed_cause,
    secret_texts,
)
from airflow_provider_sops.core.text import storable
from tests.hostile import SHOWN, TEXT

SECRET = "a/b+c&d=e%f g'h\"i"
#: what some encoding or other writes differently, and what stands around it
NASTY = "\"'\\/\n\r\t\0\x1b\x7f\x85 &%=+<>${}?#:;,aZ7密é😀\ud800"
ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "repr": lambda text: repr(text)[1:-1],
    "repr beside quotes": lambda text: repr(text + "\"'")[1:-4],
    "repr of bytes": lambda text: repr(text.encode("utf-8", "surrogatepass"))[2:-1],
    "query": lambda text: quote_plus(text, errors="surrogatepass"),
    "path": lambda text: quote(text, errors="surrogatepass"),
    "path, small": lambda text: re.sub(
        "%..", lambda octet: octet.group().lower(), quote(text, "", None, "surrogatepass")
    ),
    "HTML": html.escape,
    "storable": lambda text: storable(text, None),
}
JSONS = ("JSON", "JSON in UTF-8", "repr", "repr of bytes", "storable")


def nasty_secrets(seed: int, count: int) -> list[str]:
    """Make random secrets of all that is hard to write."""
    chance = random.Random(seed)  # noqa: S311 (no secret, but the same each time)
    return ["".join(chance.choices(NASTY, k=chance.randint(5, 30))) for _ in range(count)]


@pytest.mark.parametrize("form", [SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET)])
def test_a_secret_is_scrubbed_in_every_form(form: str) -> None:
    assert scrub(f"before {form} after", [SECRET]) == "before *** after"


def test_a_secret_that_is_part_of_another_one() -> None:
    assert scrub("abcde abcdefg", ["abcde", "abcdefg"]) == "*** ***"


@pytest.mark.parametrize("name", ENCODINGS)
def test_any_secret_is_scrubbed_in_any_form(name: str) -> None:
    for secret in nasty_secrets(1, 40):
        assert scrub(f"before {ENCODINGS[name](secret)} after", [secret]) == "before *** after", (name, secret)


@pytest.mark.parametrize("outer", JSONS)
@pytest.mark.parametrize("inner", JSONS)
def test_any_secret_is_scrubbed_in_a_form_within_another(inner: str, outer: str) -> None:
    for secret in nasty_secrets(2, 10):
        text = ENCODINGS[outer](ENCODINGS[inner](secret))
        assert scrub(f"before {text} after", [secret]) == "before *** after", secret


@pytest.mark.parametrize("part", ["\\", "%255c", '\\"', "&#00"], ids=str)
def test_looking_for_secrets_ends_where_they_nearly_stand(part: str) -> None:
    text = part * 5_000  # a search that doubles with each part never ends
    assert scrub(text, ["\\\\\\\\\"'x", '\\"\\"\\"\\"x', "&&&&&&x", '""""""x']) == text


def test_what_airflow_would_not_mask_is_not_replaced() -> None:
    assert scrub("1 prod airflow_provider", ["", "1", "prod", "airflow", "Airflow"]) == "1 prod airflow_provider"
    assert scrub("?bk_app_secret=1&x=1", ["1"]) == "?bk_app_secret=***&x=1"


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        ("Authorization", "Bearer abc.def", ["Bearer abc.def", "abc.def"]),
        ("proxy-authorization", "Basic dXNlcg==", ["Basic dXNlcg==", "dXNlcg=="]),
        ("X-Bkapi-Authorization", "{}", ["{}"]),
        ("Cookie", "bk_token=abc; lang=zh", ["bk_token=abc; lang=zh", "abc"]),
        ("X-Api-Key", "k", ["k"]),
        ("X-CSRFToken", "t", ["t"]),
        ("X_Client_Secret", "s", ["s"]),
        ("X-Password", "p", ["p"]),
        ("X-Bk-Tenant-Id", "system", []),
        ("X-Stage", "prod", []),
        ("X-Keyspace", "tasks", []),
        ("X-Forwarded-Proto", "https", []),
        ("Accept-Language", "zh-cn", []),
    ],
)
def test_headers_that_are_secrets_say_so(name: str, value: str, secrets: list[str]) -> None:
    assert header_secrets({name: value}) == secrets


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("abc", ["abc"]),
        (7, ["7"]),
        (True, []),
        (None, []),
        ({"tag": "variable", "value": "abc"}, ["abc"]),
        ({"tag": "a tag without a value"}, ["a tag without a value"]),
        ([{"user": "u"}, ["p"], ""], ["u", "p"]),
    ],
)
def test_all_texts_of_a_secret_value_are_secrets(value: Any, secrets: list[str]) -> None:
    assert sorted(secret_texts(value)) == sorted(secrets)


def test_values_are_scrubbed_before_they_are_encoded() -> None:
    for secret in nasty_secrets(3, 20):
        values = {"a": [secret, f"-u root -p {secret} ls", 5, None, True], secret: {"b": secret}}
        scrubbed = {"a": ["***", "-u root -p *** ls", 5, None, True], "***": {"b": "***"}}
        assert scrub_values(values, [secret]) == scrubbed


def test_a_short_secret_is_masked_where_it_is_the_whole_value() -> None:
    values = {"pin": "1", "number": 1, "count": 11, "text": "1 of 2", "flag": True}
    assert scrub_values(values, ["1"]) == {"pin": "***", "number": "***", "count": 11, "text": "1 of 2", "flag": True}


def test_a_field_that_is_a_secret_by_its_name_is_masked() -> None:
    values = {"job_password": "abc", "access_token": ["x"], "client_secret": "", "bk_obj_key": "host", "tokens": 5}
    shown = {"job_password": "***", "access_token": "***", "client_secret": "", "bk_obj_key": "host", "tokens": 5}
    assert scrub_values(values, []) == shown


def test_values_without_an_end_get_one() -> None:
    value: Any = "abcde"
    for _ in range(800):
        value = [value]
    assert "…" in json.dumps(scrub_values(value, ["abcde"]), ensure_ascii=False)
    assert secret_texts(value) == ["abcde"]


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("/x/?bk_app_code=app&bk_app_secret=s%2Fx&task_id=1", "/x/?bk_app_code=app&bk_app_secret=***&task_id=1"),
        ("/x/?access_token=abc HTTP/1.1", "/x/?access_token=*** HTTP/1.1"),
        (
            '{"bk_app_secret": "abc", "bk_token":"def", "name": "x"}',
            '{"bk_app_secret": "***", "bk_token":"***", "name": "x"}',
        ),
        ("{'app_secret': 'abc'}", "{'app_secret': '***'}"),
        (r"{\"bk_app_secret\": \"abc\"}", r"{\"bk_app_secret\": \"***\"}"),
        ("c_url=%3Fbk_token%3Dabc%26x", "c_url=%3Fbk_token%3D***"),
        ("bk_app_secret is wrong", "bk_app_secret is wrong"),
    ],
)
def test_a_credential_is_scrubbed_by_its_name(text: str, scrubbed: str) -> None:
    assert scrub(text, ()) == scrubbed


class Demanding(Exception):
    """Wants more than a text."""

    def __init__(self, url: str, request: object) -> None:
        super().__init__(f"cannot get {url}")
        self.url, self.request = url, request


def test_a_cause_keeps_its_class_but_not_what_hangs_on_it() -> None:
    error = ConnectionResetError(f"reset at {SECRET}")
    error.__cause__ = ValueError(SECRET)
    copy = scrubbed_cause(error, [SECRET])
    assert type(copy) is ConnectionResetError
    assert str(copy) == "reset at ***"
    assert (copy.__cause__, copy.__context__) == (None, None)


def test_a_cause_is_storable() -> None:
    copied = scrubbed_cause(ConnectionResetError(TEXT), [])
    assert (type(copied), str(copied)) == (ConnectionResetError, SHOWN)
    assert len(str(scrubbed_cause(ConnectionResetError("x" * 99_999), []))) == 4000


def test_a_cause_that_cannot_be_copied_keeps_its_name() -> None:
    copy = scrubbed_cause(Demanding(f"http://x/?{SECRET}", object()), [SECRET])
    assert type(copy) is ConnectionError
    assert str(copy) == "Demanding: cannot get http://x/?***"
    assert vars(copy) == {}


@pytest.fixture
def records() -> Iterator[list[str]]:
    """What reaches a handler of the HTTP libraries' loggers."""
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("urllib3.connectionpool", "httpx")]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
    yield seen
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "httpx"])
def test_the_http_libraries_log_no_credentials(records: list[str], name: str) -> None:
    for _ in range(2):
        protect_http_logs("http://sops.example.com/prod")
    logger = logging.getLogger(name)
    logger.debug('%s "%s %s"', "http://paas.example.com", "GET", "/x/?bk_app_secret=abc&task_id=1")
    logger.debug("a line with %d %%", 5)
    assert records == ['http://paas.example.com "GET /x/?bk_app_secret=***&task_id=1"', "a line with 5 %"]


def test_a_poll_is_told_of_at_level_debug_only(records: list[str]) -> None:
    protect_http_logs("http://sops.example.com/prod")
    logger = logging.getLogger("httpx")
    logger.info("HTTP Request: %s %s", "GET", "http://sops.example.com/prod/get_task_status/1/2/")
    logger.info("HTTP Request: %s %s", "GET", "http://other.example.com/")
    logger.debug("http://sops.example.com/prod/get_task_status/1/2/")
    assert records == [
        "HTTP Request: GET http://other.example.com/",
        "http://sops.example.com/prod/get_task_status/1/2/",
    ]
