# SPDX-License-Identifier: Apache-2.0
"""What differs between the supported Airflows and is not in common-compat: the one place of such branches."""

from __future__ import annotations

from typing import Any

from airflow import __version__
from airflow.providers.common.compat.sdk import AirflowException
from airflow.triggers.base import BaseTrigger

try:  # Airflow 3.2 and newer
    from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout
except ImportError:
    from airflow.exceptions import TaskDeferralError  # type: ignore[no-redef]

    try:  # Airflow 3.0 and 3.1
        from airflow.exceptions import TaskDeferralTimeout  # type: ignore[no-redef]
    except ImportError:
        TaskDeferralTimeout = None  # type: ignore[assignment, misc]

__all__ = [
    "CLEARING_A_RUNNING_TASK_RAISES_MAX_TRIES",
    "KILLS_REACH_TRIGGERS",
    "TaskDeferralError",
    "is_trigger_timeout",
    "state_in_airflow",
]

_airflow = tuple(int(part) for part in __version__.split(".")[:2])
#: Before Airflow 3.1, the next try after a user has cleared a running task cannot be told from a retry.
CLEARING_A_RUNNING_TASK_RAISES_MAX_TRIES = _airflow >= (3, 1)
#: Before Airflow 3.3, nothing runs when a user kills a deferred task.
KILLS_REACH_TRIGGERS = hasattr(BaseTrigger, "on_kill")


def is_trigger_timeout(error: AirflowException) -> bool:
    """Tell whether a task is resumed because its trigger did not fire in time: Airflow 2 says so by the text only."""
    if TaskDeferralTimeout is None:
        return str(error) == "Trigger/execution timeout"
    return isinstance(error, TaskDeferralTimeout)


def state_in_airflow(ti: Any) -> str | None:
    """Ask Airflow for the present state of a task instance; a running task that is being killed may have another one.

    :return: ``None`` also for a task that waits to be scheduled.
    """
    if not hasattr(ti, "get_task_states"):  # Airflow 2
        state = ti.current_state()
        return None if state is None else str(state)
    mapped = ti.map_index is not None and ti.map_index >= 0
    states = ti.get_task_states(
        dag_id=ti.dag_id,
        task_ids=[ti.task_id],
        run_ids=[ti.run_id],
        map_index=ti.map_index if mapped else None,
    )
    state = states.get(ti.run_id, {}).get(f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id)
    return None if state is None else str(getattr(state, "value", state))
