# SPDX-License-Identifier: Apache-2.0
"""The question's text: subject and body, in Markdown, with what SOPS says of the task and the node.

What SOPS says is data: it is escaped, shortened, and rid of passwords.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.approval.pause_node import PauseNode
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.failure_report import read_node
from airflow_provider_sops.core.models import TaskDetail, TaskStatus
from airflow_provider_sops.core.pipeline_tree import activities, is_password
from airflow_provider_sops.core.redact import scrub
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.text import storable, text_of
from airflow_provider_sops.core.variables import as_text, bare_name

#: Most variables that are shown, and most characters of a value, and of a description.
MOST_VARIABLES = 50
LONGEST_VALUE = 200
LONGEST_DESCRIPTION = 2000
#: Most finished nodes that are read for the outputs which variables are filled from.
MOST_NODES_READ = 10
#: What a rejection does, by ``on_reject``.
_REJECTS = {
    "fail": "**Reject** fails this Airflow task; the SOPS task waits on.",
    "skip": "**Reject** skips this Airflow task; the SOPS task waits on.",
    "revoke": "**Reject** revokes the SOPS task.",
}
#: What Markdown, and the HTML in it, takes for more than text.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&$:@\"'=^/])")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a line, and a text in Markdown."""

    subject: str
    body: str


def read_question(
    project: Project, detail: TaskDetail, status: TaskStatus, node: PauseNode, *, on_reject: str
) -> Flow[Question]:
    """Make the question about a node that waits, of what can be read; what cannot be read is left out.

    :param on_reject: see :func:`make_question`.
    """
    description = ""
    try:
        stack = node.activity.stack if node.activity else ()
        read = yield from read_node(detail.task_id, project, node.id, stack, node.activity)
        description = text_of(read.inputs.get("description"), LONGEST_DESCRIPTION)
    except errors.SopsError:
        description = _described_in_tree(detail, node)
    produced = yield from _read_produced(project, detail, status)
    return make_question(detail, node, description, produced, on_reject=on_reject)


def make_question(
    detail: TaskDetail,
    node: PauseNode,
    description: str,
    produced: dict[str, object] | None = None,
    *,
    on_reject: str = "fail",
) -> Question:
    """Make the question about a node.

    :param description: what the author of the flow says at the node.
    :param produced: values that finished nodes have produced, by the key of their variable.
    :param on_reject: what a rejection does: ``fail``, ``skip`` or ``revoke``.
    """
    secrets = detail.secret_values

    def clean(text: str, longest: int) -> str:
        return _shortened(scrub(storable(text), secrets), longest)

    subject = clean(f"SOPS task {detail.task_id} {detail.name!r} waits at {node.name!r}", LONGEST_VALUE)
    task = escaped(clean(f"{detail.name} (id {detail.task_id})", LONGEST_VALUE))
    if detail.task_url:
        task = f"[{task}](<{detail.task_url.replace('>', '%3E').replace('<', '%3C')}>)"
    where = "".join(f" in {escaped(clean(' / '.join(node.path), LONGEST_VALUE))}" if node.path else "")
    parts = [f"SOPS task {task} waits at the node **{escaped(clean(node.name, LONGEST_VALUE))}**{where}."]
    if description.strip():
        parts.append("\n".join(f"> {escaped(line)}" for line in clean(description, LONGEST_DESCRIPTION).splitlines()))
    rows = list(_variables(detail, produced or {}))
    if rows:
        shown = [f"| {_cell(clean(key, 100))} | {_cell(clean(value, LONGEST_VALUE))} |" for key, value in rows]
        more = len(shown) - MOST_VARIABLES
        parts.append("\n".join(["| Variable | Value |", "| --- | --- |", *shown[:MOST_VARIABLES]]))
        if more > 0:
            parts.append(f"… and {more} more.")
    parts.append(f"**Approve** lets the SOPS task go on. {_REJECTS[on_reject]}")
    return Question(subject, "\n\n".join(parts))


def escaped(text: str) -> str:
    """Escape a text so that Markdown shows it as it is, in one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _cell(text: str) -> str:
    return escaped(text) or " "


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def _variables(detail: TaskDetail, produced: dict[str, object]) -> Iterable[tuple[str, str]]:
    """Return the variables that have a value by now, without passwords."""
    for key, constant in detail.constants.items():
        value = produced.get(key, constant.get("value"))
        hidden = constant.get("show_type") == "hide" and key not in produced
        if is_password(constant) or hidden or value in (None, ""):
            continue
        name = text_of(constant.get("name")) or bare_name(key)
        shown = key if name == bare_name(key) else f"{name} {key}"
        yield shown, as_text(value)


def _described_in_tree(detail: TaskDetail, node: PauseNode) -> str:
    """Return the description as it stands in the tree, with its variables unrendered."""
    inputs = next((one.inputs for one in activities(detail.pipeline_tree) if one.id == node.id), {})
    description = inputs.get("description")
    return text_of(description.get("value"), LONGEST_DESCRIPTION) if isinstance(description, dict) else ""


def _read_produced(project: Project, detail: TaskDetail, status: TaskStatus) -> Flow[dict[str, object]]:
    """Read what finished nodes have produced for variables, which the detail itself has at the end only."""
    wanted: dict[str, list[tuple[str, str]]] = {}
    for key, constant in detail.constants.items():
        sources = constant.get("source_info")
        if constant.get("source_type") != "component_outputs" or is_password(constant) or not isinstance(sources, dict):
            continue
        for node_id, outputs in sources.items():
            node = status.node(str(node_id))
            if node is not None and node.state is TaskState.FINISHED and isinstance(outputs, list) and outputs:
                wanted.setdefault(node.id, []).append((text_of(outputs[0]), key))
    produced: dict[str, object] = {}
    found = {one.id: one for one in activities(detail.pipeline_tree)}
    for node_id, pairs in list(wanted.items())[:MOST_NODES_READ]:
        try:
            activity = found.get(node_id)
            stack = activity.stack if activity else ()
            read = yield from read_node(detail.task_id, project, node_id, stack, activity)
        except errors.SopsError:
            continue
        values = {item.get("key"): item.get("value") for item in read.outputs}
        for output, key in pairs:
            # SOPS calls an output that fills a variable by the variable's name
            own = next((name for name in (bare_name(key), output) if name in values), None)
            if own is not None:
                produced[key] = values[own]
    return produced
