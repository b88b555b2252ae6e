# SPDX-License-Identifier: Apache-2.0
"""What SOPS says of a task as a whole, beside its status."""

from __future__ import annotations

import copy
from datetime import tzinfo
from typing import Any

from airflow_provider_sops.testing.answers.projects import Project, project_fields
from airflow_provider_sops.testing.answers.times import elapsed, iso_time, local_time
from airflow_provider_sops.testing.answers.tree import pipeline_tree
from airflow_provider_sops.testing.engine.task import Record, Task

_ACTIONS = ["task_view", "task_edit", "task_operate", "task_claim", "task_delete", "task_clone"]
#: What SOPS calls operations in the records of them.
_OPERATION_NAMES = {
    "pause": "暂停",
    "resume": "继续",
    "revoke": "撤消",
    "callback": "回调",
    "retry": "重试",
    "skip": "跳过",
    "skip_exg": "跳过失败网关",
    "forced_fail": "强制失败",
    "pause_subproc": "暂停节点",
    "resume_subproc": "继续节点",
}


def task_detail(task: Task, project: Project, url: str, now: float, *, racing: bool = False) -> dict[str, Any]:
    """``data`` of get_task_detail.

    :param racing: the end has not been written yet: outputs are there, the end time is not.
    """
    tree = pipeline_tree(task)
    return {
        "id": task.id,
        "project_id": project.id,
        "project_name": project.name,
        "name": task.name,
        "create_time": local_time(task.create_time),
        "creator": task.creator,
        "create_method": task.create_method,
        "template_id": "" if task.template_id is None else task.template_id,
        "start_time": local_time(task.start_time),
        "finish_time": local_time(None if racing else task.finish_time),
        "executor": task.executor,
        "elapsed_time": elapsed(task.start_time, task.finish_time, now),
        "pipeline_tree": tree,
        "task_url": url,
        "constants": copy.deepcopy(tree["constants"]),
        "outputs": [] if task.expired else task.outputs,
        "ex_data": "",
    }


def list_row(task: Task, project: Project, zone: tzinfo | None) -> dict[str, Any]:
    """One row of get_task_list."""
    return {
        "id": task.id,
        "name": task.name,
        "category": "默认分类",
        "create_method": task.create_method,
        "creator": task.creator,
        "executor": task.executor,
        "start_time": iso_time(task.start_time, zone),
        "finish_time": iso_time(task.finish_time, zone),
        "is_started": task.is_started,
        "is_finished": task.root_state == "FINISHED" and task.finish_time is not None,
        "template_source": task.template_source,
        "template_id": "" if task.template_id is None else str(task.template_id),
        "is_child_taskflow": task.is_child,
        **project_fields(project),
        "auth_actions": _ACTIONS,
    }


def status_row(task: Task, status: dict[str, Any], url: str, *, ended: bool) -> dict[str, Any]:
    """One row of get_tasks_status.

    :param ended: whether the end of the task has been written.
    """
    return {
        "id": task.id,
        "name": task.name,
        "status": status,
        "flow_type": task.flow_type,
        "current_flow": task.current_flow if ended or task.current_flow != "finished" else "execute_task",
        "is_deleted": task.deleted,
        "create_time": local_time(task.create_time),
        "start_time": local_time(task.start_time),
        "finish_time": local_time(task.finish_time if ended else None),
        "url": url,
    }


def operate_record(task: Task, record: Record) -> dict[str, Any]:
    """One row of get_task_operate_record."""
    return {
        "project_id": task.project_id,
        "instance_id": task.id,
        "operator": record.operator,
        "operate_type": record.action,
        "operate_date": local_time(record.at),
        "operate_source": "app",
        "node_id": record.node_id,
        "extra_info": {},
        "operate_type_name": _OPERATION_NAMES.get(record.action, record.action),
        "operate_source_name": "app 页面",
    }
