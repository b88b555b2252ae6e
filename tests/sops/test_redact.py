# SPDX-License-Identifier: Apache-2.0
"""Secrets leave no text: whatever their form, whoever writes it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest

from airflow_provider_sops.sops.redact import protect_http_logs, scrub, scrubbed_cause

SECRET = "a/b+c&d=e%f g'h\"i"


@pytest.mark.parametrize("form", [SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET)])
def test_a_secret_is_scrubbed_in_every_form(form: str) -> None:
    assert scrub(f"before {form} after", [SECRET]) == "before *** after"


def test_a_secret_that_is_part_of_another_one() -> None:
    assert scrub("abcde abcdefg", ["abcde", "abcdefg"]) == "*** ***"


def test_what_is_too_short_is_no_secret() -> None:
    assert scrub("a b ab", ["", "a", "ab"]) == "a b ab"


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
