# SPDX-License-Identifier: Apache-2.0
"""*An ended task*: the one shape in which a SOPS task that has ended stands in an asset event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_sops.core.models import TaskDetail
    from airflow_provider_sops.core.states import TaskState

#: The version of the shape; a later one may add keys.
VERSION = 1
#: Most bytes of one, as the JSON that Airflow's database holds.
MAX_BYTES = 64 * 1024


def make_ended_task(
    detail: TaskDetail, state: TaskState, outputs: Mapping[str, Any], *, failed_at: datetime | None = None
) -> dict[str, Any]:
    """Describe a SOPS task that has ended, or failed.

    :param detail: read after the end.
    :param outputs: values by bare name; those of password variables are left out.
    :param failed_at: when the last failed node of a failed task failed.
    :return: ``{version, sops_task_id, task_name, template_id, state, start_time, end_time, task_url, outputs}``; times
        in ISO 8601 with offset or ``None``. The ``end_time`` of a failed task is ``failed_at``.
    """
    end_time = detail.finish_time or failed_at
    return {
        "version": VERSION,
        "sops_task_id": detail.task_id,
        "task_name": detail.name,
        "template_id": detail.template_id,
        "state": state.value,
        "start_time": detail.start_time.isoformat() if detail.start_time else None,
        "end_time": end_time.isoformat() if end_time else None,
        "task_url": detail.task_url,
        "outputs": {name: value for name, value in outputs.items() if name not in detail.password_names},
    }


def omit_outputs(ended: Mapping[str, Any], why: str) -> dict[str, Any]:
    """Leave the outputs out, and say why: ``outputs`` is ``None`` then, and ``outputs_omitted`` the reason."""
    return {**ended, "outputs": None, "outputs_omitted": why}


def identity_of(ended: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return what is the same of two reports of one end, and different of two ends of one task that failed before."""
    return ended.get("sops_task_id"), ended.get("state"), ended.get("end_time")


def json_bytes(value: Any) -> int:
    """Return how many bytes a value takes as JSON."""
    return len(json.dumps(value))
