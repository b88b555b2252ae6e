# SPDX-License-Identifier: Apache-2.0
"""What differs between the supported Airflows and is not in common-compat: the one place of such branches."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowException

try:  # Airflow 3.2 and newer
    from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout
except ImportError:
    from airflow.exceptions import TaskDeferralError  # type: ignore[no-redef]

    try:  # Airflow 3.0 and 3.1
        from airflow.exceptions import TaskDeferralTimeout  # type: ignore[no-redef]
    except ImportError:
        TaskDeferralTimeout = None  # type: ignore[assignment, misc]

__all__ = ["TaskDeferralError", "is_trigger_timeout"]


def is_trigger_timeout(error: AirflowException) -> bool:
    """Tell whether a task is resumed because its trigger did not fire in time: Airflow 2 says so by the text only."""
    if TaskDeferralTimeout is None:
        return str(error) == "Trigger/execution timeout"
    return isinstance(error, TaskDeferralTimeout)
