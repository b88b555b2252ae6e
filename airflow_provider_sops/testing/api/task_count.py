# SPDX-License-Identifier: Apache-2.0
"""query_task_count: how many tasks there are. The answer by status is measured, conditions are the public source's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow_provider_sops.testing.engine.task import Task

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


def count_tasks(tasks: Iterable[Task], conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Give ``data`` of query_task_count by status. A revoked task counts as EXECUTING, as in SOPS.

    :param tasks: those of the project.
    :param conditions: filters of Django's ORM.
    :raises ValueError: a condition is none that SOPS could filter by; the message is SOPS'.
    """
    filters = {
        f"pipeline_instance__{name}" if _PIPELINE.match(name) else name: value
        for name, value in {"is_deleted": False, **conditions}.items()
        if value not in ("None", "")  # SOPS leaves them out
    }
    unknown = [name for name in filters if name not in _CONDITIONS]
    if unknown:
        error = f"Cannot resolve keyword '{unknown[0]}' into field."
        raise ValueError(f"query taskflow params conditions[{filters}] have invalid key or value: {error}")
    found = [task for task in tasks if all(_CONDITIONS[name](task, value) for name, value in filters.items())]
    started = [task for task in found if task.is_started]
    finished = sum(task.root_state == "FINISHED" for task in started)
    groups = [
        {"code": "CREATED", "name": "未执行", "value": len(found) - len(started)},
        {"code": "EXECUTING", "name": "执行中", "value": len(started) - finished},
        {"code": "FINISHED", "name": "已完成", "value": finished},
    ]
    return {"total": len(found), "groups": groups}
