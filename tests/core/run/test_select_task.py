# SPDX-License-Identifier: Apache-2.0
"""What a retry does with what it finds, without any I/O."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sops.core.call_flow import LogLine
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.run.select_task import Action, action_for, is_done, may_have_ended_by_trigger
from airflow_provider_sops.core.run.tag import Tag
from airflow_provider_sops.core.run.task_run import RunRecord, RunState
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.verdict import Next
from tests.core.run.test_search import TAG, run

OVER = ["REVOKED", "EXPIRED", "ENDED"]


def action(state: str, follows: Next, *, superseded: bool = False, deleted: bool = False, **fields: Any) -> Action:
    status = TaskStatus(10, TaskState(state), raw_state=state, is_deleted=deleted)
    return action_for(run(**fields), status, Observation(follows, status), superseded=superseded)


@pytest.mark.parametrize("superseded", [False, True])
def test_what_was_not_started_is_started(superseded: bool) -> None:
    assert action("CREATED", Next.WAIT, superseded=superseded) is Action.START


@pytest.mark.parametrize("superseded", [False, True])
@pytest.mark.parametrize(
    ("state", "follows"), [("RUNNING", Next.WAIT), ("SUSPENDED", Next.WAIT), ("FINISHED", Next.SUCCESS)]
)
def test_what_runs_or_has_finished_is_gone_on_with(state: str, follows: Next, superseded: bool) -> None:
    assert action(state, follows, superseded=superseded) is Action.WAIT


def test_what_has_failed() -> None:
    assert action("FAILED", Next.FAILURE) is Action.GIVE_UP
    assert action("FAILED", Next.FAILURE, on_retry="retry_failed_nodes") is Action.RETRY_NODES
    assert action("FAILED", Next.FAILURE, on_retry="retry_failed_nodes", superseded=True) is Action.GIVE_UP
    assert action("FAILED", Next.WAIT) is Action.WAIT  # on_failed="wait", or SOPS retries it


@pytest.mark.parametrize("state", OVER)
def test_what_is_over(state: str) -> None:
    assert action(state, Next.FAILURE, superseded=True) is Action.SKIP
    assert action(state, Next.FAILURE, first_after_clear=True) is Action.SKIP
    assert action(state, Next.FAILURE) is (Action.ABORT if state == "REVOKED" else Action.WAIT)


def test_an_end_that_is_allowed_is_one() -> None:
    assert action("REVOKED", Next.SUCCESS) is Action.WAIT
    assert action("REVOKED", Next.SUCCESS, first_after_clear=True) is Action.WAIT


def test_what_was_deleted() -> None:
    assert action("CREATED", Next.FAILURE, deleted=True) is Action.WAIT
    assert action("RUNNING", Next.FAILURE, deleted=True, superseded=True) is Action.SKIP
    assert action("RUNNING", Next.FAILURE, deleted=True, first_after_clear=True) is Action.SKIP


def test_a_generation_whose_outputs_were_taken_is_done() -> None:
    one = run(tag=Tag(TAG.base), record=RunRecord(TAG.base, 2, 10, done=True))
    assert [is_done(one, generation) for generation in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize(
    ("tag", "record"),
    [
        (Tag(TAG.base), None),
        (Tag(TAG.base), RunRecord(TAG.base, 2, 10)),
        (Tag(TAG.base), RunRecord("another", 2, 10, done=True)),
        (TAG, RunRecord(TAG.base, 2, 10, done=True)),
    ],
    ids=["no record", "not done", "another run", "it is to be taken up"],
)
def test_else_it_is_not(tag: Tag, record: RunRecord | None) -> None:
    assert not is_done(run(tag=tag, record=record), 1)


def test_a_line_is_given_once() -> None:
    state, line = RunState(), LogLine("the same")
    assert list(state.once(line, LogLine("another"), line)) == [line, LogLine("another")]
    assert list(state.once(line)) == []


def test_what_a_trigger_may_have_ended() -> None:
    alone = Tag(TAG.base)
    record = RunRecord(TAG.base, 2, 10, left_to_trigger=True)
    cleared = run(tag=alone, record=record, looks_cleared=True)
    assert [may_have_ended_by_trigger(cleared, generation) for generation in (1, 2, 3)] == [True, True, False]
    assert not is_done(cleared, 2)
    assert not may_have_ended_by_trigger(run(tag=alone, record=record), 2)  # a retry
    assert not may_have_ended_by_trigger(run(tag=alone, looks_cleared=True), 2)
    assert not may_have_ended_by_trigger(run(record=record, looks_cleared=True), 2)  # the one there is is taken up
    other = RunRecord("af" + "2" * 16, 2, 10, left_to_trigger=True)
    assert not may_have_ended_by_trigger(run(tag=alone, record=other, looks_cleared=True), 2)
    taken_back = RunRecord(TAG.base, 2, 10)
    assert not may_have_ended_by_trigger(run(tag=alone, record=taken_back, looks_cleared=True), 2)
    finished = TaskStatus(10, TaskState.FINISHED, raw_state="FINISHED")
    for follows, expected in ((Next.SUCCESS, Action.SKIP), (Next.WAIT, Action.WAIT)):
        observation = Observation(follows, finished)
        assert action_for(cleared, finished, observation, superseded=False, ended_by_trigger=True) is expected
