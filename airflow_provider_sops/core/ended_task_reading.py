# SPDX-License-Identifier: Apache-2.0
"""Reading what is told of a SOPS task that has ended, by whoever has noticed it; without I/O."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.ended_task import make_ended_task, omit_outputs
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.task_outputs import OutputsUnavailable, read_detail, read_outputs


def read_ended_task(project: Project, status: TaskStatus, *, with_outputs: bool = True) -> Flow[dict[str, Any]]:
    """Read a task that has ended, or failed, past SOPS' caches.

    :param status: that of its end.
    :param with_outputs: read the outputs of one that has finished.
    :return: see :func:`~airflow_provider_sops.core.ended_task.make_ended_task`.
    :raises SopsError: when SOPS gives no good answer.
    """
    values: dict[str, Any] = {}
    omitted = "" if with_outputs else "they were not asked for"
    detail = None
    if status.state is TaskState.FINISHED and with_outputs:
        try:
            outputs = yield from read_outputs(status.task_id, project)
        except OutputsUnavailable as problem:  # deleted meanwhile, or SOPS gives no end time
            omitted = str(problem)
        else:
            values, detail = dict(outputs.values), outputs.detail
    if detail is None:
        detail = yield from read_detail(status.task_id, project)
    ended = make_ended_task(detail, status.state, values, failed_at=status.failed_at)
    return omit_outputs(ended, omitted) if omitted else ended
