# SPDX-License-Identifier: Apache-2.0
"""The status of a task and of its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core.models import fields
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.text import DEEPEST, repr_of

if TYPE_CHECKING:
    import pendulum

    from airflow_provider_sops.core.api.answer import Answer

#: What SOPS says of a task that somebody has paused, or in which a node is paused.
_PAUSED = (TaskState.SUSPENDED.value, TaskState.NODE_SUSPENDED.value)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Status of one node of a running task; ``id`` is the node's id in the execution."""

    id: str
    name: str
    state: TaskState
    retry: int = 0
    skip: bool = False
    start_time: pendulum.DateTime | None = None
    finish_time: pendulum.DateTime | None = None
    children: tuple[NodeStatus, ...] = ()
    #: how often it was entered, where the flow loops
    loop: int = 1
    #: it failed, and the flow went on all the same
    error_ignored: bool = False

    def walk(self) -> Iterator[tuple[NodeStatus, tuple[NodeStatus, ...]]]:
        """Give this node and all below it, each with its ancestors from the outermost on."""
        yield from _walk(self, ())


def failed_leaves(nodes: Iterable[NodeStatus]) -> Iterator[tuple[NodeStatus, tuple[NodeStatus, ...]]]:
    """Return the failed nodes that are no subprocesses, each with the subprocesses it stands in."""
    for top in nodes:
        for node, above in top.walk():
            inner = any(child.state is TaskState.FAILED for child in node.children)
            if node.state is TaskState.FAILED and not inner:
                yield node, above


def _walk(node: NodeStatus, above: tuple[NodeStatus, ...]) -> Iterator[tuple[NodeStatus, tuple[NodeStatus, ...]]]:
    yield node, above
    for child in node.children:
        yield from _walk(child, (*above, node))


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What is known of a task at one moment, from ``get_task_status``, ``get_tasks_status`` or ``get_task_detail``."""

    task_id: int
    #: FAILED also for a task with a failed node that somebody has paused then, where the nodes were read
    state: TaskState
    #: the state's word as SOPS wrote it
    raw_state: str = ""
    name: str = ""
    start_time: pendulum.DateTime | None = None
    finish_time: pendulum.DateTime | None = None
    #: seconds that the task has run
    elapsed_time: int = 0
    nodes: tuple[NodeStatus, ...] = ()
    #: why nodes failed, by node id; only where it was asked for
    ex_data: Mapping[str, str] = field(default_factory=dict)
    #: whether SOPS itself will retry a failed node; ``None`` where it was not asked for, or SOPS does not say it
    auto_retry_pending: bool | None = None
    #: ``None`` where a batch does not say it, as before SOPS 3.6.22: it answers for deleted tasks too
    is_deleted: bool | None = False
    #: ``common``, or ``common_func`` for a task that waits to be claimed; only from ``get_tasks_status``
    flow_type: str = ""
    #: e.g. ``func_claim``, ``execute_task``, ``finished``; only from ``get_tasks_status``
    current_flow: str = ""
    task_url: str = ""
    #: seconds since the epoch at which SOPS answered, by its own clock; ``None`` where the answer has no date
    answered_at: float | None = field(default=None, compare=False)

    @property
    def is_paused(self) -> bool:
        """Whether somebody has paused the task or a node of it; it may have failed as well."""
        return self.state.is_suspended or self.raw_state in _PAUSED

    @property
    def has_ended(self) -> bool:
        """Whether nothing in the task runs any more; a failed task has not ended."""
        return self.is_deleted is True or self.state.is_final or self.state is TaskState.ENDED

    def node(self, node_id: str) -> NodeStatus | None:
        """Find a started node, also in subprocesses, where the nodes were read."""
        return next((node for top in self.nodes for node, _ in top.walk() if node.id == node_id), None)

    @property
    def paused_nodes(self) -> list[NodeStatus]:
        """The nodes that somebody has paused, where the nodes were read."""
        return [node for top in self.nodes for node, _ in top.walk() if node.state is TaskState.SUSPENDED]

    def since(self, moment: pendulum.DateTime, now: float) -> float:
        """Put a time of SOPS' clock on ours, which may be minutes apart.

        :param now: our time of the answer in seconds since the epoch.
        :return: seconds since the epoch by our clock; never in the future.
        """
        age = (now if self.answered_at is None else self.answered_at) - moment.timestamp()
        return now - max(0.0, age)

    @property
    def steps(self) -> list[NodeStatus]:
        """The started nodes that do something, those in subprocesses included; start and end events have no name."""
        return [node for top in self.nodes for node, _ in top.walk() if node.name and not node.children]

    @property
    def failed_at(self) -> pendulum.DateTime | None:
        """When the last of the failed nodes failed, where the nodes were read."""
        times = [node.finish_time for node in self.steps if node.state is TaskState.FAILED and node.finish_time]
        return max(times, default=None)

    @property
    def last_change(self) -> pendulum.DateTime | None:
        """When a node last started or ended, where the nodes were read."""
        times = [moment for node in self.steps for moment in (node.start_time, node.finish_time) if moment]
        return max(times, default=None)


def task_status(answer: Answer) -> TaskStatus:
    """Read the answer of ``get_task_status``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    data = fields.object_of(answer, answer.data)
    with fields.reading(answer):
        return TaskStatus(
            task_id=answer.call.task_id or 0,
            name=fields.node_name(data.get("name")),
            auto_retry_pending=_auto_retry_pending(data),
            ex_data={
                fields.text(key): fields.long_text(value) for key, value in fields.mapping(data.get("ex_data")).items()
            },
            answered_at=answer.answered_at,
            **_common_status(data),
        )


