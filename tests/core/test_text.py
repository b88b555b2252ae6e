# SPDX-License-Identifier: Apache-2.0
"""What cannot be stored is shown instead; what can be stays as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.errors import SopsApiError, SopsConfigError, SopsError, make_error
from airflow_provider_sops.core.text import as_text, fits, read_int, repr_of, storable, storable_value, text_of
from tests.hostile import CODE_POINTS, SHOWN, TEXT, assert_event


@pytest.mark.parametrize("code", CODE_POINTS, ids=hex)
def test_what_cannot_be_stored_is_shown(code: int) -> None:
    shown = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    assert storable(f"a{chr(code)}b") == f"a{shown}b"
    assert storable(storable(chr(code))) == storable(chr(code))


@pytest.mark.parametrize("text", ["", "a\tb\nc", "标准运维", "é\xa0", "😀", "\\x00 \\ud800", "\u2028\ufeff\ufffd"])
def test_what_can_be_stored_stays(text: str) -> None:
    assert storable(text) is text


def test_a_line_of_windows_ends_as_others_do() -> None:
    assert storable("a\r\nb\rc") == "a\nb\\x0dc"


def test_length_is_bounded() -> None:
    assert storable("x" * 10, 10) == "x" * 10
    assert storable("x" * 11, 10) == "x" * 9 + "…"
    assert len(storable("\0" * 100_000)) == 4000
    assert storable("x" * 100_000, None) == "x" * 100_000


def deep(levels: int, shape: str = "list") -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if shape == "list" else {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("a", "a"), (5, "5"), (True, "True"), (1.5, "1.5"), ({"a": [1]}, "{'a': [1]}"), ([], "[]")],
)
def test_what_should_be_a_text_is_made_one(value: Any, text: str) -> None:
    assert as_text(value) == text_of(value) == text


@pytest.mark.parametrize("value", [deep(800), deep(800, "dict"), [0] * 100_000, dict.fromkeys(range(9999)), 10**4000])
def test_what_has_no_end_gets_one(value: Any) -> None:
    assert 0 < len(text_of(value)) <= 500
    assert 0 < len(repr_of(value)) <= 500


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), ("7", 7), (" 007 ", 7), (0, 0), (-1, -1), (2**63 - 1, 2**63 - 1), (1 - 2**63, 1 - 2**63)],
)
def test_a_whole_number(value: Any, number: int) -> None:
    assert read_int(value) == number


@pytest.mark.parametrize(
    "value", [None, True, 1.0, "", "x", "-1", "1e3", "٣", "²", [], {}, 2**63, str(2**63), "9" * 5_000, float("nan")]
)
def test_what_is_no_whole_number_that_can_be_stored(value: Any) -> None:
    assert read_int(value) is None


def test_the_last_guard_of_what_is_stored() -> None:
    value = {
        TEXT: TEXT,
        "kept": [1, -1.5, True, None, "标准"],
        "numbers": [2**63, -(2**70), float("inf"), float("nan")],
        "deep": deep(800),
        "strange": {1, 2},
        5: 5,
    }
    stored = storable_value(value)
    assert_event(stored)
    assert stored[SHOWN] == SHOWN
    assert stored["kept"] == value["kept"]
    assert stored["numbers"] == [2**63 - 1, 1 - 2**63, None, None]
    assert all(fits(number) for number in stored["numbers"][:2])
    assert stored["5"] == 5
    json.dumps(stored["deep"])


def test_errors_are_storable() -> None:
    assert str(SopsError(TEXT)) == SHOWN
    assert str(SopsConfigError("field", TEXT)) == f"field: {SHOWN}"


@pytest.mark.parametrize(
    ("code", "kept"), [(5, 5), ("50000", "50000"), (None, None), ("9" * 99, "9" * 63 + "…"), (2**63, str(2**63))]
)
def test_what_an_error_knows_is_storable(code: Any, kept: Any) -> None:
    call = Call("get_task_status", "GET", ())
    error = make_error(
        SopsApiError, call, TEXT, code=code, remote_message=TEXT * 9, request_id=TEXT, hint="Do this about it."
    )
    assert_event({"text": str(error), **vars(error)})
    assert error.code == kept
    assert error.remote_message is not None
    assert (len(error.remote_message), len(error.request_id or "")) == (1000, 128)
    assert str(error).startswith(f"get_task_status: {SHOWN}")
    assert str(error).endswith("Do this about it.")
