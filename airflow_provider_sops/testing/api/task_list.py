# SPDX-License-Identifier: Apache-2.0
"""The tasks of a project, and how many they are."""

from __future__ import annotations

from airflow_provider_sops.testing import answers
from airflow_provider_sops.testing.answers import shapes
from airflow_provider_sops.testing.api.call import BIZ, Call, as_api
from airflow_provider_sops.testing.api.flags import list_flag
from airflow_provider_sops.testing.api.parameters import page_of, time_of, zone_of
from airflow_provider_sops.testing.api.task_count import count_tasks
from airflow_provider_sops.testing.refusals import PARAMETER, UNKNOWN, Answer, refusal


@as_api("GET", BIZ, "project_view")
def get_task_list(call: Call) -> Answer:
    """Tasks of a project, the newest first; tasks of subprocesses too."""
    query = call.query
    zone = zone_of(call)
    offset, limit = page_of(call)
    started = list_flag(call.release, query, "is_started")
    finished = list_flag(call.release, query, "is_finished")
    since = time_of("create_time_start", query["create_time_start"]) if query.get("create_time_start") else None
    until = time_of("create_time_end", query["create_time_end"]) if query.get("create_time_end") else None
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
        if (since is not None and task.create_time < since) or (until is not None and task.create_time > until):
            continue
        found.append(task)
    rows = [
        shapes.list_row_of(call.release, answers.list_row(task, call.project, zone))
        for task in found[offset : offset + limit]
    ]
    if not call.release.has("get_task_list.count"):
        return {"result": True, "data": rows, "code": 0}
    count = -1 if call.get_bool("without_count") else len(found)
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
    try:
        return {"result": True, "data": count_tasks(tasks, conditions), "code": 0}
    except ValueError as error:
        return refusal(str(error), UNKNOWN)
