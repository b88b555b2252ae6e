# SPDX-License-Identifier: Apache-2.0
"""What the page shows, as plain values for its template: no secret is in it, and nothing that is not known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from airflow_provider_sops.core.diagram.diagram import Diagram, Level, Node, descend, draw, opens
from airflow_provider_sops.core.diagram.shapes import Kind
from airflow_provider_sops.core.models import TaskDetail
from airflow_provider_sops.core.pipeline_tree import Activity, activities, is_password
from airflow_provider_sops.core.redact import MASK
from airflow_provider_sops.core.wait.progress import describe_progress
from airflow_provider_sops.links.sops import is_web_address
from airflow_provider_sops.web import task_page_words as words

if TYPE_CHECKING:
    from airflow_provider_sops.core.task_view import NodeView, TaggedTask, TaskView

#: Room for a node's name: Latin letters in a line, and lines.
_NAME_WIDTH, _NAME_LINES = 15, 2


@dataclass(frozen=True, slots=True)
class Place:
    """What the page shows: which task instance, and which part of its SOPS task."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    #: of another try; ``None``: the present one
    sops_task_id: int | None = None
    #: ids of the subprocesses that are opened, from the outermost on
    stack: tuple[str, ...] = ()
    node_id: str = ""

    def link(self, **changes: Any) -> str:
        """Return the address of another part, relative to the page's own."""
        place = replace(self, **changes)
        query: dict[str, Any] = {"run_id": place.run_id, "task_id": place.task_id, "map_index": place.map_index}
        if place.sops_task_id is not None:
            query["sops_task_id"] = place.sops_task_id
        if place.stack:
            query["subprocess"] = place.stack
        if place.node_id:
            query["node"] = place.node_id
        return f"?{urlencode(query, doseq=True)}"


@dataclass(frozen=True, slots=True)
class Message:
    """Why something is not shown, and what to do."""

    what: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a list of names and values."""

    name: str
    value: str
    #: a longer name, or a name in a program
    note: str = ""


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A node of the picture."""

    node: Node
    look: str
    state: str
    name_lines: list[str]
    counts: list[str]
    href: str
    chosen: bool
    #: address of the subprocess that it is
    opens: str = ""

    @property
    def label(self) -> str:
        """What a screen reader says."""
        shape = self.node.shape
        name = f"{shape.name}, " if shape.name else ""
        return f"{name}{shape.kind}: {', '.join([self.state, *self.counts])}"


@dataclass(frozen=True, slots=True)
class ShownNode:
    """The chosen node."""

    name: str
    facts: list[Fact]
    inputs: list[Fact] = field(default_factory=list)
    outputs: list[Fact] = field(default_factory=list)
    reason: str = ""
    log: tuple[str, ...] = ()
    message: Message | None = None
    opens: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """The diagram, and where it is."""

    diagram: Diagram
    nodes: list[DrawnNode]
    #: name and address of the task and each subprocess on the way to this one
    crumbs: list[tuple[str, str]]
    #: looks and words of the states that it shows
    legend: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Sibling:
    """A SOPS task of this or another try."""

    task_id: int
    name: str
    what: str
    href: str
    chosen: bool


def level_of(view: TaskView, place: Place) -> Level | None:
    """Return the part of a task's tree that is opened; ``None`` where there is none."""
    if view.detail is None:
        return None
    return descend(view.detail.pipeline_tree, view.status.nodes, place.stack)


def picture_of(view: TaskView, level: Level, place: Place) -> Picture:
    """Make the picture."""
    assert view.detail is not None
    diagram = draw(level.tree, level.statuses)
    nodes = [_drawn(node, level, place) for node in diagram.nodes]
    crumbs = [(view.detail.name or str(view.status.task_id), place.link(stack=(), node_id=""))]
    for depth, name in enumerate(level.path, 1):
        crumbs.append((name, place.link(stack=level.stack[:depth], node_id="")))
    return Picture(diagram, nodes, crumbs, list(dict.fromkeys((node.look, node.state) for node in nodes)))


def _drawn(node: Node, level: Level, place: Place) -> DrawnNode:
    look, state = words.state_words(node.status)
    return DrawnNode(
        node,
        look,
        state,
        words.fit(node.shape.name, _NAME_WIDTH, _NAME_LINES),
        words.counts(node.status),
        place.link(node_id=node.shape.id),
        chosen=node.shape.id == place.node_id,
        opens=_opens(node, level, place),
    )


def _opens(node: Node, level: Level, place: Place) -> str:
    if not opens(level.tree, node.shape):
        return ""
    return place.link(stack=(*level.stack, node.shape.id), node_id="")


def activity_of(detail: TaskDetail, node_id: str) -> Activity | None:
    """Find what the tree says of a node that does something."""
    return next((one for one in activities(detail.pipeline_tree) if one.id == node_id), None)


