# SPDX-License-Identifier: Apache-2.0
"""Confirming a pause node: at most once, and seen to have taken effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import nocache
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.approval.pause_node import Place, place_of
from airflow_provider_sops.core.call_flow import Flow, LogLine, Sleep
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.operate.lost_answers import SEND_PAUSE
from airflow_provider_sops.core.operate.operate_node import EFFECT_PATIENCE, operate_node
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions, read_status
from airflow_provider_sops.core.text import text_of


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What came of confirming a node."""

    #: it was this confirmation after which the task goes on; else it had gone on before
    done: bool
    status: TaskStatus
    lines: tuple[LogLine, ...] = ()


def confirm(
    project: Project,
    task_id: int,
    node_id: str,
    data: Mapping[str, Any],
    *,
    may_have_been_sent: bool,
) -> Flow[Confirmation]:
    """Confirm a pause node with one call, unless it is over, or its task has ended.

    :param data: what the callback hands over.
    :param may_have_been_sent: an earlier try may have sent it, so that something may yet come of that.
    :raises RunAborted: SOPS says yes, but nothing comes of it.
    :raises errors.SopsInvalidOperationError: the node's state does not allow it.
    :raises errors.SopsError: SOPS refuses, or gives no good answer.
    """
    permissions = ApiPermissions()
    waited = 0.0
    while True:
        status = yield from read_status(project, task_id, permissions, [], fresh=True)
        if status.has_ended or place_of(status, node_id) is Place.PASSED:
            return Confirmation(may_have_been_sent and not _stopped(status), status)
        if not may_have_been_sent or waited >= EFFECT_PATIENCE:
            break
        yield Sleep(SEND_PAUSE)
        waited += SEND_PAUSE
    try:
        lines = yield from operate_node(
            project, task_id, node_id, "callback", params={"data": dict(data)}, patience=EFFECT_PATIENCE
        )
    except errors.SopsApiError:
        # somebody may have been quicker, between the reading and the call
        status = yield from read_status(project, task_id, permissions, [], fresh=True)
        if not (status.has_ended or place_of(status, node_id) is Place.PASSED):
            raise
        return Confirmation(False, status)
    return Confirmation(True, status, tuple(lines))


def _stopped(status: TaskStatus) -> bool:
    return status.has_ended and (status.is_deleted is True or status.state is not TaskState.FINISHED)


def read_operator(project: Project, task_id: int, node_id: str) -> Flow[str]:
    """Read who has confirmed a node in SOPS, where SOPS tells it; empty where it does not, whatever the reason.

    ``get_task_operate_record`` gives what was done on SOPS' page: a list of objects with ``operator``,
    ``operate_type`` (``callback``), ``operate_source`` (``app``), ``operate_date`` and ``node_id``, which may be
    asked for. Source: SOPS' public code (``contrib/operate_record``); of what is done through the API it holds nothing
    (measured on SOPS 3.34).
    """
    try:
        answer = yield project.call("get_task_operate_record", task_id=task_id, node_id=node_id, **nocache())
        rows = answer.data if isinstance(answer.data, list) else []
        found = [
            (text_of(row.get("operate_date")), text_of(row.get("operator")))
            for row in rows
            if isinstance(row, dict) and row.get("node_id") == node_id and row.get("operate_type") in _CONFIRMS
        ]
    except errors.SopsError:
        return ""
    return max(found)[1] if found else ""


#: What is written down of one who confirms a node, or skips it.
_CONFIRMS = ("callback", "skip")
