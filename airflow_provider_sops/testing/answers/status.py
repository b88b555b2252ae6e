# SPDX-License-Identifier: Apache-2.0
"""The status of a task: its own row, and under it those of its nodes."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.testing.answers.times import elapsed, local_time
from airflow_provider_sops.testing.engine.flow import Flow
from airflow_provider_sops.testing.engine.node import Node, Pipeline, walk
from airflow_provider_sops.testing.engine.task import Task


def created_status() -> dict[str, Any]:
    """Status of a task that has not started. It has no id."""
    return {
        "start_time": None,
        "state": "CREATED",
        "retry": 0,
        "skip": 0,
        "finish_time": None,
        "elapsed_time": 0,
        "children": {},
    }


def task_status(task: Task, now: float, *, children: bool = True, racing: bool = False) -> dict[str, Any]:
    """Status of a started task.

    :param racing: the end has not been written yet: FINISHED without an end time.
    """
    rows = _children(task, task.flow.root, now) if children else {}
    status = _row(task, task.flow, task.state, task.root_id, rows, now) | {"name": task.name}
    return status | {"finish_time": None} if racing else status


def past_status(task: Task, now: float, *, children: bool = True) -> dict[str, Any] | None:
    """Status of a task before its state last changed, as a replica that lags behind shows them.

    :return: None if the state has never changed.
    """
    earlier = [(until, state) for until, state in task.flow.past if state != task.state]
    if not earlier:
        return None
    until, state = earlier[-1]
    if state == "CREATED":
        return created_status() | {"name": task.name}
    status = task_status(task, now, children=children)
    status |= {"state": state, "finish_time": None, "elapsed_time": elapsed(task.flow.start, until, now)}
    for node in walk(task.flow.root):
        row = status["children"].get(node.id)
        if row is None or node.start is None:
            continue
        if node.start >= until:
            del status["children"][node.id]
        elif node.finish is None or node.finish >= until:
            row |= {"state": "FAILED" if state == "FAILED" else "RUNNING", "finish_time": None}
    return status


def subprocess_status(task: Task, node: Node, now: float) -> dict[str, Any]:
    """get_task_status with ``subprocess_id``: its children have no names."""
    status = node_status(task, node, node.pipeline.id, now)
    for child in status["children"].values():
        child["name"] = ""
    return status | {"name": task.name}


def node_status(task: Task, node: Node, parent_id: str, now: float, *, names: bool = True) -> dict[str, Any]:
    """Row of a node, without its name.

    :param names: give names to the rows under it.
    """
    rows = _children(task, node.child, now, names=names) if node.child else {}
    return _row(task, node, node.shown_state, parent_id, rows, now) | {
        "retry": node.retry,
        "skip": node.skip,
        "error_ignorable": bool(node.spec.data.get("error_ignorable")),
        "error_ignored": node.error_ignored,
    }


def _children(task: Task, pipeline: Pipeline, now: float, *, names: bool = True) -> dict[str, Any]:
    rows = {node.id: node_status(task, node, pipeline.id, now, names=names) for node in pipeline.nodes.values()}
    if names:
        for own_id, row in rows.items():
            row["name"] = pipeline.nodes[own_id].name
    return rows


def _row(
    task: Task, own: Flow | Node, state: str, parent_id: str, children: dict[str, Any], now: float
) -> dict[str, Any]:
    return {
        "id": own.id,
        "state": state,
        "root_id:": task.root_id,  # SOPS really spells it with the colon
        "parent_id": parent_id,
        "version": own.version,
        "loop": 1,
        "retry": 0,
        "skip": False,
        "error_ignorable": False,
        "error_ignored": False,
        "children": children,
        **times_of(own, now),
    }


def times_of(own: Flow | Node, now: float) -> dict[str, Any]:
    """The times in a row."""
    return {
        "elapsed_time": elapsed(own.start, own.finish, now),
        "start_time": local_time(own.start) or None,
        "finish_time": local_time(own.finish) or None,
    }


def failed_nodes(status: dict[str, Any]) -> list[str]:
    """Ids of the FAILED rows under a status, those of subprocesses before what is in them."""
    found = []
    for own_id, child in status["children"].items():
        if child["state"] == "FAILED":
            found += [own_id, *failed_nodes(child)]
    return found
