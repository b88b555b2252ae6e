# SPDX-License-Identifier: Apache-2.0
"""SOPS' answers as typed, frozen objects: one model out of both generations of servers.

Old servers write ``end_time``, ``business_id``, ``instance_name`` and times without an offset, which are UTC; current
ones write ``finish_time``, ``project_id``, ``name`` and times like ``2026-11-22 21:03:25 +0800``. An empty string,
``null`` and a missing field all mean "not yet" (measured on SOPS 3.34, and the documented sample of the old answer).
"""

from airflow_provider_sops.core.models.detail import CreatedTask, Output, TaskDetail
from airflow_provider_sops.core.models.node import NodeDetail
from airflow_provider_sops.core.models.status import NodeStatus, TaskStatus
from airflow_provider_sops.core.models.tasks import TaskListItem
from airflow_provider_sops.core.models.templates import Template, TemplateListItem

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
]