def tasks_status(answer: Answer) -> dict[int, TaskStatus]:
    """Read the answer of ``get_tasks_status`` as status by task id; unknown and foreign ids are not in it.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    return {task_id: status_of_item(answer, item) for task_id, item in tasks_status_items(answer).items()}


def tasks_status_items(answer: Answer) -> dict[int, Mapping[str, Any]]:
    """Return the items of ``get_tasks_status`` by task id, unread, for a caller that compares them before reading them.

    :raises SopsInvalidAnswerError: when it is not a list of objects with ids.
    """
    with fields.reading(answer):
        return {fields.required_id(item.get("id")): item for item in fields.objects_of(answer, answer.data)}


def status_of_item(answer: Answer, item: Mapping[str, Any]) -> TaskStatus:
    """Read one item of ``get_tasks_status``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    status = fields.object_of(answer, item.get("status"))
    with fields.reading(answer):
        common = _common_status(status)
        # the outer fields are the task's own; the inner ones of a CREATED task can be another task's
        common["finish_time"] = common["finish_time"] or fields.parse_time(item.get("finish_time"))
        common["start_time"] = fields.parse_time(item.get("start_time")) or common["start_time"]
        return TaskStatus(
            task_id=fields.required_id(item.get("id")),
            name=fields.text(item.get("name")),
            is_deleted=deleted if isinstance(deleted := item.get("is_deleted"), bool) else None,
            flow_type=fields.word(item.get("flow_type")),
            current_flow=fields.word(item.get("current_flow")),
            task_url=fields.url(item.get("url")),
            answered_at=answer.answered_at,
            **common,
        )


def status_signature(item: Mapping[str, Any], *, with_nodes: bool = False) -> tuple[Any, ...]:
    """Return what has changed when a task's item of ``get_tasks_status`` says something new.

    :param with_nodes: the state of a node is news, too.
    """
    status = fields.mapping(item.get("status"))
    return (
        _node_states(status.get("children")) if with_nodes else (),
        fields.word(status.get("state")),
        # a node that ends is no news, but one that has failed in a paused task
        _failed_ids(status.get("children")) if is_paused_item(item) else (),
        fields.text(status.get("finish_time")),
        fields.text(item.get("finish_time")),
        item.get("is_deleted") is True,
        fields.word(item.get("current_flow")),
    )


def is_paused_item(item: Mapping[str, Any]) -> bool:
    """Tell from an item of ``get_tasks_status`` whether the task is paused: only its nodes say if it has failed."""
    return fields.mapping(item.get("status")).get("state") in _PAUSED


def interventions(answer: Answer) -> dict[int, bool]:
    """Read ``get_tasks_manual_intervention_state`` as: does the task wait for a person, by task id.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    with fields.reading(answer):
        return {
            fields.required_id(item.get("id")): item.get("manual_intervention_required") is True
            for item in fields.objects_of(answer, answer.data)
        }


def _node_states(children: object, depth: int = 0) -> tuple[Any, ...]:
    return tuple(
        (
            fields.text(node_id),
            fields.word(node.get("state")),
            fields.number(node.get("loop")),
            _node_states(node.get("children"), depth + 1),
        )
        for node_id, node in (fields.mapping(children).items() if depth < DEEPEST else ())
        if isinstance(node, dict)
    )


def _failed_ids(children: object, depth: int = 0) -> tuple[str, ...]:
    failed: list[str] = []
    for node_id, node in fields.mapping(children).items() if depth < DEEPEST else ():
        if isinstance(node, dict):
            own = f"{fields.text(node_id)} {fields.text(node.get('version'))}"
            failed += [own] if node.get("state") == TaskState.FAILED.value else []
            failed += _failed_ids(node.get("children"), depth + 1)
    return tuple(failed)


def _common_status(data: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(data.get("state"), str):
        raise ValueError(f"state is {repr_of(data.get('state'))} where a word belongs")
    state, nodes = fields.parse_state(data["state"]), _nodes(data.get("children"))
    if state.is_suspended and any(failed_leaves(nodes)):
        state = TaskState.FAILED  # SOPS shows the pause alone, but it has to be retried or skipped all the same
    return {
        "state": state,
        "raw_state": fields.word(data["state"]),
        "start_time": fields.parse_time(data.get("start_time")),
        "finish_time": fields.parse_time(data.get("finish_time")),
        "elapsed_time": fields.number(data.get("elapsed_time")),
        "nodes": nodes,
    }


def _auto_retry_pending(data: Mapping[str, Any]) -> bool | None:
    """Read whether SOPS will retry a failed node by itself: since 3.33.0 it says so, since 3.31.13 it gives counts."""
    said, counts = data.get("auto_retry_status"), data.get("failed_node_info")
    if isinstance(said, dict):
        return bool(said.get("exist_auto_retry_nodes"))
    if not isinstance(counts, dict):
        return None
    nodes = [fields.mapping(node) for node in counts.values()]
    return any(
        fields.number(node.get("auto_retry_times")) < fields.number(node.get("max_auto_retry_times")) for node in nodes
    )


def _nodes(children: object, depth: int = 0) -> tuple[NodeStatus, ...]:
    if depth >= DEEPEST:
        return ()
    return tuple(
        NodeStatus(
            id=fields.text(node_id),
            name=fields.node_name(node.get("name")),
            state=fields.parse_state(node.get("state")),
            retry=fields.number(node.get("retry")),
            skip=node.get("skip") is True,
            start_time=fields.parse_time(node.get("start_time")),
            finish_time=fields.parse_time(node.get("finish_time")),
            children=_nodes(node.get("children"), depth + 1),
            loop=fields.number(node.get("loop")) or 1,
            error_ignored=node.get("error_ignored") is True,
        )
        for node_id, node in fields.mapping(children).items()
        if isinstance(node, dict)
    )
