# SPDX-License-Identifier: Apache-2.0
"""The event of a trigger: it can always be stored, and one that cannot be used fails closed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sops.core.errors import SopsError
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.exceptions import SopsTriggerEventException
from airflow_provider_sops.trigger_events import EVENT_VERSION, Outcome, make_event, read_event
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


GOOD = {
    "version": EVENT_VERSION,
    "outcome": "success",
    "sops_task_id": 7,
    "status": {
        "sops_task_id": 7,
        "state": "FINISHED",
        "start_time": None,
        "end_time": "2026-11-22T21:03:25+08:00",
        "elapsed_time": 3,
        "task_url": "",
        "task_name": "n",
        "is_deleted": False,
    },
    "reason": "is FINISHED",
    "outage": False,
    "error": None,
}


def test_a_good_event_is_read() -> None:
    assert read_event(7, GOOD).outcome is Outcome.SUCCESS


@pytest.mark.parametrize(
    "event",
    [
        None,
        "success",
        {},
        GOOD | {"version": 2},
        GOOD | {"sops_task_id": 8},
        GOOD | {"outcome": "well"},
        GOOD | {"status": None},
        GOOD | {"status": {"state": "FINISHED"}},
        GOOD | {"status": {**GOOD["status"], "state": "DONE"}},  # type: ignore[dict-item]
        GOOD | {"status": {**GOOD["status"], "end_time": "yesterday"}},  # type: ignore[dict-item]
        GOOD | {"status": {**GOOD["status"], "elapsed_time": "3"}},  # type: ignore[dict-item]
        GOOD | {"status": {**GOOD["status"], "state": "RUNNING"}},  # type: ignore[dict-item]
        GOOD | {"status": {**GOOD["status"], "state": "UNKNOWN"}},  # type: ignore[dict-item]
        GOOD | {"status": {**GOOD["status"], "is_deleted": True}},  # type: ignore[dict-item]
        GOOD | {"outcome": "failure", "status": None},
        GOOD | {"outcome": "failure", "error": {"kind": "make_error", "message": ""}},
        {key: value for key, value in GOOD.items() if key != "error"},
    ],
)
def test_a_malformed_event_fails_closed(event: Any) -> None:
    with pytest.raises(SopsTriggerEventException, match="SOPS task 7 has sent an event that cannot be used"):
        read_event(7, event)
