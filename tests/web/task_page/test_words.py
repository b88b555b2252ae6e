# SPDX-License-Identifier: Apache-2.0
"""The words of the page."""

from __future__ import annotations

import inspect
import re
import unicodedata

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.models import NodeStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.operators import sops as operators
from airflow_provider_sops.sensors import sops as sensors
from airflow_provider_sops.web.task_page_words import NOT_OURS, duration_text, fit, sentences, state_words, value_text

KINDS = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.SopsError)]


def test_all_operators_that_have_a_sops_task_are_named() -> None:
    named = set(re.findall(r"Sops\w+", NOT_OURS[1]))
    assert named == {*operators.__all__, *sensors.__all__}


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("", [""]),
        ("short", ["short"]),
        ("Check that port is open", ["Check that port", "is open"]),
        ("备份数据库", ["备份数据库"]),
        ("备份数据库并校验备份文件的完整性", ["备份数据库并校验", "备份文件的完整性"]),
        ("averyveryverylongwordwithoutanyspace", ["averyveryverylong", "wordwithoutanysp…"]),
        ("  spaces \n and\tlines  ", ["spaces and lines"]),
    ],
)
def test_names_are_broken_to_fit(name: str, lines: list[str]) -> None:
    assert fit(name, 17, 2) == lines


@pytest.mark.parametrize(
    "name", ["x" * 200, "部署第 12 批主机 10.0.12.3 and wait until all of it is there", "a b " * 50, "中" * 99]
)
def test_no_name_is_wider_than_its_node(name: str) -> None:
    lines = fit(name, 17, 2)
    assert len(lines) == 2
    assert all(width(line) <= 18 for line in lines)
    assert lines[-1].endswith("…")


@pytest.mark.parametrize("kind", [*KINDS, errors.SopsConfigError])
def test_every_error_has_a_sentence_without_its_text(kind: type[Exception]) -> None:
    error = (
        errors.SopsConfigError("host", "10.0.0.1 is wrong") if kind is errors.SopsConfigError else kind("to 10.0.0.1")
    )
    what, advice = sentences(error, "my {conn}")  # type: ignore[arg-type]
    assert what
    assert advice
    assert "10.0.0.1" not in what + advice
    assert "{connection}" not in what + advice


def test_states_that_say_more_than_their_word() -> None:
    finished = NodeStatus("n", "n", TaskState.FINISHED)
    assert state_words(None) == ("none", "not started")
    assert state_words(finished) == ("finished", "FINISHED")
    assert state_words(NodeStatus("n", "n", TaskState.FINISHED, skip=True))[1] == "skipped"
    assert state_words(NodeStatus("n", "n", TaskState.FINISHED, error_ignored=True))[1] == "failed, ignored"
    assert state_words(NodeStatus("n", "n", TaskState.UNKNOWN))[0] == "other"


def test_values() -> None:
    assert value_text({"a": [1, "二", "secret1"]}, ["secret1"]) == '{\n "a": [\n  1,\n  "二",\n  "***"\n ]\n}'
    assert value_text("secret1 and more", ["secret1"]) == "*** and more"
    assert value_text(None, ()) == ""
    assert len(value_text("x" * 10**6, ())) == 4000
    assert duration_text(3725) == "1 h 2 min 5 s"
    assert duration_text(0) == "0 s"
