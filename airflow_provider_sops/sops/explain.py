# SPDX-License-Identifier: Apache-2.0
"""Why a SOPS task failed, in words: the failed nodes, their plugins, messages, inputs and logs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.sops import errors, models
from airflow_provider_sops.sops.gateway import one_line
from airflow_provider_sops.sops.models import NodeStatus, TaskDetail, TaskStatus
from airflow_provider_sops.sops.redact import scrub, scrub_values
from airflow_provider_sops.sops.states import TaskState
from airflow_provider_sops.sops.text import DEEPEST, storable, text_of
from airflow_provider_sops.sops.transport import Steps
from airflow_provider_sops.sops.watch import Place, nocache

_MOST_NODES = 5
_LOG_LINES = 5
_LONGEST_INPUTS = 500
_LONGEST_LOG_LINE = 300


@dataclass(frozen=True, slots=True)
class Activity:
    """A node as the task's pipeline tree describes it."""

    id: str
    name: str
    plugin: str
    #: names of the subprocesses it stands in, from the outermost on
    path: tuple[str, ...]
    #: ids of these
    stack: tuple[str, ...]
    retryable: bool
    skippable: bool


def activities(tree: Mapping[str, Any], path: tuple[str, ...] = (), stack: tuple[str, ...] = ()) -> Iterator[Activity]:
    """Give the nodes of a pipeline tree, each subprocess before what is in it."""
    if len(stack) >= DEEPEST:
        return
    found = tree.get("activities")
    for node_id, node in found.items() if isinstance(found, dict) else ():
        if not isinstance(node, dict):
            continue
        component = node.get("component")
        code = component.get("code") if isinstance(component, dict) else None
        yield Activity(
            id=text_of(node_id),
            name=text_of(node.get("name")),
            plugin=text_of(code or node.get("type")),
            path=path,
            stack=stack,
            retryable=node.get("retryable") is not False,
            skippable=node.get("skippable") is not False,
        )
        if isinstance(node.get("pipeline"), dict):
            inner_path, inner_stack = (*path, text_of(node.get("name") or node_id)), (*stack, text_of(node_id))
            yield from activities(node["pipeline"], inner_path, inner_stack)


def failed_nodes(status: TaskStatus) -> list[tuple[NodeStatus, tuple[NodeStatus, ...]]]:
    """Give the failed nodes that are no subprocesses, each with the subprocesses it stands in."""
    walked = [pair for top in status.nodes for pair in top.walk()]
    return [
        (node, above)
        for node, above in walked
        if node.state is TaskState.FAILED and not any(child.state is TaskState.FAILED for child in node.children)
    ]


def explain(task_id: int, place: Place, status: TaskStatus | None) -> Steps[str]:
    """Find out why a task failed; what cannot be read is said to be so.

    :param status: read already, with ``ex_data``; otherwise it is read.
    :return: some lines of text: a line for each failed node with path, plugin and message, its inputs, the tail of its
        log, and the task's page. Values of password variables are masked; where the detail that tells them cannot be
        read, no inputs are shown.
    """
    lines: list[str] = []
    if status is None or not status.ex_data:
        status = yield from _read_status(task_id, place, lines, status)
    detail = yield from _read_detail(task_id, place)
    secrets = detail.secret_values if detail else None
    by_id = {activity.id: activity for activity in activities(detail.pipeline_tree)} if detail else {}
    failed = failed_nodes(status) if status else []
    if status:
        unlisted = [node_id for node_id in status.ex_data if node_id not in {node.id for node, _ in failed}]
        failed += [(NodeStatus(node_id, "", TaskState.FAILED), ()) for node_id in unlisted if not failed]
    for node, above in failed[:_MOST_NODES]:
        activity = by_id.get(node.id)
        lines += yield from _explain_node(task_id, place, status, node, above, activity, secrets)
    if len(failed) > _MOST_NODES:
        lines.append(f"  … and {len(failed) - _MOST_NODES} more failed nodes")
    url = (detail.task_url if detail else "") or (status.task_url if status else "")
    if url:
        lines.append(f"  Task page: {url}")
    return scrub("\n".join(lines), secrets or ())


def _read_status(task_id: int, place: Place, lines: list[str], known: TaskStatus | None) -> Steps[TaskStatus | None]:
    try:
        answer = yield place.call("get_task_status", task_id=task_id, with_ex_data="1", **nocache())
        return models.task_status(answer)
    except errors.SopsError as error:
        lines.append(f"  Why it failed could not be read: {error}")
        return known


def _read_detail(task_id: int, place: Place) -> Steps[TaskDetail | None]:
    try:
        # its tree and address never change, so a cached answer will do
        answer = yield place.call("get_task_detail", task_id=task_id)
        return models.task_detail(answer)
    except errors.SopsError:
        return None


def _explain_node(
    task_id: int,
    place: Place,
    status: TaskStatus | None,
    node: NodeStatus,
    above: tuple[NodeStatus, ...],
    activity: Activity | None,
    secrets: list[str] | None,
) -> Steps[list[str]]:
    name = node.name or (activity.name if activity else "") or node.id
    path = activity.path if activity else tuple(parent.name or parent.id for parent in above)
    stack = activity.stack if activity else tuple(parent.id for parent in above)
    where = f" in subprocess {' / '.join(path)}" if path else ""
    plugin = f"plugin {activity.plugin}, " if activity and activity.plugin else ""
    message = one_line((status.ex_data if status else {}).get(node.id), secrets or ()) or "SOPS gives no message"
    lines = [f"  Node {name!r} ({plugin}id {node.id}){where} failed: {message}"]
    params = {"node_id": node.id, "component_code": activity.plugin if activity else None}
    try:
        answer = yield place.call(
            "get_task_node_detail", task_id=task_id, subprocess_stack=json.dumps(stack) if stack else None, **params
        )
        detail = models.node_detail(answer)
    except errors.SopsError:
        return lines
    inputs = {key: value for key, value in detail.inputs.items() if not key.startswith("_")}
    if inputs and secrets is not None:
        lines.append(
            f"    inputs: {_cut(json.dumps(scrub_values(inputs, secrets), ensure_ascii=False), _LONGEST_INPUTS)}"
        )
    if detail.version:
        lines += yield from _log_tail(task_id, place, node.id, detail.version, secrets or ())
    return lines


def _cut(text: str, longest: int) -> str:
    """Cut a line in which no secret is left."""
    return storable(text, longest + 1)


def _log_tail(task_id: int, place: Place, node_id: str, version: str, secrets: Collection[str]) -> Steps[list[str]]:
    try:
        answer = yield place.call("get_task_node_log", task_id=task_id, node_id=node_id, version=version)
    except errors.SopsError:
        return []
    text = storable(scrub(answer.data, secrets), None) if isinstance(answer.data, str) else ""
    log = [line for line in text.split("\n") if line.strip()]
    return [f"    log: {_cut(line, _LONGEST_LOG_LINE)}" for line in log[-_LOG_LINES:]]