def shown_node(node: Node, level: Level, place: Place, detail: TaskDetail, read: NodeView | Message) -> ShownNode:
    """Make what is shown of the chosen node.

    :param read: what was read of it, or why nothing was.
    """
    status, shape = node.status, node.shape
    facts = [Fact("Kind", shape.kind.value), Fact("State", words.state_words(status)[1])]
    facts += [Fact("Plugin", shape.plugin)] if shape.plugin else []
    facts += [Fact("Node id", shape.id)]
    if status:
        facts += _times(status.start_time, status.finish_time)
        facts += [Fact("Retries", str(status.retry))] if status.retry else []
        facts += [Fact("Loop", str(status.loop))] if status.loop > 1 else []
    shown = ShownNode(shape.name or shape.kind.value, facts, opens=_opens(node, level, place))
    if isinstance(read, Message):
        return replace(shown, message=read)
    secrets = detail.secret_values
    outputs = {str(one.get("key")): one for one in read.detail.outputs}
    return replace(
        shown,
        inputs=_values({key: (value, "") for key, value in read.detail.inputs.items()}, secrets),
        outputs=_values({key: (one.get("value"), str(one.get("name") or "")) for key, one in outputs.items()}, secrets),
        reason=read.reason,
        log=read.log,
    )


def _values(values: Mapping[str, tuple[Any, str]], secrets: list[str]) -> list[Fact]:
    """Make lines of a node's values; what the engine adds itself begins with ``_``."""
    return [
        Fact(words.name_text(key), words.field_text(key, value, secrets), words.name_text(name))
        for key, (value, name) in values.items()
        if not key.startswith("_")
    ]


def facts_of(view: TaskView) -> list[Fact]:
    """Return what is known of a task as a whole."""
    status, detail = view.status, view.detail
    facts = [Fact("SOPS task", str(status.task_id))]
    if detail:
        facts += [Fact("Project", f"{detail.project_name} ({detail.project_id})")] if detail.project_name else []
        facts += [Fact("Created", _by(words.time_text(detail.create_time), detail.creator))]
    start = (detail.start_time if detail else None) or status.start_time
    end = status.finish_time or (detail.finish_time if detail else None)
    facts += _times(start, end, detail.executor if detail else "")
    elapsed = status.elapsed_time or (detail.elapsed_time if detail else 0)
    facts += [Fact("Duration", words.duration_text(elapsed))] if start else []
    return [fact for fact in facts if fact.value]


def _by(when: str, who: str) -> str:
    return f"{when} by {who}" if when and who else when or who


def _times(start: Any, end: Any, who: str = "") -> list[Fact]:
    facts = [Fact("Started", _by(words.time_text(start), who))] if start else []
    return facts + ([Fact("Ended", words.time_text(end))] if end else [])


def inputs_of(detail: TaskDetail) -> list[Fact]:
    """Return the variables of a task that a person sees in SOPS."""
    secrets = detail.secret_values
    return [
        Fact(
            words.name_text(key),
            MASK if is_password(constant) else words.value_text(constant.get("value"), secrets),
            words.name_text(constant.get("name")),
        )
        for key, constant in detail.constants.items()
        if constant.get("show_type") != "hide"
    ]


def outputs_of(detail: TaskDetail) -> list[Fact]:
    """Return the outputs of a task."""
    secrets = detail.secret_values
    passwords = {key for key, constant in detail.constants.items() if is_password(constant)}
    return [
        Fact(
            output.key,
            MASK if output.key in passwords else words.value_text(output.value, secrets),
            output.label,
        )
        for output in detail.outputs
    ]


def progress_of(view: TaskView) -> str:
    """Return the words of the task's own log."""
    return describe_progress(view.status, view.detail)


def address_of(view: TaskView) -> str:
    """Return the address of the task's page in SOPS, if it may be shown."""
    address = (view.detail.task_url if view.detail else "") or view.status.task_url
    return address if is_web_address(address) else ""


def siblings_of(found: Iterable[TaggedTask], shown: int, place: Place) -> list[Sibling]:
    """Return the SOPS tasks of all tries."""
    siblings = []
    for one in found:
        when = words.time_text(one.item.start_time)
        state = "finished" if one.item.is_finished else f"started {when}" if one.item.is_started else "not started"
        run = "" if one.run == 0 else ", before it was cleared"
        siblings.append(
            Sibling(
                one.item.task_id,
                one.item.name,
                f"generation {one.generation}{run}: {state}",
                place.link(sops_task_id=one.item.task_id, stack=(), node_id=""),
                one.item.task_id == shown,
            )
        )
    return siblings


def reads_more(node: Node) -> bool:
    """Return whether SOPS has more to say of a node: starts, ends and gateways do nothing."""
    return node.shape.kind in (Kind.TASK, Kind.SUBPROCESS)
