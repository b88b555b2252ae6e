# SPDX-License-Identifier: Apache-2.0
"""The judgement itself, without I/O: each state under each policy, and what it remembers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pendulum
import pytest

from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.models import NodeStatus, TaskStatus
from airflow_provider_sops.core.states import FINAL_STATES, TaskState
from airflow_provider_sops.core.wait.policy import WaitPolicy, check_choice, parse_allowed_states
from airflow_provider_sops.core.wait.verdict import AUTO_RETRY_RECHECK, END_TIME_PATIENCE, Next, WaitState, judge

NOW = 1_000_000.0
END = pendulum.from_timestamp(NOW - 5)
WAIT, SUCCESS, FAILURE = Next.WAIT, Next.SUCCESS, Next.FAILURE
ASK_STATUS, ASK_DETAIL, ASK_TREE = Next.ASK_STATUS, Next.ASK_DETAIL, Next.ASK_TREE


def status(state: str, **fields: Any) -> TaskStatus:
    ended = TaskState(state) in (TaskState.FINISHED, TaskState.ENDED)
    return TaskStatus(7, TaskState(state), **{"finish_time": END if ended else None, **fields})


def verdict(
    state: str | TaskStatus, *, fresh: bool = False, wait_state: WaitState | None = None, **policy: Any
) -> Next:
    one = status(state) if isinstance(state, str) else state
    if "allowed" in policy:
        policy["allowed_states"] = frozenset(TaskState(word) for word in policy.pop("allowed"))
    return judge(one, WaitPolicy(**policy), wait_state or WaitState(), NOW, fresh=fresh).next


ALL = [state.value for state in FINAL_STATES]


@pytest.mark.parametrize(
    ("state", "policy", "follows"),
    [
        *((state, {}, WAIT) for state in ("CREATED", "READY", "RUNNING", "BLOCKED", "SUSPENDED", "NODE_SUSPENDED")),
        ("FINISHED", {}, SUCCESS),
        ("REVOKED", {}, FAILURE),
        ("EXPIRED", {}, FAILURE),
        ("REVOKED", {"allowed": ["REVOKED"]}, SUCCESS),
        ("EXPIRED", {"allowed": ["FINISHED", "EXPIRED"]}, SUCCESS),
        ("FINISHED", {"allowed": ["REVOKED"]}, FAILURE),
        ("ENDED", {}, FAILURE),
        ("ENDED", {"assume_finished": True}, SUCCESS),
        ("ENDED", {"assume_finished": True, "allowed": ["REVOKED"]}, FAILURE),
        ("ENDED", {"allowed": ALL}, SUCCESS),
        ("ENDED", {"allowed": ["FINISHED", "REVOKED"]}, FAILURE),
        ("SUSPENDED", {"on_suspended": "fail"}, ASK_STATUS),
        ("NODE_SUSPENDED", {"on_suspended": "fail"}, ASK_STATUS),
        ("FAILED", {}, ASK_STATUS),
        ("FAILED", {"on_failed": "wait"}, ASK_STATUS),
        ("FAILED", {"failed_grace": 60.0}, ASK_STATUS),
    ],
)
def test_a_status_that_may_be_a_cached_one(state: str, policy: dict[str, Any], follows: Next) -> None:
    assert verdict(state, **policy) is follows


@pytest.mark.parametrize(
    ("state", "policy", "follows"),
    [
        ("SUSPENDED", {"on_suspended": "fail"}, FAILURE),
        ("NODE_SUSPENDED", {"on_suspended": "fail"}, FAILURE),
        ("FAILED", {}, FAILURE),
        ("FAILED", {"on_failed": "wait"}, WAIT),
        ("FAILED", {"failed_grace": 60.0}, WAIT),
        ("FAILED", {"on_failed": "wait", "failed_grace": 0.0}, FAILURE),
    ],
)
def test_a_fresh_status(state: str, policy: dict[str, Any], follows: Next) -> None:
    assert verdict(status(state, auto_retry_pending=False), fresh=True, **policy) is follows


@pytest.mark.parametrize("state", [state.value for state in TaskState if state is not TaskState.UNKNOWN])
def test_a_deleted_task_is_a_failure_in_every_state(state: str) -> None:
    assert verdict(status(state, is_deleted=True), allowed=ALL) is FAILURE


def test_no_unknown_state_is_a_success() -> None:
    assert verdict("UNKNOWN", allowed=ALL, assume_finished=True) is WAIT


def test_an_end_is_an_end_only_with_its_end_time() -> None:
    wait_state = WaitState()
    racing = status("FINISHED", finish_time=None)
    assert verdict(racing, wait_state=wait_state) is WAIT
    assert wait_state.finished == NOW
    later = judge(racing, WaitPolicy(), wait_state, NOW + END_TIME_PATIENCE - 1)
    assert later.next is WAIT
    assert judge(racing, WaitPolicy(), wait_state, NOW + END_TIME_PATIENCE).next is ASK_DETAIL
    assert judge(status("FINISHED"), WaitPolicy(), wait_state, NOW + 1).next is SUCCESS
    assert judge(status("RUNNING"), WaitPolicy(), wait_state, NOW).next is WAIT
    assert wait_state.finished is None


def failed(pending: bool | None = None, at: float | None = None) -> TaskStatus:
    time = None if at is None else pendulum.from_timestamp(at)
    node = NodeStatus("n1", "call", TaskState.FAILED, finish_time=time)
    return status("FAILED", nodes=(node,), auto_retry_pending=pending)


def test_an_automatic_retry_is_waited_for_and_asked_about_again() -> None:
    wait_state, policy = WaitState(), WaitPolicy()
    assert judge(failed(), policy, wait_state, NOW).next is ASK_STATUS
    assert judge(failed(pending=True), policy, wait_state, NOW, fresh=True).next is WAIT
    assert judge(failed(), policy, wait_state, NOW + AUTO_RETRY_RECHECK - 1).next is WAIT
    assert judge(failed(), policy, wait_state, NOW + AUTO_RETRY_RECHECK).next is ASK_STATUS
    assert judge(failed(pending=False), policy, wait_state, NOW + AUTO_RETRY_RECHECK, fresh=True).next is FAILURE


def test_what_sops_does_not_say_of_its_own_retries_is_not_a_no() -> None:
    wait_state, policy = WaitState(), WaitPolicy()
    assert judge(failed(), policy, wait_state, NOW, fresh=True).next is ASK_TREE
    assert judge(failed(), policy, wait_state, NOW, fresh=True, retry_window=20).next is WAIT
    assert (wait_state.auto_retry_pending, wait_state.retry_until) == (True, NOW + 20)
    assert judge(failed(), policy, wait_state, NOW + AUTO_RETRY_RECHECK, fresh=True, retry_window=20).next is FAILURE
    assert judge(failed(), policy, WaitState(), NOW, fresh=True, retry_window=0).next is FAILURE


def test_the_time_for_a_retry_begins_anew_when_a_node_fails_again() -> None:
    wait_state, policy = WaitState(), WaitPolicy()
    assert judge(failed(at=NOW - 15), policy, wait_state, NOW, fresh=True, retry_window=20).next is WAIT
    assert judge(failed(at=NOW + 15), policy, wait_state, NOW + 20, fresh=True, retry_window=20).next is WAIT
    assert judge(failed(at=NOW + 15), policy, wait_state, NOW + 40, fresh=True, retry_window=20).next is FAILURE


def test_new_processes_know_from_sops_since_when_a_retry_is_waited_for() -> None:
    assert judge(failed(at=NOW - 15), WaitPolicy(), WaitState(), NOW, fresh=True, retry_window=20).next is WAIT
    assert judge(failed(at=NOW - 25), WaitPolicy(), WaitState(), NOW, fresh=True, retry_window=20).next is FAILURE


def test_retries_are_not_asked_about_while_a_failure_ends_nothing() -> None:
    for policy in (WaitPolicy(on_failed="wait"), WaitPolicy(failed_grace=60)):
        wait_state = WaitState()
        assert judge(failed(), policy, wait_state, NOW, fresh=True).next is WAIT
        assert wait_state.retry_until is None


def test_a_task_that_runs_again_is_waited_for_anew() -> None:
    wait_state, policy = WaitState(), WaitPolicy()
    judge(failed(), policy, wait_state, NOW, fresh=True, retry_window=20)
    judge(status("RUNNING"), policy, wait_state, NOW + 10)
    assert wait_state.retry_until is None
    assert judge(failed(), policy, wait_state, NOW + 30, fresh=True, retry_window=20).next is WAIT


def test_the_grace_begins_when_the_node_failed() -> None:
    policy = WaitPolicy(failed_grace=60)
    assert judge(failed(at=NOW - 59), policy, WaitState(), NOW, fresh=True).next is WAIT
    assert judge(failed(pending=False, at=NOW - 61), policy, WaitState(), NOW, fresh=True).next is FAILURE
    # a clock of SOPS that goes ahead of ours does not make the grace longer than it is
    ahead = WaitState()
    assert judge(failed(at=NOW + 500), policy, ahead, NOW, fresh=True).next is WAIT
    assert ahead.failed == NOW


def test_the_grace_is_not_asked_about_before_it_is_over() -> None:
    policy, wait_state = WaitPolicy(failed_grace=60), WaitState()
    assert judge(failed(), policy, wait_state, NOW).next is ASK_STATUS
    assert judge(failed(pending=False), policy, wait_state, NOW, fresh=True).next is WAIT
    assert judge(failed(), policy, wait_state, NOW + 59).next is WAIT
    assert judge(failed(), policy, wait_state, NOW + 60).next is ASK_STATUS


def test_a_retried_task_gets_its_whole_grace_again() -> None:
    policy, wait_state = WaitPolicy(failed_grace=60), WaitState()
    judge(failed(), policy, wait_state, NOW)
    judge(status("RUNNING"), policy, wait_state, NOW + 30)
    assert (wait_state.failed, wait_state.asked) == (None, None)
    assert judge(failed(), policy, wait_state, NOW + 70).next is ASK_STATUS
    assert judge(failed(pending=False), policy, wait_state, NOW + 70, fresh=True).next is WAIT


def test_a_reason_ends_a_sentence() -> None:
    for one in (status("REVOKED"), status("ENDED"), replace(status("RUNNING"), is_deleted=True)):
        reason = judge(one, WaitPolicy(), WaitState(), NOW).reason
        assert reason.startswith(("has ", "was ", "is "))
        assert not reason.endswith(".")


def test_allowed_states() -> None:
    assert parse_allowed_states("REVOKED") == {TaskState.REVOKED}
    assert parse_allowed_states([TaskState.FINISHED, "EXPIRED"]) == {TaskState.FINISHED, TaskState.EXPIRED}
    for words in (["FAILED"], ["finished"], [], ["FINISHED", "ENDED"], [5]):
        with pytest.raises(SopsConfigError, match=r"^allowed_states: "):
            parse_allowed_states(words)  # type: ignore[arg-type]


def test_a_choice() -> None:
    check_choice("on_failed", "wait", ("fail", "wait"))
    with pytest.raises(SopsConfigError, match="on_failed: must be 'fail' or 'wait', not 'no'"):
        check_choice("on_failed", "no", ("fail", "wait"))
