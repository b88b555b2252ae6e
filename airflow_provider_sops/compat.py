# SPDX-License-Identifier: Apache-2.0
"""What differs between the supported Airflows and is not in common-compat: the one place of such branches."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow import __version__
from airflow.providers.common.compat.sdk import AirflowException, conf, get_current_context

try:  # Airflow 3.2 and newer
    from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout
except ImportError:
    from airflow.exceptions import TaskDeferralError  # type: ignore[no-redef]

    try:  # Airflow 3.0 and 3.1
        from airflow.exceptions import TaskDeferralTimeout  # type: ignore[no-redef]
    except ImportError:
        TaskDeferralTimeout = None  # type: ignore[assignment, misc]

__all__ = [
    "KILLS_REACH_TRIGGERS",
    "NONE_IS_PUSHED",
    "TaskDeferralError",
    "base_url",
    "first_reschedule_date",
    "is_trigger_timeout",
    "link_key",
    "resumed_context",
    "state_in_airflow",
]

_airflow = tuple(int(part) for part in __version__.split(".")[:2])
#: Airflow 3.0 refuses to store an XCom that is ``None``; one that is not there is read as ``None``.
NONE_IS_PUSHED = _airflow != (3, 0)
#: Before Airflow 3.3, nothing runs when a user kills a deferred task.
KILLS_REACH_TRIGGERS = _airflow >= (3, 3)


def base_url() -> str:
    """Give the address of Airflow's web page, as far as it was set; two Airflows do not share one."""
    url: str | None = conf.get("api" if _airflow >= (3, 0) else "webserver", "base_url", fallback=None)
    return url or ""


def link_key(link: Any) -> str:
    """Give the XCom key under which Airflow 3 pushes an operator's link; Airflow 2 pushes none."""
    return str(getattr(link, "xcom_key", ""))


def resumed_context() -> Any:
    """Give the context of the task that runs here, if it is resumed after a deferral; else ``None``.

    When ``execution_timeout`` has passed while a task was deferred, Airflow 2 calls ``on_kill`` of a new operator, and
    never resumes it.
    """
    try:
        context = get_current_context()
    except Exception:  # no task runs; Airflow 2 and 3 say so in different ways
        return None
    return context if getattr(context["ti"], "next_method", None) else None


def is_trigger_timeout(error: AirflowException) -> bool:
    """Tell whether a task is resumed because its trigger did not fire in time: Airflow 2 says so by the text only."""
    if TaskDeferralTimeout is None:
        return str(error) == "Trigger/execution timeout"
    return isinstance(error, TaskDeferralTimeout)


def first_reschedule_date(context: Any, retries: int | None) -> datetime | None:
    """Tell when a rescheduled sensor was poked first, in this try or, as Airflow counts it, in its tries together.

    :return: ``None`` while it is poked for the first time.
    """
    ti = context["ti"]
    if hasattr(ti, "get_first_reschedule_date"):
        found: datetime | None = ti.get_first_reschedule_date(context)
        return found
    # Airflow 2, whose own sensor asks in the same way
    from airflow.sensors.base import _orig_start_date  # type: ignore[import-not-found, unused-ignore]

    return _orig_start_date(  # type: ignore[no-any-return, unused-ignore]
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=ti.map_index,
        try_number=(ti.max_tries or 0) - (retries or 0) + 1,
    )


def state_in_airflow(ti: Any) -> str | None:
    """Ask Airflow for the present state of a task instance; a running task that is being killed may have another one.

    :return: ``None`` also for a task that waits to be scheduled.
    """
    if hasattr(ti, "current_state"):  # Airflow 2
        state = ti.current_state()
        return None if state is None else str(state)
    ask = getattr(ti, "get_task_states", None)
    if ask is None:  # a triggerer knows the task instance by its ids alone
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ask = RuntimeTaskInstance.get_task_states
    mapped = ti.map_index is not None and ti.map_index >= 0
    states = ask(
        dag_id=ti.dag_id,
        task_ids=[ti.task_id],
        run_ids=[ti.run_id],
        map_index=ti.map_index if mapped else None,
    )
    state = states.get(ti.run_id, {}).get(f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id)
    return None if state is None else str(getattr(state, "value", state))
