# SPDX-License-Identifier: Apache-2.0
"""SOPS' answers as typed, frozen objects: one model out of both generations of servers.

Old servers write ``end_time``, ``business_id``, ``instance_name`` and times without an offset, which are UTC; current
ones write ``finish_time``, ``project_id``, ``name`` and times like ``2026-11-22 21:03:25 +0800``. An empty string,
``null`` and a missing field all mean "not yet" (measured on SOPS 3.34, and the documented sample of the old answer).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core.redact import secret_texts
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.text import DEEPEST, LONGEST_WORD, fits, read_int, repr_of, text_of
from airflow_provider_sops.core.variables import bare_name

if TYPE_CHECKING:
    import pendulum

    from airflow_provider_sops.core.api.answer import Answer


_LONGEST_URL = 2000
_LONGEST_TIME = 64
#: Years of which a time can be moved into any time zone.
_YEARS = range(1900, 9000)
_WORDS = {state.value: state for state in TaskState if state not in (TaskState.ENDED, TaskState.UNKNOWN)}
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

    def walk(self) -> Iterator[tuple[NodeStatus, tuple[NodeStatus, ...]]]:
        """Give this node and all below it, each with its ancestors from the outermost on."""
        yield from _walk(self, ())


def failed_leaves(nodes: Iterable[NodeStatus]) -> Iterator[tuple[NodeStatus, tuple[NodeStatus, ...]]]:
    """Give the failed nodes that are no subprocesses, each with the subprocesses it stands in."""
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


@dataclass(frozen=True, slots=True)
class Output:
    """One output variable of a finished task; ``name`` without dress, ``label`` as people see it in SOPS."""

    key: str
    name: str
    value: Any = field(repr=False)
    label: str = ""


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """A task as ``get_task_detail`` describes it. It has no state: see :class:`TaskStatus`."""

    task_id: int
    name: str
    project_id: int | None
    project_name: str
    template_id: int | None
    create_time: pendulum.DateTime | None
    start_time: pendulum.DateTime | None
    finish_time: pendulum.DateTime | None
    elapsed_time: int
    creator: str
    executor: str
    create_method: str
    task_url: str
    outputs: tuple[Output, ...]
    constants: Mapping[str, Mapping[str, Any]] = field(repr=False)
    pipeline_tree: Mapping[str, Any] = field(repr=False)

    @property
    def secret_values(self) -> list[str]:
        """Values of password variables, those of subprocesses too, to be masked in logs."""
        variables = [*self.constants.items(), *_constants(self.pipeline_tree)]
        passwords = {bare_name(key) for key, constant in variables if _is_password(constant)}
        values = [constant.get("value") for key, constant in variables if bare_name(key) in passwords]
        values += [output.value for output in self.outputs if output.name in passwords]
        return secret_texts(values)


@dataclass(frozen=True, slots=True)
class TaskListItem:
    """One task of ``get_task_list``. ``is_finished`` stays false for ever on a revoked task."""

    task_id: int
    name: str
    create_method: str
    start_time: pendulum.DateTime | None
    finish_time: pendulum.DateTime | None
    is_started: bool
    is_finished: bool
    is_child_taskflow: bool
    template_id: int | None
    creator: str
    executor: str


@dataclass(frozen=True, slots=True)
class TemplateListItem:
    """One template of ``get_template_list``."""

    template_id: int
    name: str
    category: str
    creator: str
    create_time: pendulum.DateTime | None
    edit_time: pendulum.DateTime | None


@dataclass(frozen=True, slots=True)
class Template:
    """A template as ``get_template_info`` describes it."""

    template_id: int
    name: str
    pipeline_tree: Mapping[str, Any] = field(repr=False)

    @property
    def constants(self) -> Mapping[str, Mapping[str, Any]]:
        """The template's variables by key, e.g. ``${IP}``."""
        constants = self.pipeline_tree.get("constants")
        return constants if isinstance(constants, dict) else {}

    @property
    def secret_keys(self) -> list[str]:
        """Keys of the password variables."""
        constants = self.constants.items()
        return [key for key, constant in constants if isinstance(constant, dict) and _is_password(constant)]


@dataclass(frozen=True, slots=True)
class CreatedTask:
    """What ``create_task`` made: a task that does nothing until it is started."""

    task_id: int
    task_url: str
    pipeline_tree: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NodeDetail:
    """A node as ``get_task_node_detail`` describes it."""

    node_id: str
    state: TaskState
    inputs: Mapping[str, Any] = field(repr=False)
    outputs: tuple[Mapping[str, Any], ...] = field(repr=False)
    ex_data: str = ""
    retry: int = 0
    version: str = ""


