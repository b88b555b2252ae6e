# SPDX-License-Identifier: Apache-2.0
"""The page of a task, where ``task_url`` points."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from airflow_provider_sops.testing.answers.projects import Project
from airflow_provider_sops.testing.answers.times import elapsed, local_time
from airflow_provider_sops.testing.engine.node import Node, Pipeline
from airflow_provider_sops.testing.engine.task import Task

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1f2733; }
h1 { font-size: 1.4rem; margin-bottom: .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin-top: 2rem; }
p.note { color: #68727f; margin-top: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #e1e5ea; padding: .4rem .6rem; text-align: left; vertical-align: top; }
th { color: #68727f; font-weight: 600; white-space: nowrap; }
td { overflow-wrap: anywhere; }
td.short { white-space: nowrap; overflow-wrap: normal; }
table.facts th { width: 9rem; }
small.error { color: #9c1a1a; }
code { white-space: pre-wrap; }
.state { border-radius: .3rem; padding: .1rem .5rem; white-space: nowrap; font-size: .85em; font-weight: 600;
  background: #e6eaef; }
.FINISHED { background: #d8f3e0; color: #14662f; }
.RUNNING { background: #dbe9ff; color: #1a4b9c; }
.FAILED, .REVOKED, .EXPIRED { background: #ffe0e0; color: #9c1a1a; }
.SUSPENDED, .NODE_SUSPENDED { background: #fff0cf; color: #7a5200; }
"""


SITE_PAGE = '<!DOCTYPE html><html lang="en"><title>fake SOPS</title><p>This is a fake SOPS, for tests.</p></html>'
NOT_FOUND_PAGE = '<!DOCTYPE html><html lang="en"><title>404</title><p>There is no such task.</p></html>'


def task_page(task: Task, project: Project, now: float) -> str:
    """HTML page of a task: its state, times, outputs and nodes."""
    facts = [
        ("Task", str(task.id)),
        ("Project", f"{project.name} ({project.id}), business {project.bk_biz_id}"),
        ("Created by", task.creator),
        ("Created", local_time(task.create_time)),
        ("Started", local_time(task.start_time) or "not yet"),
        ("Ended", local_time(task.finish_time) or "not yet"),
        ("Elapsed", f"{elapsed(task.start_time, task.finish_time, now)} s"),
    ]
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(task.name)} - fake SOPS</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(task.name)} {_badge(task.state)}</h1>"
        '<p class="note">A task of the fake SOPS for tests and demonstrations.</p>'
        f'<table class="facts">{rows}</table>'
        f"<h2>Outputs</h2>{_outputs(task)}"
        "<h2>Nodes</h2><table><tr><th>Node</th><th>Plugin</th><th>State</th><th>Started</th><th>Ended</th></tr>"
        f"{''.join(_node_rows(task, task.flow.root, 0))}</table></body></html>"
    )


def _badge(state: str) -> str:
    return f'<span class="state {escape(state)}">{escape(state)}</span>'


def _outputs(task: Task) -> str:
    if not task.outputs:
        return '<p class="note">None so far.</p>'
    rows = "".join(
        f"<tr><td><code>{escape(row['key'])}</code></td><td>{escape(str(row['name']))}</td>"
        f"<td><code>{escape(_shown(task, row))}</code></td></tr>"
        for row in sorted(task.outputs, key=lambda row: str(row["key"]))
    )
    return f"<table><tr><th>Key</th><th>Name</th><th>Value</th></tr>{rows}</table>"


def _shown(task: Task, row: dict[str, Any]) -> str:
    if task.graph.constants[row["key"]]["custom_type"] == "password":
        return "******"
    value = row["value"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _node_rows(task: Task, pipeline: Pipeline, depth: int) -> Iterator[str]:
    for spec in pipeline.graph.nodes.values():
        if spec.type not in ("ServiceActivity", "SubProcess"):
            continue
        node = pipeline.nodes.get(task.node_id(spec.id))
        plugin = spec.data.get("component", {}).get("code", "subprocess")
        state = node.shown_state if node else "READY"
        times = (node.start, node.finish) if node else (None, None)
        cells = [escape(plugin), _badge(state) + _note(node), *map(_clock_time, times)]
        shorts = "".join(f'<td class="short">{cell}</td>' for cell in cells)
        yield (
            f'<tr><td style="padding-left:{0.6 + 1.5 * depth}rem">{escape(spec.name)}{_error(node)}</td>{shorts}</tr>'
        )
        if node is not None and node.child is not None:
            yield from _node_rows(task, node.child, depth + 1)


def _clock_time(at: float | None) -> str:
    return local_time(at)[11:19]


def _error(node: Node | None) -> str:
    return f'<br><small class="error">{escape(node.ex_data)}</small>' if node and node.ex_data else ""


def _note(node: Node | None) -> str:
    if node is None:
        return ""
    notes = [f"retried {node.retry}x"] * bool(node.retry) + ["skipped"] * node.skip
    return f" <small>{escape(', '.join(notes))}</small>" if notes else ""
