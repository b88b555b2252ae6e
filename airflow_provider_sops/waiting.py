# SPDX-License-Identifier: Apache-2.0
"""What the sensor and the operators share of waiting for a SOPS task: arguments, log lines, results and failures."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.exceptions import (
    SopsException,
    SopsOutageException,
    SopsTaskFailedException,
    SopsTaskStoppedException,
    as_airflow,
)
from airflow_provider_sops.sops.explain import explain
from airflow_provider_sops.sops.models import TaskState, TaskStatus
from airflow_provider_sops.sops.verdict import WaitPolicy, check_choice, parse_allowed_states

if TYPE_CHECKING:
    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.sops.watch import Line, Look, Place

Duration = float | timedelta


def as_seconds(field: str, duration: Duration) -> float:
    """Read a duration.

    :param field: the argument's name, for the error.
    :param duration: seconds or a ``timedelta``.
    :raises ValueError: when it is neither, or negative.
    """
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        raise ValueError(f"{field}: must be seconds or a timedelta, not negative, not {duration!r}")
    return float(seconds)


def make_policy(
    *,
    allowed_states: Iterable[str],
    on_failed: str,
    failed_grace: Duration | None,
    on_suspended: str,
    max_outage: Duration,
    assume_finished: bool = False,
) -> WaitPolicy:
    """Check a task's arguments when the DAG is read.

    :raises ValueError: names the argument that is wrong.
    """
    check_choice("on_failed", on_failed, ("fail", "wait"))
    check_choice("on_suspended", on_suspended, ("wait", "fail"))
    return WaitPolicy(
        allowed_states=parse_allowed_states(allowed_states),
        on_failed="wait" if on_failed == "wait" else "fail",
        failed_grace=None if failed_grace is None else as_seconds("failed_grace", failed_grace),
        on_suspended="fail" if on_suspended == "fail" else "wait",
        max_outage=as_seconds("max_outage", max_outage),
        assume_finished=assume_finished,
    )


def log_lines(log: Any, lines: Iterable[Line]) -> None:
    """Write a look's lines into the task's log."""
    for line in lines:
        (log.warning if line.warning else log.info)("%s", line.text)


def result_of(status: TaskStatus) -> dict[str, Any]:
    """Give what a wait returns: ids, state and times (ISO 8601 with offset, ``None`` where SOPS has none)."""
    return {
        "sops_task_id": status.task_id,
        "state": status.state.value,
        "start_time": status.start_time.isoformat() if status.start_time else None,
        "end_time": status.finish_time.isoformat() if status.finish_time else None,
        "elapsed_time": status.elapsed_time,
        "task_url": status.task_url,
        "task_name": status.name,
    }


def read_error(look: Look) -> SopsException:
    """Make the exception of a wait that ends because the status cannot be read."""
    assert look.error is not None
    if not look.outage:
        return as_airflow(look.error)
    outage = SopsOutageException(f"{look.reason[:1].upper()}{look.reason[1:]}")
    outage.__dict__.update(look.error.__dict__)
    outage.__cause__ = as_airflow(look.error)
    return outage


def bad_end(hook: SopsHook, place: Place, status: TaskStatus, reason: str) -> SopsTaskFailedException:
    """Make the exception of a task that failed or ended badly; for a failed one it is asked why.

    :param reason: what the verdict said, as the end of a sentence.
    """
    message = f"SOPS task {status.task_id} {status.name!r} {reason}."
    if status.state is TaskState.FAILED:
        why = hook.run(explain(status.task_id, place, status))
        message = f"{message}\n{why}\nRetry or skip the failed node on the task's page, or repair and run it anew."
    elif status.task_url:
        message = f"{message} Task page: {status.task_url}"
    stopped = status.is_deleted or status.state in (TaskState.REVOKED, TaskState.EXPIRED)
    error = (SopsTaskStoppedException if stopped else SopsTaskFailedException)(message)
    error.sops_task_id, error.state = status.task_id, status.state.value
    return error