def parse_time(value: object) -> pendulum.DateTime | None:
    """Read a time of SOPS; one without an offset is UTC, an empty one is not yet known.

    :raises ValueError: when it is neither empty nor a time.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"a time must be a string, not {repr_of(value)}")
    if len(value) > _LONGEST_TIME:
        raise ValueError(f"not a time: {repr_of(value)}")
    return _parse_time(value)


@lru_cache(maxsize=1024)  # a wait reads the same times again and again
def _parse_time(value: str) -> pendulum.DateTime:
    import pendulum

    text = value.strip()
    head, _, offset = text.rpartition(" ")
    if head and offset[:1] in ("+", "-"):  # "2026-11-22 21:03:25 +0800"
        text = head + offset
    try:
        moment = pendulum.parse(text, tz="UTC")
    except (ValueError, OverflowError, TypeError, AttributeError):  # all of which pendulum raises, quoting the text
        raise ValueError(f"not a time: {value!r}") from None
    # a time of day would be taken for today's
    if not isinstance(moment, pendulum.DateTime) or text[4:5] != "-" or moment.year not in _YEARS:
        raise ValueError(f"not a time: {value!r}")
    return moment


def parse_state(word: object) -> TaskState:
    """Read a state's word; one that is not known gives :attr:`TaskState.UNKNOWN`."""
    return _WORDS.get(word, TaskState.UNKNOWN) if isinstance(word, str) else TaskState.UNKNOWN


def task_status(answer: Answer) -> TaskStatus:
    """Read the answer of ``get_task_status``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    data = _object(answer, answer.data)
    with _shape(answer):
        return TaskStatus(
            task_id=answer.call.task_id or 0,
            name=_name(data.get("name")),
            auto_retry_pending=_auto_retry_pending(data),
            ex_data={_text(key): _long_text(value) for key, value in _dict(data.get("ex_data")).items()},
            answered_at=answer.answered_at,
            **_common_status(data),
        )


def tasks_status(answer: Answer) -> dict[int, TaskStatus]:
    """Read the answer of ``get_tasks_status`` as status by task id; unknown and foreign ids are not in it.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    return {task_id: status_of_item(answer, item) for task_id, item in tasks_status_items(answer).items()}


def tasks_status_items(answer: Answer) -> dict[int, Mapping[str, Any]]:
    """Give the items of ``get_tasks_status`` by task id, unread, for who compares them before reading them.

    :raises SopsInvalidAnswerError: when it is not a list of objects with ids.
    """
    with _shape(answer):
        return {_required_id(item.get("id")): item for item in _objects(answer, answer.data)}


