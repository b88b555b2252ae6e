# SPDX-License-Identifier: Apache-2.0
"""The control plane of the fake: what the Python object can do, for other processes, as JSON under ``/fake/``.

A call is ``POST /fake/<name>`` with the arguments as a JSON object; the answer is ``{"value": …}`` or
``{"error": …}``. Looking is ``GET /fake/<name>``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.refusals import Refused
from airflow_provider_sops.testing.simulated import SimulatedSops


def task_as_dict(task: Task) -> dict[str, Any]:
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


def _status(fake: SimulatedSops, args: dict[str, Any]) -> Any:
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
    }


def _requests(fake: SimulatedSops, args: dict[str, Any]) -> Any:
    requests = fake.requests
    return {
        "total": len(requests),
        "counts": dict(Counter(request.api for request in requests)),
        "connections": fake.connections,
    }


def _request_log(fake: SimulatedSops, args: dict[str, Any]) -> Any:
    return [request.as_dict() for request in fake.requests if args.get("api") in (None, request.api)]


def _tasks(fake: SimulatedSops, args: dict[str, Any]) -> Any:
    with fake.site.lock:
        return [task_as_dict(task) for task in fake.tasks]


def _task(fake: SimulatedSops, args: dict[str, Any]) -> Any:
    with fake.site.lock:
        return task_as_dict(fake.task(int(args["task_id"])))


def _create_task(fake: SimulatedSops, args: dict[str, Any]) -> Any:
    count = args.pop("count", None)
    ids = [fake.create_task(**args) for _ in range(count or 1)]
    return ids[0] if count is None else ids


def _add_fault(fake: SimulatedSops, args: dict[str, Any]) -> Any:
    if args.get("kind") == "function":
        raise ValueError("a function cannot come over HTTP")
    fake.faults.add(**args)


def _set_start_delay(fake: SimulatedSops, args: dict[str, Any]) -> Any:
    fake.start_delay = args["seconds"]


def _set_grants(fake: SimulatedSops, args: dict[str, Any]) -> None:
    fake.grant(*args.get("grant", []))
    fake.deny(*args.get("deny", []))


_LOOKS: dict[str, Callable[[SimulatedSops, dict[str, Any]], Any]] = {
    "status": _status,
    "requests": _requests,
    "request_log": _request_log,
    "tasks": _tasks,
    "task": _task,
    "callbacks": lambda fake, args: fake.callbacks,
    "connection": lambda fake, args: fake.connection(**args),
}
_ACTS: dict[str, Callable[[SimulatedSops, dict[str, Any]], Any]] = {
    "tasks": _create_task,
    "advance": lambda fake, args: fake.advance(args["seconds"]),
    "faults": _add_fault,
    "release": lambda fake, args: fake.release(),
    "grants": _set_grants,
    "remove_api": lambda fake, args: fake.remove_api(*args["apis"]),
    "restore_api": lambda fake, args: fake.restore_api(*args["apis"]),
    "close_api": lambda fake, args: fake.close_api(*args["apis"]),
    "open_api": lambda fake, args: fake.open_api(*args["apis"]),
    "start_task": lambda fake, args: fake.start_task(args["task_id"]),
    "operate": lambda fake, args: fake.operate(**args),
    "operate_node": lambda fake, args: fake.operate_node(**args),
    "claim": lambda fake, args: fake.claim(args["task_id"]),
    "delete_task": lambda fake, args: fake.delete_task(args["task_id"]),
    "expire_task": lambda fake, args: fake.expire_task(args["task_id"]),
    "start_delay": _set_start_delay,
    "revive_worker": lambda fake, args: fake.revive_worker(**args),
    "webhook": lambda fake, args: fake.set_webhook(**args),
    "remove_webhook": lambda fake, args: fake.remove_webhook(args["template"]),
    "serve_canned": lambda fake, args: fake.serve_canned(args["answers"]),
}
_REMOVALS: dict[str, Callable[[SimulatedSops], Any]] = {
    "faults": lambda fake: fake.faults.clear(),
    "requests": lambda fake: fake.clear_requests(),
}


def handle(
    fake: SimulatedSops, method: str, path: str, query: dict[str, str], raw: bytes
) -> tuple[int, dict[str, Any]]:
    """Answer a request of the control plane.

    :return: HTTP status and JSON body.
    """
    name = path.removeprefix("/fake/").strip("/")
    try:
        args: dict[str, Any] = dict(json.loads(raw or b"{}"))
        if method == "GET" and name in _LOOKS:
            return 200, {"value": _LOOKS[name](fake, dict(query))}
        if method == "POST" and name in _ACTS:
            return 200, {"value": _ACTS[name](fake, args)}
        if method == "DELETE" and name in _REMOVALS:
            return 200, {"value": _REMOVALS[name](fake)}
    except (KeyError, TypeError, ValueError, Refused) as error:
        return 400, {"error": f"{type(error).__name__}: {error}"}
    return 404, {"error": f"no {method} /fake/{name}"}
