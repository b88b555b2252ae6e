# SPDX-License-Identifier: Apache-2.0
"""For how long SOPS may still retry by itself: from what it says, from its counts, from the task's tree."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sops.core.models import NodeStatus, TaskStatus
from airflow_provider_sops.core.models.readers import task_detail, task_status
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.auto_retry import (
    GRACE,
    LONGEST_WINDOW,
    PATIENCE,
    AutoRetry,
    auto_retries,
    retry_window,
)
from tests.samples_of_sops import OLD_DETAIL, answer_of, answer_with


def tree(**settings: Any) -> dict[str, Any]:
    """Return a tree in which node n1 is retried, and another one is not."""
    return {"activities": {"n1": {"auto_retry": {"enable": True, **settings}}, "n2": {"auto_retry": {"enable": False}}}}


def failed(*nodes: NodeStatus) -> TaskStatus:
    return TaskStatus(7, TaskState.FAILED, nodes=nodes)


def node(own_id: str = "n1", retry: int = 0, **more: Any) -> NodeStatus:
    return NodeStatus(own_id, "call", more.pop("state", TaskState.FAILED), retry, **more)


# ---- what SOPS says ----


@pytest.mark.parametrize(
    ("said", "pending"),
    [
        ({}, None),
        ({"failed_node_info": {}}, False),
        ({"failed_node_info": {"n1": {}}}, False),
        ({"failed_node_info": {"n1": {}, "n2": {"auto_retry_times": 1, "max_auto_retry_times": 2}}}, True),
        ({"failed_node_info": {"n1": {"auto_retry_times": 2, "max_auto_retry_times": 2}}}, False),
        ({"auto_retry_status": {"exist_auto_retry_nodes": False}}, False),
        ({"auto_retry_status": {"exist_auto_retry_nodes": True}, "failed_node_info": {"n1": {}}}, True),
        ({"failed_node_info": ["n1"], "auto_retry_status": None}, None),
        ({"failed_node_info": {"n1": None, "n2": {"auto_retry_times": "x", "max_auto_retry_times": None}}}, False),
    ],
)
def test_what_a_status_says(said: dict[str, Any], pending: bool | None) -> None:
    answer = answer_with("get_task_status", {"state": "FAILED", **said}, task_id=7)
    assert task_status(answer).auto_retry_pending is pending


def test_what_a_recorded_status_says() -> None:
    assert task_status(answer_of("05a-node-failed-retry/05")).auto_retry_pending is False


# ---- what the tree says ----


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"times": 3, "interval": 5}, AutoRetry(3, 5)),
        ({"times": 100, "interval": 3600}, AutoRetry(10, 10)),
        ({}, AutoRetry(10, 0)),
        ({"times": "4", "interval": "-2"}, AutoRetry(4, 2)),
        ({"times": None, "interval": "soon"}, AutoRetry(10, 10)),
        ({"times": float("nan"), "interval": float("inf")}, AutoRetry(10, 10)),
    ],
)
def test_settings_are_bounded_as_sops_does(settings: dict[str, Any], expected: AutoRetry) -> None:
    assert auto_retries(tree(**settings)) == {"n1": expected}


def test_nodes_of_subprocesses_count_and_subprocesses_do_not() -> None:
    retried = {"enable": True, "times": 1, "interval": 1}
    outer = {"activities": {"sub": {"auto_retry": retried, "pipeline": tree(times=2)}, "other": {}, "bad": "x"}}
    assert auto_retries(outer) == {"n1": AutoRetry(2, 0)}
    endless: dict[str, Any] = {"activities": {}}
    endless["activities"]["sub"] = {"pipeline": endless}
    assert auto_retries(endless) == {}


def test_recorded_trees_retry_nothing() -> None:
    old = task_detail(answer_with("get_task_detail", OLD_DETAIL["data"], task_id=10))
    for detail in (old, task_detail(answer_of("05a-node-failed-retry/06"))):
        assert detail.pipeline_tree["activities"]
        assert retry_window(failed(node(next(iter(detail.pipeline_tree["activities"])))), detail.pipeline_tree) == 0


# ---- how long ----


@pytest.mark.parametrize(
    ("nodes", "seconds"),
    [
        ([node()], 5 + PATIENCE),
        ([node(retry=1)], 5 + PATIENCE),
        # the count is full, but a person's retries may be in it
        ([node(retry=2)], 5 + GRACE),
        ([node(retry=9)], 5 + GRACE),
        ([node("n2")], 0),
        ([node("n2"), node(retry=2)], 5 + GRACE),
        ([node("sub", children=(node(retry=2),))], 5 + GRACE),
        ([node(state=TaskState.FINISHED), node("n2")], 0),
        # which nodes failed is not known
        ([], 2 * (5 + GRACE)),
    ],
)
def test_how_long_a_retry_may_be_away(nodes: list[NodeStatus], seconds: float) -> None:
    assert retry_window(failed(*nodes), tree(times=2, interval=5)) == seconds


@pytest.mark.parametrize("unread", [None, {}, {"activities": {}}])
def test_where_the_tree_cannot_be_read_it_may_be_the_longest_time(unread: Any) -> None:
    assert retry_window(failed(node()), unread) == LONGEST_WINDOW
    assert LONGEST_WINDOW < 300


def test_where_no_node_is_retried_nothing_is_waited_for() -> None:
    assert retry_window(failed(), {"activities": {"n1": {}}}) == 0