def status_signature(item: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give what has changed when a task's item of ``get_tasks_status`` says something new."""
    status = _dict(item.get("status"))
    return (
        _word(status.get("state")),
        # a node that ends is no news, but one that has failed in a paused task
        _failed_ids(status.get("children")) if is_paused_item(item) else (),
        _text(status.get("finish_time")),
        _text(item.get("finish_time")),
        item.get("is_deleted") is True,
        _word(item.get("current_flow")),
    )


def is_paused_item(item: Mapping[str, Any]) -> bool:
    """Tell from an item of ``get_tasks_status`` whether the task is paused: only its nodes say if it has failed."""
    return _dict(item.get("status")).get("state") in _PAUSED


def _failed_ids(children: object, depth: int = 0) -> tuple[str, ...]:
    failed: list[str] = []
    for node_id, node in _dict(children).items() if depth < DEEPEST else ():
        if isinstance(node, dict):
            own = f"{_text(node_id)} {_text(node.get('version'))}"
            failed += [own] if node.get("state") == TaskState.FAILED.value else []
            failed += _failed_ids(node.get("children"), depth + 1)
    return tuple(failed)


def status_of_item(answer: Answer, item: Mapping[str, Any]) -> TaskStatus:
    """Read one item of ``get_tasks_status``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    status = _object(answer, item.get("status"))
    with _shape(answer):
        fields = _common_status(status)
        # the outer fields are the task's own; the inner ones of a CREATED task can be another task's
        fields["finish_time"] = fields["finish_time"] or parse_time(item.get("finish_time"))
        fields["start_time"] = parse_time(item.get("start_time")) or fields["start_time"]
        return TaskStatus(
            task_id=_required_id(item.get("id")),
            name=_text(item.get("name")),
            is_deleted=deleted if isinstance(deleted := item.get("is_deleted"), bool) else None,
            flow_type=_word(item.get("flow_type")),
            current_flow=_word(item.get("current_flow")),
            task_url=_url(item.get("url")),
            answered_at=answer.answered_at,
            **fields,
        )


def task_detail(answer: Answer) -> TaskDetail:
    """Read the answer of ``get_task_detail``, of an old server or a current one.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    data = _object(answer, answer.data)
    outputs = data.get("outputs")
    if outputs is None:
        outputs = []
    if not isinstance(outputs, list):
        raise answer.wrong(f"outputs is {type(outputs).__name__} where a list belongs")
    with _shape(answer):
        return TaskDetail(
            task_id=_required_id(data.get("id")),
            name=_text(data.get("name", data.get("instance_name"))),
            project_id=_id(data.get("project_id", data.get("business_id"))),
            project_name=_text(data.get("project_name", data.get("business_name"))),
            template_id=_id(data.get("template_id")),
            create_time=parse_time(data.get("create_time")),
            start_time=parse_time(data.get("start_time")),
            finish_time=parse_time(data.get("finish_time") or data.get("end_time")),
            elapsed_time=_seconds(data.get("elapsed_time")),
            creator=_text(data.get("creator")),
            executor=_text(data.get("executor")),
            create_method=_text(data.get("create_method")),
            task_url=_url(data.get("task_url")),
            outputs=tuple(_output(item) for item in outputs),
            constants={
                _text(key): value for key, value in _dict(data.get("constants")).items() if isinstance(value, dict)
            },
            pipeline_tree=_dict(data.get("pipeline_tree")),
        )


def status_from_detail(detail: TaskDetail) -> TaskStatus:
    """Say what a detail tells of a task's state, which is little.

    Outputs prove FINISHED (measured on SOPS 3.34: they are there on finished tasks only); an end time without outputs
    is :attr:`TaskState.ENDED`; a task without end time counts as CREATED or RUNNING, though it may have failed.
    """
    if detail.finish_time is not None:
        state = TaskState.FINISHED if detail.outputs else TaskState.ENDED
    elif detail.outputs:
        state = TaskState.FINISHED  # the outputs may be there a moment before the end time
    else:
        state = TaskState.RUNNING if detail.start_time is not None else TaskState.CREATED
    return TaskStatus(
        task_id=detail.task_id,
        state=state,
        raw_state="",
        name=detail.name,
        start_time=detail.start_time,
        finish_time=detail.finish_time,
        elapsed_time=detail.elapsed_time,
        task_url=detail.task_url,
    )


def task_list(answer: Answer) -> list[TaskListItem]:
    """Read the answer of ``get_task_list``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    items = []
    for item in _objects(answer, answer.data):
        with _shape(answer):
            items.append(
                TaskListItem(
                    task_id=_required_id(item.get("id")),
                    name=_text(item.get("name")),
                    create_method=_text(item.get("create_method")),
                    start_time=parse_time(item.get("start_time")),
                    finish_time=parse_time(item.get("finish_time")),
                    is_started=item.get("is_started") is True,
                    is_finished=item.get("is_finished") is True,
                    is_child_taskflow=item.get("is_child_taskflow") is True,
                    template_id=_id(item.get("template_id")),
                    creator=_text(item.get("creator")),
                    executor=_text(item.get("executor")),
                )
            )
    return items


def template_list(answer: Answer) -> list[TemplateListItem]:
    """Read the answer of ``get_template_list``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    items = []
    for item in _objects(answer, answer.data):
        with _shape(answer):
            items.append(
                TemplateListItem(
                    template_id=_required_id(item.get("id")),
                    name=_text(item.get("name")),
                    category=_text(item.get("category")),
                    creator=_text(item.get("creator")),
                    create_time=parse_time(item.get("create_time")),
                    edit_time=parse_time(item.get("edit_time")),
                )
            )
    return items


def template(answer: Answer) -> Template:
    """Read the answer of ``get_template_info``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    data = _object(answer, answer.data)
    with _shape(answer):
        return Template(
            template_id=_required_id(data.get("id")),
            name=_text(data.get("name")),
            pipeline_tree=_dict(data.get("pipeline_tree")),
        )


def created_task(answer: Answer) -> CreatedTask:
    """Read the answer of ``create_task``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    data = _object(answer, answer.data)
    with _shape(answer):
        return CreatedTask(
            task_id=_required_id(data.get("task_id")),
            task_url=_url(data.get("task_url")),
            pipeline_tree=_dict(data.get("pipeline_tree")),
        )


def node_detail(answer: Answer) -> NodeDetail:
    """Read the answer of ``get_task_node_detail``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    data = _object(answer, answer.data)
    outputs = data.get("outputs")
    with _shape(answer):
        return NodeDetail(
            node_id=_text(data.get("id")),
            state=parse_state(data.get("state")),
            inputs=_dict(data.get("inputs")),
            outputs=tuple(item for item in outputs if isinstance(item, dict)) if isinstance(outputs, list) else (),
            ex_data=_long_text(data.get("ex_data")),
            retry=_seconds(data.get("retry")),
            version=_text(data.get("version")),
        )


def interventions(answer: Answer) -> dict[int, bool]:
    """Read ``get_tasks_manual_intervention_state`` as: does the task wait for a person, by task id.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    with _shape(answer):
        return {
            _required_id(item.get("id")): item.get("manual_intervention_required") is True
            for item in _objects(answer, answer.data)
        }


class _shape:
    """Turns the errors of reading wrong types into the one error that says so."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError | TypeError | AttributeError | ArithmeticError | RecursionError):
            raise self.answer.wrong(str(error)) from error


def _common_status(data: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(data.get("state"), str):
        raise ValueError(f"state is {repr_of(data.get('state'))} where a word belongs")
    state, nodes = parse_state(data["state"]), _nodes(data.get("children"))
    if state.is_suspended and any(failed_leaves(nodes)):
        state = TaskState.FAILED  # SOPS shows the pause alone, but it has to be retried or skipped all the same
    return {
        "state": state,
        "raw_state": _word(data["state"]),
        "start_time": parse_time(data.get("start_time")),
        "finish_time": parse_time(data.get("finish_time")),
        "elapsed_time": _seconds(data.get("elapsed_time")),
        "nodes": nodes,
    }


def _auto_retry_pending(data: Mapping[str, Any]) -> bool | None:
    """Read whether SOPS will retry a failed node by itself: since 3.33.0 it says so, since 3.31.13 it gives counts."""
    said, counts = data.get("auto_retry_status"), data.get("failed_node_info")
    if isinstance(said, dict):
        return bool(said.get("exist_auto_retry_nodes"))
    if not isinstance(counts, dict):
        return None
    nodes = [_dict(node) for node in counts.values()]
    return any(_seconds(node.get("auto_retry_times")) < _seconds(node.get("max_auto_retry_times")) for node in nodes)


def _nodes(children: object, depth: int = 0) -> tuple[NodeStatus, ...]:
    if depth >= DEEPEST:
        return ()
    return tuple(
        NodeStatus(
            id=_text(node_id),
            name=_name(node.get("name")),
            state=parse_state(node.get("state")),
            retry=_seconds(node.get("retry")),
            skip=node.get("skip") is True,
            start_time=parse_time(node.get("start_time")),
            finish_time=parse_time(node.get("finish_time")),
            children=_nodes(node.get("children"), depth + 1),
        )
        for node_id, node in _dict(children).items()
        if isinstance(node, dict)
    )


def _output(item: object) -> Output:
    if not isinstance(item, dict) or not isinstance(item.get("key"), str) or "value" not in item:
        raise ValueError(f"an output is not an object with key and value but {type(item).__name__}")
    key = _text(item["key"])
    return Output(key, bare_name(key), item["value"], _text(item.get("name")))


def _constants(tree: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the variables of a pipeline tree and of the subprocesses in it."""
    waiting: list[object] = [tree]
    while waiting:
        one = _dict(waiting.pop())
        for key, constant in _dict(one.get("constants")).items():
            if isinstance(constant, dict):
                yield _text(key), constant
        waiting += [_dict(node).get("pipeline") for node in _dict(one.get("activities")).values()]


def _is_password(constant: Mapping[str, Any]) -> bool:
    return constant.get("custom_type") == "password" or "password" in _text(constant.get("source_tag"))


def _object(answer: Answer, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise answer.wrong(f"{type(value).__name__} where an object belongs")
    return value


def _objects(answer: Answer, value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise answer.wrong(f"data is {type(value).__name__} where a list belongs")
    return [_object(answer, item) for item in value]


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: object) -> str:
    """Read one of few words; thousands of waits keep it, and share it."""
    return sys.intern(text_of(value, LONGEST_WORD))


def _text(value: object) -> str:
    """Read a name or the like."""
    return text_of(value)


def _name(value: object) -> str:
    """Read a name in a status; before SOPS 3.6.46 what has none there is named after its class in the engine."""
    name = _text(value)
    return "" if name.startswith("<class '") else name


def _long_text(value: object) -> str:
    """Read a text that is cut later, when the secrets in it are masked."""
    return text_of(value, None)


def _url(value: object) -> str:
    """Read an address; half of one leads nowhere."""
    url = text_of(value, None)
    return url if len(url) <= _LONGEST_URL else ""


def _id(value: object) -> int | None:
    """Read an id that is an int here and a string there, and ``""`` or ``null`` where there is none."""
    if value is None or value == "":
        return None
    return _required_id(value)


def _required_id(value: object) -> int:
    number = read_int(value)
    if number is None:
        raise ValueError(f"an id is {repr_of(value)}")
    return number


def _seconds(value: object) -> int:
    """Read a number that only decorates; what is none counts as 0."""
    if not isinstance(value, int | float) or (isinstance(value, float) and not math.isfinite(value)):
        return 0
    return int(value) if fits(int(value)) else 0
