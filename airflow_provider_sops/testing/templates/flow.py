# SPDX-License-Identifier: Apache-2.0
"""The flow of a template file: nodes in a row, lists of parallel branches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_sops.testing.templates.ids import line_id, node_id


class FlowBuilder:
    """Connects nodes: a sequence of keys, where a list stands for parallel branches.

    :param nodes: activities by key; they are given their flows.
    """

    def __init__(self, template_id: int, nodes: Mapping[str, dict[str, Any]]) -> None:
        self._template_id = template_id
        self._nodes = nodes
        self._flows: dict[str, Any] = {}
        self._gateways: dict[str, Any] = {}

    def build(self, sequence: Sequence[Any]) -> dict[str, Any]:
        """Return a tree without its activities."""
        start = self._node("^", "EmptyStartEvent", "", "")
        end = self._node("$", "EmptyEndEvent", [], "")
        self._connect(self._sequence(start, sequence), end)
        return {"start_event": start, "end_event": end, "gateways": self._gateways, "flows": self._flows}

    def _sequence(self, before: dict[str, Any], sequence: Iterable[Any]) -> dict[str, Any]:
        for item in sequence:
            if isinstance(item, str):
                self._connect(before, self._nodes[item])
                before = self._nodes[item]
            else:
                before = self._parallel(before, item)
        return before

    def _parallel(self, before: dict[str, Any], branches: Sequence[Any]) -> dict[str, Any]:
        number = len(self._gateways)
        fork = self._node(f"fork{number}", "ParallelGateway", [], [])
        join = self._node(f"join{number}", "ConvergeGateway", [], "")
        fork["converge_gateway_id"] = join["id"]
        self._gateways |= {fork["id"]: fork, join["id"]: join}
        self._connect(before, fork)
        for branch in branches:
            self._connect(self._sequence(fork, [branch] if isinstance(branch, str) else branch), join)
        return join

    def _node(self, name: str, kind: str, incoming: Any, outgoing: Any) -> dict[str, Any]:
        own_id = node_id(self._template_id, name)
        return {"id": own_id, "name": "", "type": kind, "incoming": incoming, "outgoing": outgoing, "labels": []}

    def _connect(self, source: dict[str, Any], target: dict[str, Any]) -> None:
        flow = line_id(self._template_id, source["id"], target["id"])
        self._flows[flow] = {"id": flow, "is_default": False, "source": source["id"], "target": target["id"]}
        if isinstance(source["outgoing"], list):
            source["outgoing"].append(flow)
        else:
            source["outgoing"] = flow
        target["incoming"].append(flow)
