# SPDX-License-Identifier: Apache-2.0
"""What a wait returns, in a worker and in the triggerer alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import TaskState


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


def with_outputs(result: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a wait that pushes outputs returns.

    :param outputs: values by bare name.
    """
    return {**result, "outputs": dict(outputs)}


def has_outputs(status: TaskStatus, *, assume_finished: bool) -> bool:
    """Return whether an end that counts as success comes with outputs; ends other than a finish have none."""
    return status.state is TaskState.FINISHED or (status.state is TaskState.ENDED and assume_finished)
