# SPDX-License-Identifier: Apache-2.0
"""Why a SOPS task failed, in words: the failed nodes, their plugins, messages, inputs and logs."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import nocache
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.models import NodeDetail, NodeStatus, TaskDetail, TaskStatus, readers
from airflow_provider_sops.core.pipeline_tree import Activity, activities
from airflow_provider_sops.core.redact import scrub, scrub_values
from airflow_provider_sops.core.remote_message import one_line
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import is_lacking
from airflow_provider_sops.core.text import storable

#: How a record of a node's log begins.
_RECORD = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d+\]\[(\w+)\] ?(.*)")
_ERROR_LEVELS = ("ERROR", "CRITICAL")
#: How records begin that SOPS' engine writes at every node (measured on SOPS 3.34).
_CHATTER = re.compile(r"root[ _]pipeline\[|\[pipeline-trace\]|\[event broadcasting\.*\]|\[send_task_message\]")
#: What the engine writes as an error when nobody listens to its news of a failed node.
_NO_LISTENER = re.compile(r"event \w+ not found$")
_MOST_NODES = 5
_LOG_LINES = 5
_LONGEST_INPUTS = 500
_LONGEST_LOG_LINE = 300


def explain(task_id: int, project: Project, status: TaskStatus | None) -> Flow[str]:
    """Find out why a task failed; what cannot be read is said to be so.

    :param status: read already, with ``ex_data``; otherwise it is read.
    :return: some lines of text: a line for each failed node with path, plugin and message, its inputs, the tail of its
        log, and the task's page. Values of password variables are masked; where the detail that names them cannot be
        read, no inputs are shown.
    """
    lines: list[str] = []
    if status is None or not status.ex_data:
        status = yield from _read_status(task_id, project, lines, status)
    detail = yield from _read_detail(task_id, project)
    secrets = detail.secret_values if detail else None
    by_id = {activity.id: activity for activity in activities(detail.pipeline_tree)} if detail else {}
    failed = list(readers.failed_leaves(status.nodes)) if status else []
    if status:
        unlisted = [node_id for node_id in status.ex_data if node_id not in {node.id for node, _ in failed}]
        failed += [(NodeStatus(node_id, "", TaskState.FAILED), ()) for node_id in unlisted if not failed]
    lacking: set[str] = set()
    for node, above in failed[:_MOST_NODES]:
        activity = by_id.get(node.id)
        lines += yield from _explain_node(task_id, project, status, node, above, activity, secrets, lacking)
    if len(failed) > _MOST_NODES:
        lines.append(f"  … and {len(failed) - _MOST_NODES} more failed nodes")
    url = (detail.task_url if detail else "") or (status.task_url if status else "")
    if url:
        lines.append(f"  Task page: {url}")
    return scrub("\n".join(lines), secrets or ())


def _read_status(task_id: int, project: Project, lines: list[str], known: TaskStatus | None) -> Flow[TaskStatus | None]:
    try:
        answer = yield project.call("get_task_status", task_id=task_id, with_ex_data="1", **nocache())
        return readers.task_status(answer)
    except errors.SopsError as error:
        lines.append(f"  Why it failed could not be read: {error}")
        return known


def _read_detail(task_id: int, project: Project) -> Flow[TaskDetail | None]:
    try:
        # its tree and address never change, so a cached answer will do
        answer = yield project.call("get_task_detail", task_id=task_id)
        return readers.task_detail(answer)
    except errors.SopsError:
        return None


def _explain_node(
    task_id: int,
    project: Project,
    status: TaskStatus | None,
    node: NodeStatus,
    above: tuple[NodeStatus, ...],
    activity: Activity | None,
    secrets: list[str] | None,
    lacking: set[str],
) -> Flow[list[str]]:
    """Explain one failed node.

    :param lacking: the APIs that are not to be had here; they are not asked again.
    """
    name = node.name or (activity.name if activity else "") or node.id
    path = activity.path if activity else tuple(parent.name or parent.id for parent in above)
    stack = activity.stack if activity else tuple(parent.id for parent in above)
    where = f" in subprocess {' / '.join(path)}" if path else ""
    plugin = f"plugin {activity.plugin}, " if activity and activity.plugin else ""
    try:
        detail = yield from read_node(task_id, project, node.id, stack, activity)
    except errors.SopsError:
        detail = None
    # the status has no reasons of a task that was paused after its failure, and in some releases none at all
    said = (status.ex_data if status else {}).get(node.id) or (detail.ex_data if detail else "")
    message = one_line(said, secrets or ()) or "SOPS gives no message"
    lines = [f"  Node {name!r} ({plugin}id {node.id}){where} failed: {message}"]
    if detail is None:
        return lines
    inputs = {key: value for key, value in detail.inputs.items() if not key.startswith("_")}
    if inputs and secrets is not None:
        lines.append(
            f"    inputs: {_cut(json.dumps(scrub_values(inputs, secrets), ensure_ascii=False), _LONGEST_INPUTS)}"
        )
    if detail.version:
        log = yield from log_tail(task_id, project, node.id, detail.version, secrets or (), lacking)
        lines += [f"    log: {line}" for line in log]
    return lines


def read_node(
    task_id: int, project: Project, node_id: str, stack: tuple[str, ...], activity: Activity | None
) -> Flow[NodeDetail]:
    """Read the description of one node.

    :param stack: ids of the subprocesses that it stands in.
    :raises errors.SopsError: when there is no good answer.
    """
    answer = yield project.call(
        "get_task_node_detail",
        task_id=task_id,
        subprocess_stack=json.dumps(stack) if stack else None,
        node_id=node_id,
        component_code=activity.plugin if activity else None,
    )
    return readers.node_detail(answer)


def _cut(text: str, longest: int) -> str:
    """Cut a line in which no secret is left."""
    return storable(text, longest + 1)


def log_tail(
    task_id: int, project: Project, node_id: str, version: str, secrets: Collection[str], lacking: set[str]
) -> Flow[list[str]]:
    """Read the end of a node's log: the lines that tell why it failed.

    :param version: of the node's run, see :class:`~airflow_provider_sops.core.models.NodeDetail`.
    :param secrets: to be masked.
    :param lacking: the APIs that are not to be had here; they are not asked again.
    :return: no lines where the log cannot be read.
    """
    call = project.call("get_task_node_log", task_id=task_id, node_id=node_id, version=version)
    if call.name in lacking:
        return []
    try:
        answer = yield call
    except errors.SopsError as error:
        if is_lacking(error):  # SOPS has it since 3.34.5
            lacking.add(call.name)
        return []
    text = storable(scrub(answer.data, secrets), None) if isinstance(answer.data, str) else ""
    return [_cut(line, _LONGEST_LOG_LINE) for line in telling_lines(text, _LOG_LINES)]


def telling_lines(log: str, most: int) -> list[str]:
    """Return the lines of a node's log that say why it failed: errors first, then the plugin's own, none twice.

    SOPS' engine writes nearly all of a log itself, and each record twice. Where there is nothing else, its records are
    given.

    :param most: number of lines, the last ones of each kind; they stay in the log's order.
    """
    own: list[tuple[str, bool]] = []
    chatter: list[tuple[str, bool]] = []
    for record in _records(log):
        match = _RECORD.match(record[0])
        level, text = match.groups() if match else ("", record[0])
        is_error = level in _ERROR_LEVELS and not _NO_LISTENER.match(text)
        is_chatter = not is_error and (_CHATTER.match(text) or _NO_LISTENER.match(text))
        (chatter if is_chatter else own).extend((line, is_error) for line in record)
    lines = own or chatter
    kept = [index for index, (_, is_error) in enumerate(lines) if is_error][-most:]
    others = [index for index, (_, is_error) in enumerate(lines) if not is_error]
    kept += others[max(0, len(others) - (most - len(kept))) :]
    return [lines[index][0] for index in sorted(kept)]


def _records(log: str) -> list[list[str]]:
    """Split a log into its records, each once; one may go on over several lines, as a traceback does."""
    records: list[list[str]] = []
    for line in log.split("\n"):
        if line.strip() and (_RECORD.match(line) or not records or not _RECORD.match(records[-1][0])):
            records.append([line])
        elif line.strip():
            records[-1].append(line)
    return list({"\n".join(record): record for record in records}.values())
