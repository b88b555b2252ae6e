# SPDX-License-Identifier: Apache-2.0
"""The way out of an exclusive gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_sops.testing.engine.node import Node
from airflow_provider_sops.testing.templates.variables import render


def choose_way(node: Node, values: Mapping[str, Any]) -> str | None:
    """The flow by which an exclusive gateway is left: the first whose condition holds, else the default one.

    Only comparisons of plain values are evaluated; of a gateway with others the first way counts.

    :param values: those of variables by key.
    :return: a flow of the template; None: no condition holds.
    """
    ways, flows = node.spec.ways, node.pipeline.graph.tree["flows"]
    default = next((flow for flow in ways if flows[flow].get("is_default")), None)
    held = {
        flow: _holds(str(render(condition.get("evaluate", ""), values)))
        for flow, condition in (node.spec.data.get("conditions") or {}).items()
        if flow in ways and flow != default
    }
    true = next((flow for flow, holds in held.items() if holds), default)
    if true is not None or (held and None not in held.values()):
        return true
    return next(iter(ways))


def _holds(condition: str) -> bool | None:
    """Whether a comparison of plain values holds; None: it is none."""
    match = re.fullmatch(r"\s*(.+?)\s*(==|!=)\s*(.+?)\s*", condition)
    if match is None:
        return None
    left, sign, right = match.groups()
    return (left.strip("'\"") == right.strip("'\"")) is (sign == "==")
