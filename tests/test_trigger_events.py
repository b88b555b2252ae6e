# SPDX-License-Identifier: Apache-2.0
"""What the modes of a wait share: no event and no line of a log ends the process that is to store it."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_sops.core.errors import SopsError
from airflow_provider_sops.core.flow import LogLine
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.task_log import log_lines
from airflow_provider_sops.trigger_events import Outcome, make_event, read_event
from tests.hostile import CODE_POINTS, SHOWN, TEXT, assert_event


class Unkempt(SopsError):
    """An error that was not made storable."""

    def __str__(self) -> str:
        return TEXT


@pytest.mark.parametrize("code", CODE_POINTS, ids=hex)
def test_an_event_is_storable_whatever_it_is_made_of(code: int) -> None:
    text = f"a{chr(code)}b"
    shown = f"a\\x{code:02x}b" if code < 0x100 else f"a\\u{code:04x}b"
    status = TaskStatus(7, TaskState.FINISHED, text, text, elapsed_time=2**70, task_url=text)
    event = make_event(7, Outcome.FAILURE, Observation(Next.FAILURE, status, text, error=Unkempt()))
    assert_event(event)
    assert (event["status"]["task_name"], event["status"]["task_url"], event["reason"]) == (shown, shown, shown)
    assert event["error"] == {"kind": "Unkempt", "message": SHOWN}
    assert event["status"]["elapsed_time"] == 2**63 - 1


def test_an_event_has_an_end() -> None:
    status = TaskStatus(7, TaskState.FINISHED, name="x" * 99_999, task_url="x" * 99_999)
    event = make_event(7, Outcome.SUCCESS, Observation(Next.SUCCESS, status, "x" * 99_999))
    assert len(str(event)) < 13_000
    assert read_event(7, event).outcome is Outcome.SUCCESS


def test_a_line_of_the_log_is_storable(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log_lines(logging.getLogger("x"), [LogLine(TEXT), LogLine(TEXT, warning=True), LogLine("x" * 99_999)])
    assert [record.getMessage() for record in caplog.records] == [SHOWN, SHOWN, "x" * 3999 + "…"]
