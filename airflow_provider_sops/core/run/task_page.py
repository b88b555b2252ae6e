# SPDX-License-Identifier: Apache-2.0
"""Reading a task's detail for what a message can add, without failing where it cannot be read."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.models import TaskDetail, readers


def read_detail(project: Project, task_id: int) -> Flow[TaskDetail | None]:
    """Read a task's detail; ``None`` where SOPS does not give it."""
    try:
        answer = yield project.call("get_task_detail", task_id=task_id)
        return readers.task_detail(answer)
    except errors.SopsError:
        return None


def page_sentence(project: Project, task_id: int) -> Flow[str]:
    """Return the end of a message that names the task's page; empty where that is not known."""
    detail = yield from read_detail(project, task_id)
    return f" Task page: {detail.task_url}" if detail and detail.task_url else ""
