# SPDX-License-Identifier: Apache-2.0
"""Webhooks of templates: what SOPS posts for every task of a template (measured on SOPS 3.34.17)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_sops.testing.answers.projects import Project
from airflow_provider_sops.testing.answers.times import local_time
from airflow_provider_sops.testing.engine.node import Node
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.posts.outbox import Post, is_delivered
from airflow_provider_sops.testing.refusals import UNKNOWN, VALIDATION, Answer, Crash, refusal
from airflow_provider_sops.testing.templates.template import Template
from airflow_provider_sops.testing.templates.webhook import WEBHOOK_EVENTS, Webhook

#: Seconds from an end or failure to the post: after the callback of the same (measured: 0.1 to 1 s).
DELAY = 0.3


def event_of(task: Task, node: Node | None, project: Project, url: str) -> dict[str, Any]:
    """Give the body of a post.

    :param node: the one that has failed; None: the task has finished.
    :param url: the task's page.
    """
    code = "task_finished" if node is None else "task_failed"
    info: dict[str, Any] = {
        "project_id": project.id,
        "task_id": task.id,
        "task_name": task.name,
        "input_data": [*_inputs(task), {"key": "${_system}", "value": _system(task, project, url)}],
        "executor": task.executor,
        "start_time": int(task.start_time or 0),
        "finish_time": "" if task.finish_time is None else int(task.finish_time),
    }
    if node is None:
        info["outputs"] = {row["key"]: row["value"] for row in task.outputs}
    else:
        inner = node.pipeline.owner is not None  # SOPS looks for its name among the outermost nodes
        info["extra_data"] = {
            "failed_node": node.id,
            "failed_node_name": None if inner else node.name,
            "failed_message": node.ex_data,
        }
    event = {"code": code, "name": WEBHOOK_EVENTS[code], "description": "", "info": info}
    return {"event": event, "delivery_id": task.id}  # the task's, and no more: the same for every post about it


def _inputs(task: Task) -> list[dict[str, Any]]:
    constants = task.graph.constants
    own = sorted(key for key in task.constants if constants[key]["source_type"] != "component_outputs")
    return [{"key": key, "value": task.constants[key]} for key in own]


def _system(task: Task, project: Project, url: str) -> dict[str, Any]:
    return {
        "language": "zh-hans",
        "project_id": project.id,
        "project_name": project.name,
        "bk_biz_id": project.bk_biz_id,
        "bk_biz_name": project.name,
        "biz_supplier_account": "x",
        "operator": task.executor,
        "executor": task.executor,
        "task_id": task.id,
        "task_name": task.name,
        "biz_cc_id": project.bk_biz_id,
        "biz_cc_name": project.name,
        "task_start_time": local_time(task.start_time)[:19],
        "task_url": url,
    }


def post_of(webhook: Webhook, body: Mapping[str, Any], tell: Callable[[dict[str, Any]], None]) -> Post:
    """Give the post of an event.

    :param body: as by :func:`event_of`.
    :param tell: is given the row of the history of each try.
    """
    code, authorization = body["event"]["code"], webhook.authorization
    kind = authorization.get("type")
    bearer = {"Authorization": f"Bearer {authorization['token']}"} if kind == "bearer" else {}
    return Post(
        task_id=body["event"]["info"]["task_id"],
        url=webhook.endpoint,
        content={"data": json.dumps(body)},
        headers={"Content-Type": "application/json", **bearer, **webhook.headers},
        auth=(authorization["username"], authorization["password"]) if kind == "basic" else None,
        retries=webhook.retry_times,
        interval=webhook.interval,
        limit=webhook.timeout,
        answered=lambda at, status, reply: tell(history_row(code, at, status, reply)),
    )


def history_row(code: str, at: float, status: int | None, reply: bytes) -> dict[str, Any]:
    """Give one row of ``task_webhook_history``.

    :param status: HTTP status of the receiver; None: it could not be reached (not measured).
    :param reply: its body; SOPS keeps what a JSON object has under ``message`` (``gcloud/utils/webhook.py`` of 3.34).
    """
    try:
        said = json.loads(reply)
    except ValueError:
        said = None
    return {
        "created_at": local_time(at),
        "event_code": code,
        "event_code_name": WEBHOOK_EVENTS[code],
        "is_success": is_delivered(status),
        "status_code": status,
        "response": said.get("message") if isinstance(said, dict) else None,
    }


def apply_configs(params: Mapping[str, Any], templates: Mapping[int, Template], project: Project) -> Answer:
    """Answer apply_webhook_configs: SOPS 3.34.17 cannot enable a webhook so, whatever is asked for.

    :raises Crash: it fails over what is asked for.
    """
    ids, events = params.get("template_ids"), params.get("events")
    if not ids or not isinstance(ids, list) or not isinstance(events, list) or params.get("extra_info") == {}:
        raise Crash
    unknown = {str(event) for event in events} - {"*", *WEBHOOK_EVENTS}
    if unknown:
        text = f"校验失败，events中包含不支持的事件类型, 不支持事件类型: {unknown}"
        return refusal({"events": [text]}, VALIDATION)
    own = {template.id for template in templates.values() if template.project_id == project.id}
    if not all(isinstance(template_id, int) and template_id in own for template_id in ids):
        raise Crash
    message = (
        "fail: 1 validation error for Webhook\nscope_code\n"
        f"  Input should be a valid string [type=string_type, input_value={ids[0]}, input_type=int]\n"
        "    For further information visit https://errors.pydantic.dev/2.6/v/string_type"
    )
    return refusal(message, UNKNOWN)
