# SPDX-License-Identifier: Apache-2.0
"""What differs between the supported Airflows and is not in common-compat: the one place of such branches."""

from __future__ import annotations

try:  # Airflow 3.1 and newer
    from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout
except ImportError:  # Airflow 2.11 and 3.0
    from airflow.exceptions import TaskDeferralError, TaskDeferralTimeout  # type: ignore[no-redef]

__all__ = ["TaskDeferralError", "TaskDeferralTimeout"]
