# SPDX-License-Identifier: Apache-2.0
"""The one judgement of a task's status, the same for poke, reschedule, deferred and resumed waits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import FINAL_STATES, TaskState
from airflow_provider_sops.core.wait.policy import WaitPolicy

#: Seconds for which a task may be FINISHED without an end time, before a fresh detail decides.
END_TIME_PATIENCE = 120.0
#: Seconds between two questions whether SOPS will still retry a failed node by itself.
AUTO_RETRY_RECHECK = 30.0


class Next(StrEnum):
    """What follows from a status."""

    WAIT = "wait"
    #: the end that was waited for
    SUCCESS = "success"
    #: a bad end, or a state that the policy does not wait in
    FAILURE = "failure"
    #: read the status once more, fresh and with the reasons, before deciding
    ASK_STATUS = "ask_status"
    #: read a fresh detail before deciding
    ASK_DETAIL = "ask_detail"
    #: SOPS does not say whether it will retry by itself: find out from the task's tree for how long it may
    ASK_TREE = "ask_tree"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a status, and why in words that end a sentence like "SOPS task 10 …"."""

    next: Next
    reason: str = ""


@dataclass(slots=True)
class WaitState:
    """What a wait remembers between two readings; all times are seconds since the epoch, by our own clock."""

    #: first seen FINISHED without an end time
    finished: float | None = None
    #: failed, as far as is known
    failed: float | None = None
    #: when it failed in SOPS' own words, from which that was reckoned
    failed_at: object = None
    #: last asked whether an automatic retry is pending
    asked: float | None = None
    #: the answer to that
    auto_retry_pending: bool = False
    #: up to when it may be, where SOPS does not say it
    retry_until: float | None = None


def judge(
    status: TaskStatus,
    policy: WaitPolicy,
    wait_state: WaitState,
    now: float,
    *,
    fresh: bool = False,
    retry_window: float | None = None,
) -> Verdict:
    """Return what follows from a task's status. No I/O; ``wait_state`` is updated.

    :param fresh: the status was read past SOPS' caches, with reasons and automatic retries: a FAILED or SUSPENDED one
        may be decided on. Without it the answer to those is :attr:`Next.ASK_STATUS`.
    :param retry_window: seconds after a failure in which SOPS may retry by itself, for a fresh status that does not say
        whether it will. Without it the answer to such a one is :attr:`Next.ASK_TREE`.
    :param now: seconds since the epoch.
    """
    state = status.state
    if state is not TaskState.FAILED:
        wait_state.failed = wait_state.failed_at = wait_state.asked = wait_state.retry_until = None
    if state is not TaskState.FINISHED:
        wait_state.finished = None
    if status.is_deleted:
        return Verdict(Next.FAILURE, "was deleted in SOPS")
    if state is TaskState.FINISHED and status.finish_time is None:
        return _finished_without_end(policy, wait_state, now)
    if state in FINAL_STATES:
        if state in policy.allowed_states:
            return Verdict(Next.SUCCESS, f"is {state}")
        return Verdict(Next.FAILURE, f"has ended as {state}, which is not one of the allowed states")
    if state is TaskState.ENDED:
        return _ended_with_unknown_state(policy)
    if state is TaskState.FAILED:
        verdict = _failed(status, policy, wait_state, now, fresh, retry_window)
        if verdict.next is not Next.WAIT:
            return verdict
    if status.is_paused and policy.on_suspended == "fail":
        if not fresh:
            return Verdict(Next.ASK_STATUS)
        return Verdict(Next.FAILURE, f"is {status.raw_state or state}: somebody paused it, and on_suspended is 'fail'")
    return Verdict(Next.WAIT)


def _finished_without_end(policy: WaitPolicy, wait_state: WaitState, now: float) -> Verdict:
    # the state comes a moment before the end time and the outputs, see the race at the end of a task
    if wait_state.finished is None:
        wait_state.finished = now
    return Verdict(Next.WAIT if now - wait_state.finished < END_TIME_PATIENCE else Next.ASK_DETAIL)


def _ended_with_unknown_state(policy: WaitPolicy) -> Verdict:
    if policy.allowed_states == FINAL_STATES or (
        policy.assume_finished and TaskState.FINISHED in policy.allowed_states
    ):
        return Verdict(Next.SUCCESS, "has ended")
    return Verdict(
        Next.FAILURE,
        "has ended without outputs, and its state is unknown: it may have finished or been revoked. "
        "Grant the app the API get_task_status, or set assume_finished=True if such tasks are never revoked",
    )


def _failed(
    status: TaskStatus, policy: WaitPolicy, wait_state: WaitState, now: float, fresh: bool, retry_window: float | None
) -> Verdict:
    if wait_state.failed is None:
        wait_state.failed = now
    if status.failed_at is not None and status.failed_at != wait_state.failed_at:
        # a wait that is looked at by ever new processes knows it from here alone
        wait_state.failed_at = status.failed_at
        wait_state.failed = min(now, status.since(status.failed_at, now) + 1.0)  # SOPS cuts its times to whole seconds
    grace = policy.grace
    due = grace is not None and now - wait_state.failed >= grace
    if fresh:
        pending, wait_state.retry_until = status.auto_retry_pending, None
        if pending is None and due:  # what is not said is not a no
            if retry_window is None:
                return Verdict(Next.ASK_TREE)
            wait_state.retry_until = wait_state.failed + retry_window
            pending = now < wait_state.retry_until
        wait_state.asked, wait_state.auto_retry_pending = now, bool(pending)
        if due and not wait_state.auto_retry_pending:
            return Verdict(
                Next.FAILURE, "has FAILED" + (", and somebody has paused it then" if status.is_paused else "")
            )
        return Verdict(Next.WAIT)
    if wait_state.asked is None:
        return Verdict(Next.ASK_STATUS)
    if wait_state.auto_retry_pending:
        return Verdict(Next.ASK_STATUS if now - wait_state.asked >= AUTO_RETRY_RECHECK else Next.WAIT)
    return Verdict(Next.ASK_STATUS if due else Next.WAIT)
