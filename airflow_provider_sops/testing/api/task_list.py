# SPDX-License-Identifier: Apache-2.0
"""The tasks of a project, and how many they are.

Of query_task_count the answer by status is measured, the conditions are the public source's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow_provider_sops.testing.answers import shapes
from airflow_provider_sops.testing.answers.tasks import list_row
from airflow_provider_sops.testing.api.call import BIZ, Call, as_api
from airflow_provider_sops.testing.api.parameters import list_flag, page_of, query_flag, time_of, zone_of
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.refusals import PARAMETER, Answer, Refused, refusal

#: These may be given without what stands before them in the database.
_PIPELINE = re.compile(r"name|is_started|is_finished")

#: What SOPS' database could be asked for; the fake knows those of use to a client.
_CONDITIONS: Mapping[str, Callable[[Task, Any], bool]] = {
    "create_method": lambda task, value: task.create_method == value,
    "flow_type": lambda task, value: task.flow_type == value,
    "is_deleted": lambda task, value: task.deleted == value,
    "pipeline_instance__name": lambda task, value: task.name == value,
    "pipeline_instance__name__contains": lambda task, value: str(value) in task.name,
    "pipeline_instance__name__icontains": lambda task, value: str(value).lower() in task.name.lower(),
    "template_id": lambda task, value: str(task.template_id) == str(value),
    "pipeline_instance__is_started": lambda task, value: task.is_started == value,
    "pipeline_instance__is_finished": lambda task, value: (task.root_state == "FINISHED") == value,
}


@as_api("GET", BIZ, "project_view")
def get_task_list(call: Call) -> Answer:
    """Tasks of a project, the newest first; tasks of subprocesses too."""
    query = call.query
    zone = zone_of(call)
    offset, limit = page_of(call)
    started = list_flag(call, "is_started")
    finished = list_flag(call, "is_finished")
    since = time_of(call, "create_time_start", -math.inf)
    until = time_of(call, "create_time_end", math.inf)
    found = []
    for task in call.site.all_tasks():
        if task.deleted or task.project_id != call.project.id or query.get("keyword", "") not in task.name:
            continue
        if started is not None and task.is_started != started:
            continue
        if finished is not None and (task.root_state == "FINISHED" and not call.racing(task)) != finished:
            continue
        if query.get("create_method") and task.create_method != query["create_method"]:
            continue
        if query.get("template_id") and str(task.template_id) != query["template_id"]:
            continue
        if since <= task.create_time <= until:
            found.append(task)
    rows = [
        shapes.row_of(call.release, call.api.name, list_row(task, call.project, zone))
        for task in found[offset : offset + limit]
    ]
    if not call.release.has("get_task_list.count"):
        return {"result": True, "data": rows, "code": 0}
    count = -1 if query_flag(call, "without_count") else len(found)
    return {"result": True, "data": rows, "count": count, "code": 0}


@as_api("POST", BIZ, "project_view")
def query_task_count(call: Call) -> Answer:
    """How many tasks of a project there are, by status."""
    group_by, conditions = call.body.get("group_by"), call.body.get("conditions", {})
    if not isinstance(conditions, dict):
        return refusal(f"[API] query_task_list params conditions[{conditions}] are invalid dict data", PARAMETER)
    if group_by != "status":
        return refusal(f"[API] query_task_list params group_by[{group_by}] is invalid", PARAMETER)
    tasks = [task for task in call.site.all_tasks() if task.project_id == call.project.id]
    return {"result": True, "data": _count(tasks, conditions), "code": 0}


def _count(tasks: Iterable[Task], conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Give ``data`` of query_task_count by status. A revoked task counts as EXECUTING, as in SOPS.

    :param tasks: those of the project.
    :param conditions: filters of Django's ORM.
    :raises Refused: a condition is none that SOPS could filter by.
    """
    filters = {
        f"pipeline_instance__{name}" if _PIPELINE.match(name) else name: value
        for name, value in {"is_deleted": False, **conditions}.items()
        if value not in ("None", "")  # SOPS leaves them out
    }
    unknown = [name for name in filters if name not in _CONDITIONS]
    if unknown:
        error = f"Cannot resolve keyword '{unknown[0]}' into field."
        raise Refused(f"query taskflow params conditions[{filters}] have invalid key or value: {error}")
    found = [task for task in tasks if all(_CONDITIONS[name](task, value) for name, value in filters.items())]
    started = [task for task in found if task.is_started]
    finished = sum(task.root_state == "FINISHED" for task in started)
    groups = [
        {"code": "CREATED", "name": "未执行", "value": len(found) - len(started)},
        {"code": "EXECUTING", "name": "执行中", "value": len(started) - finished},
        {"code": "FINISHED", "name": "已完成", "value": finished},
    ]
    return {"total": len(found), "groups": groups}
