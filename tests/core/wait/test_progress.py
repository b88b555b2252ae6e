# SPDX-License-Identifier: Apache-2.0
"""What the log says of a task's progress, and when."""

from __future__ import annotations

from dataclasses import replace

import pendulum
import pytest

from airflow_provider_sops.core.models import NodeStatus, TaskStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.progress import (
    INTERVENTION_AFTER,
    REMIND_AFTER,
    ProgressLog,
    describe_progress,
    progress_lines,
)
from airflow_provider_sops.core.wait.verdict import WaitState

NOW = 1_800_000_000.0
URL = "https://sops.example.com/7"
RUNNING = TaskStatus(7, TaskState.RUNNING, "RUNNING", name="nightly")
PAUSED = TaskStatus(7, TaskState.SUSPENDED, "SUSPENDED")


def nodes(*states: TaskState, at: float | None = None) -> tuple[NodeStatus, ...]:
    moment = None if at is None else pendulum.from_timestamp(at)
    return tuple(NodeStatus(f"n{i}", f"step {i}", state, start_time=moment) for i, state in enumerate(states))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (RUNNING, "RUNNING"),
        (
            replace(RUNNING, nodes=nodes(TaskState.FINISHED, TaskState.RUNNING)),
            "RUNNING, 1 nodes done, now: step 1",
        ),
        (
            replace(RUNNING, state=TaskState.FAILED, nodes=nodes(TaskState.FINISHED, TaskState.FAILED)),
            "FAILED, 1 nodes done, failed: step 1",
        ),
        (PAUSED, "SUSPENDED"),
        (replace(PAUSED, state=TaskState.FAILED), "FAILED and paused"),
    ],
)
def test_the_words_for_a_status(status: TaskStatus, words: str) -> None:
    assert describe_progress(status, None) == words


def test_a_line_names_the_task() -> None:
    (line,) = progress_lines(RUNNING, "RUNNING", WaitState(), URL)
    assert line.text == "SOPS task 7 'nightly': RUNNING."
    assert not line.warning


def test_a_pause_is_logged_with_the_page_where_it_can_be_ended() -> None:
    (line,) = progress_lines(PAUSED, "SUSPENDED", WaitState(), URL)
    assert line.text == f"SOPS task 7: SUSPENDED. {URL}"
    (line,) = progress_lines(PAUSED, "SUSPENDED", WaitState(), "")
    assert line.text == "SOPS task 7: SUSPENDED."


@pytest.mark.parametrize(("retry_until", "word"), [(None, "will"), (NOW, "may")])
def test_a_failure_is_logged_with_how_certain_its_retry_is(retry_until: float | None, word: str) -> None:
    failed = replace(RUNNING, state=TaskState.FAILED)
    pending = WaitState(auto_retry_pending=True, retry_until=retry_until)
    assert [line.text for line in progress_lines(failed, "FAILED", pending, URL)][1:] == [
        f"A node failed; SOPS {word} retry it by itself."
    ]
    assert len(progress_lines(failed, "FAILED", WaitState(), URL)) == 1


def test_each_change_is_logged_once() -> None:
    log = ProgressLog()
    words = ["RUNNING", "RUNNING", "RUNNING, 1 nodes done", "RUNNING"]
    assert [log.note_progress(RUNNING, progress, NOW) for progress in words] == [True, False, True, True]


@pytest.mark.parametrize(("started", "logged"), [(NOW - 500, False), (NOW - 50, True)])
def test_what_an_earlier_process_has_logged_is_not_logged_again(started: float, logged: bool) -> None:
    log = ProgressLog(logged_until=NOW - 120)
    status = replace(RUNNING, nodes=nodes(TaskState.RUNNING, at=started), answered_at=NOW)
    assert log.note_progress(status, "RUNNING, 0 nodes done", NOW) is logged
    assert log.note_progress(status, "RUNNING, 1 nodes done", NOW) is True


def test_a_new_process_reminds_of_a_pause_now_and_then() -> None:
    since = nodes(TaskState.RUNNING, at=NOW - 5000)
    paused = replace(PAUSED, nodes=since, answered_at=NOW)
    border = NOW // REMIND_AFTER * REMIND_AFTER
    for logged_until, now, reminds in ((border - 1, border + 1, True), (border + 1, border + 100, False)):
        log = ProgressLog(logged_until=logged_until)
        assert log.note_progress(replace(paused, answered_at=now), "SUSPENDED", now) is reminds


def test_whether_it_waits_for_a_person_is_asked_once_after_a_change() -> None:
    log = ProgressLog()
    assert log.intervention_due is None
    log.note_progress(RUNNING, "RUNNING", NOW)
    assert log.intervention_due == NOW + INTERVENTION_AFTER
    log.intervention_asked = True
    assert log.intervention_due is None
    log.note_progress(RUNNING, "RUNNING, 1 nodes done", NOW + 400)
    assert log.intervention_due == NOW + 400 + INTERVENTION_AFTER
    log.never_intervention = True
    assert log.intervention_due is None


def test_it_is_asked_of_running_tasks_alone() -> None:
    log = ProgressLog()
    log.note_progress(PAUSED, "SUSPENDED", NOW)
    assert log.intervention_due is None


def test_a_notice_is_logged_once_by_whichever_process() -> None:
    first = ProgressLog()
    assert [first.note_notice(notice, NOW) for notice in ("a", "a", "b")] == [True, False, True]
    second = ProgressLog(logged_until=NOW + 60)
    assert second.note_notice("a", NOW) is False
    assert second.note_notice("a", NOW + 100) is True
