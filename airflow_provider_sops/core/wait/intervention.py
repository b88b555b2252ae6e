# SPDX-License-Identifier: Apache-2.0
"""Asking whether a task waits for a person to confirm: at a pause node it looks like one that plainly runs."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.api.sops_releases import SINCE
from airflow_provider_sops.core.call_flow import Flow, LogLine
from airflow_provider_sops.core.models import readers
from airflow_provider_sops.core.status_reading import is_lacking


@dataclass(frozen=True, slots=True)
class Intervention:
    """What there is to log about it."""

    lines: tuple[LogLine, ...] = ()
    #: nobody answers this question here, so it need not be asked again
    is_lacking: bool = False


def read_intervention(project: Project, task_id: int, task_url: str) -> Flow[Intervention]:
    """Ask whether a task waits for a person; errors end nothing, as only the log is concerned."""
    try:
        answer = yield project.call("get_tasks_manual_intervention_state", task_id_list=[task_id])
        waits = readers.interventions(answer).get(task_id, False)
    except errors.SopsError as error:
        lacking = is_lacking(error)
        if not lacking or isinstance(error, errors.SopsApiPermissionError):
            return Intervention(is_lacking=lacking)
        since = SINCE["get_tasks_manual_intervention_state"]
        text = f"Whether it waits for a person to confirm cannot be told (SOPS can since {since}). {error}"
        return Intervention((LogLine(text),), is_lacking=True)
    if not waits:
        return Intervention()
    return Intervention((LogLine(f"SOPS task {task_id} waits for a person to confirm. {task_url}".rstrip()),))
