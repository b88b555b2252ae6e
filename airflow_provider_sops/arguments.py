# SPDX-License-Identifier: Apache-2.0
"""Arguments that the sensor and the operators share, checked when a DAG file is read.

All that reading a DAG file needs, and no more: what runs a task is imported when one runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from airflow_provider_sops.sops.policy import WaitPolicy, check_choice, parse_allowed_states

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


def policy_fields(policy: WaitPolicy) -> dict[str, Any]:
    """Give a policy as a trigger's plain arguments."""
    return {
        "allowed_states": sorted(state.value for state in policy.allowed_states),
        "on_failed": policy.on_failed,
        "failed_grace": policy.failed_grace,
        "on_suspended": policy.on_suspended,
        "max_outage": policy.max_outage,
        "assume_finished": policy.assume_finished,
    }
