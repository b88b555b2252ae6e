# SPDX-License-Identifier: Apache-2.0
"""What a wait returns."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.core.models import TaskStatus


def result_of(status: TaskStatus) -> dict[str, Any]:
    """Return what a wait returns: ids, state and times (ISO 8601 with offset, ``None`` where SOPS has none)."""
    return {
        "sops_task_id": status.task_id,
        "state": status.state.value,
        "start_time": status.start_time.isoformat() if status.start_time else None,
        "end_time": status.finish_time.isoformat() if status.finish_time else None,
        "elapsed_time": status.elapsed_time,
        "task_url": status.task_url,
        "task_name": status.name,
    }
