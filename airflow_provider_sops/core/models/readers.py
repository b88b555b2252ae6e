# SPDX-License-Identifier: Apache-2.0
"""What reads SOPS' answers into the models: each API's answer is read by the function of its name."""

from airflow_provider_sops.core.models.detail import created_task, status_from_detail, task_detail
from airflow_provider_sops.core.models.fields import parse_state, parse_time
from airflow_provider_sops.core.models.node import node_detail
from airflow_provider_sops.core.models.status import (
    failed_leaves,
    interventions,
    is_paused_item,
    status_of_item,
    status_signature,
    task_status,
    tasks_status,
    tasks_status_items,
)
from airflow_provider_sops.core.models.tasks import task_list
from airflow_provider_sops.core.models.templates import template, template_list

__all__ = [
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
