# SPDX-License-Identifier: Apache-2.0
"""The shapes of a diagram: kinds of nodes, and how large SOPS draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_provider_sops.core.text import text_of


class Kind(StrEnum):
    """What a node is."""

    START = "start"
    END = "end"
    TASK = "task"
    SUBPROCESS = "subprocess"
    EXCLUSIVE = "exclusive gateway"
    PARALLEL = "parallel gateway"
    CONDITIONAL = "conditional parallel gateway"
    CONVERGE = "converge gateway"

    @property
    def is_gateway(self) -> bool:
        """Whether it only leads on."""
        return self in _GATEWAYS

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a node, in the units of ``location``.

        SOPS aligns nodes by their middles, which gives the heights: on one line stand tasks at y = 100, starts and ends
        at 105 and gateways at 110 (recorded from SOPS 3.34).
        """
        if self in (Kind.START, Kind.END):
            return (44, 44)
        return (34, 34) if self.is_gateway else (150, 54)


_GATEWAYS = frozenset({Kind.EXCLUSIVE, Kind.PARALLEL, Kind.CONDITIONAL, Kind.CONVERGE})
#: By ``type`` of a node, and by ``type`` of its ``location``.
_KINDS = {
    "EmptyStartEvent": Kind.START,
    "EmptyEndEvent": Kind.END,
    "ServiceActivity": Kind.TASK,
    "SubProcess": Kind.SUBPROCESS,
    "ExclusiveGateway": Kind.EXCLUSIVE,
    "ParallelGateway": Kind.PARALLEL,
    "ConditionalParallelGateway": Kind.CONDITIONAL,
    "ConvergeGateway": Kind.CONVERGE,
    "startpoint": Kind.START,
    "endpoint": Kind.END,
    "tasknode": Kind.TASK,
    "subflow": Kind.SUBPROCESS,
    "branchgateway": Kind.EXCLUSIVE,
    "parallelgateway": Kind.PARALLEL,
    "conditionalparallelgateway": Kind.CONDITIONAL,
    "convergegateway": Kind.CONVERGE,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A node of a tree, before it is known where it stands."""

    id: str
    kind: Kind
    name: str
    #: code of the plugin that it runs
    plugin: str = ""


def kind_of(word: object) -> Kind:
    """Return the kind that SOPS' word for a node or its place means; what is not known is drawn as a task."""
    return _KINDS.get(word, Kind.TASK) if isinstance(word, str) else Kind.TASK


def shapes(tree: Mapping[str, Any]) -> Iterator[Shape]:
    """Give the nodes of a pipeline tree, those in subprocesses left out."""
    for event in ("start_event", "end_event"):
        node = tree.get(event)
        if isinstance(node, Mapping) and node.get("id"):
            yield Shape(text_of(node["id"]), kind_of(node.get("type")), text_of(node.get("name")))
    for part in ("activities", "gateways"):
        for node_id, node in dicts(tree.get(part)):
            component = node.get("component")
            code = component.get("code") if isinstance(component, Mapping) else None
            yield Shape(node_id, kind_of(node.get("type")), text_of(node.get("name")), text_of(code))


def dicts(found: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the objects of an object, each with its key; anything else is passed over."""
    for key, value in found.items() if isinstance(found, Mapping) else ():
        if isinstance(value, Mapping):
            yield text_of(key), value


def objects(found: object) -> Iterator[Mapping[str, Any]]:
    """Give the objects of a list; anything else is passed over."""
    yield from (value for value in (found if isinstance(found, list) else ()) if isinstance(value, Mapping))
