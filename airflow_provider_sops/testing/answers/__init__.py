# SPDX-License-Identifier: Apache-2.0
"""From the engine's state to what SOPS says on the wire (shapes measured on SOPS 3.34).

The views of the API take all from here, and name it: ``answers.task_detail(…)``.
"""

from airflow_provider_sops.testing.answers.node_log import node_log
from airflow_provider_sops.testing.answers.nodes import auto_retry_info, node_data, node_detail
from airflow_provider_sops.testing.answers.projects import Project
from airflow_provider_sops.testing.answers.status import (
    created_status,
    failed_nodes,
    past_status,
    subprocess_status,
    task_status,
)
from airflow_provider_sops.testing.answers.tasks import list_row, operate_record, status_row, task_detail
from airflow_provider_sops.testing.answers.templates import template_constants, template_row, template_tree
from airflow_provider_sops.testing.answers.times import SERVER_ZONE, elapsed, local_time
from airflow_provider_sops.testing.answers.tree import pipeline_tree

__all__ = [
    "SERVER_ZONE",
    "Project",
    "auto_retry_info",
    "created_status",
    "elapsed",
    "failed_nodes",
    "list_row",
    "local_time",
    "node_data",
    "node_detail",
    "node_log",
    "operate_record",
    "past_status",
    "pipeline_tree",
    "status_row",
    "subprocess_status",
    "task_detail",
    "task_status",
    "template_constants",
    "template_row",
    "template_tree",
]
