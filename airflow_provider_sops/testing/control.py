# SPDX-License-Identifier: Apache-2.0
"""The control plane of the fake: what the Python object can do, for other processes, as JSON under ``/fake/``.

A call is ``POST /fake/<name>`` with ``{"args": […], "options": {…}}``; the answer is ``{"value": …}`` or
``{"error": …}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from inspect import isfunction
from typing import Any

from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.refusals import Refused
from airflow_provider_sops.testing.simulated import SimulatedSops


def _task_as_dict(task: Task) -> dict[str, Any]:
    """A task of the fake as JSON."""
    return {
        "id": task.id,
        "name": task.name,
        "state": task.state,
        "project_id": task.project_id,
        "template_id": task.template_id,
        "flow_type": task.flow_type,
        "creator": task.creator,
        "create_time": task.create_time,
        "start_time": task.start_time,
        "finish_time": task.finish_time,
        "starts": task.starts,
        "operations": task.operations,
        "outputs": task.outputs,
        "constants": task.constants,
        "deleted": task.deleted,
        "is_child": task.is_child,
        "nodes": [
            {
                "id": node.id,
                "name": node.name,
                "plugin": node.plugin,
                "state": node.state,
                "retry": node.retry,
                "runs": node.runs,
                "start": node.start,
                "finish": node.finish,
            }
            for node in task.nodes.values()
        ],
    }


def _status(fake: SimulatedSops) -> dict[str, Any]:
    return {
        "release": fake.site.release.name,
        "url": fake.url,
        "apigw_url": fake.apigw_url,
        "esb_url": fake.esb_url,
        "direct_url": fake.direct_url,
        "app_code": fake.app_code,
        "username": fake.username,
        "bk_biz_id": fake.bk_biz_id,
        "project_id": fake.project_id,
        "now": fake.clock.now(),
        "connections": fake.connections,
    }


def _add_fault(fake: SimulatedSops, api: str | None = None, **options: Any) -> None:
    if options.get("kind") == "function":
        raise ValueError("a function cannot come over HTTP")
    fake.faults.add(api, **options)


def _set_start_delay(fake: SimulatedSops, seconds: float | None) -> None:
    fake.start_delay = seconds


#: By name: the public methods of the object, and what it does otherwise.
_CALLS: dict[str, Callable[..., Any]] = {
    **{name: method for name, method in vars(SimulatedSops).items() if isfunction(method) and name[0] != "_"},
    "add_fault": _add_fault,
    "clear_faults": lambda fake: fake.faults.clear(),
    "create_tasks": lambda fake, count, *args, **options: [fake.create_task(*args, **options) for _ in range(count)],
    "requests": lambda fake: [request.as_dict() for request in fake.requests],
    "set_start_delay": _set_start_delay,
    "status": _status,
    "task": lambda fake, task_id: _task_as_dict(fake.task(task_id)),
    "tasks": lambda fake: [_task_as_dict(task) for task in fake.tasks],
}


def handle(fake: SimulatedSops, method: str, path: str, raw: bytes) -> tuple[int, dict[str, Any]]:
    """Answer a request of the control plane.

    :return: HTTP status and JSON body.
    """
    name = path.removeprefix("/fake/")
    if method != "POST" or name not in _CALLS:
        return 404, {"error": f"no {method} /fake/{name}"}
    try:
        body = json.loads(raw)
        with fake.site.lock:
            return 200, {"value": _CALLS[name](fake, *body["args"], **body["options"])}
    except (KeyError, TypeError, ValueError, Refused) as error:
        return 400, {"error": f"{type(error).__name__}: {error}"}
