# SPDX-License-Identifier: Apache-2.0
"""SOPS' answers as typed, frozen objects: one model out of both generations of servers.

Old servers write ``end_time``, ``business_id``, ``instance_name`` and times without an offset, which are UTC; current
ones write ``finish_time``, ``project_id``, ``name`` and times like ``2026-11-22 21:03:25 +0800``. An empty string,
``null`` and a missing field all mean "not yet" (measured on SOPS 3.34, and the documented sample of the old answer).

Each API's answer is read by the function of its name: ``models.task_status(answer)`` reads one of ``get_task_status``.
"""

from airflow_provider_sops.core.models.detail import (
    CreatedTask,
    Output,
    TaskDetail,
    created_task,
    status_from_detail,
    task_detail,
)
from airflow_provider_sops.core.models.fields import parse_state, parse_time
from airflow_provider_sops.core.models.node import NodeDetail, node_detail
from airflow_provider_sops.core.models.status import (
    NodeStatus,
    TaskStatus,
    failed_leaves,
    interventions,
    is_paused_item,
    status_of_item,
    status_signature,
    task_status,
    tasks_status,
    tasks_status_items,
)
from airflow_provider_sops.core.models.tasks import TaskListItem, task_list
from airflow_provider_sops.core.models.templates import Template, TemplateListItem, template, template_list

__all__ = [
    "CreatedTask",
    "NodeDetail",
    "NodeStatus",
    "Output",
    "TaskDetail",
    "TaskListItem",
    "TaskStatus",
    "Template",
    "TemplateListItem",
    "created_task",
    "failed_leaves",
    "interventions",
    "is_paused_item",
    "node_detail",
    "parse_state",
    "parse_time",
    "status_from_detail",
    "status_of_item",
    "status_signature",
    "task_detail",
    "task_list",
    "task_status",
    "tasks_status",
    "tasks_status_items",
    "template",
    "template_list",
]
