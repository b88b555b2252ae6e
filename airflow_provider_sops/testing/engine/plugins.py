# SPDX-License-Identifier: Apache-2.0
"""What the plugins of nodes do: how long they run, and what comes of it. Values of variables are by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_sops.testing.engine.node import Node
from airflow_provider_sops.testing.templates.variables import render


def inputs_of(node: Node, values: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with which a node's plugin runs."""
    given = node.given_inputs
    if given is None:
        data = node.spec.data["component"].get("data") or {}
        given = {key: item["value"] for key, item in data.items()}
    return {key: render(value, values) for key, value in given.items()}


def run(node: Node, at: float, values: Mapping[str, Any]) -> float:
    """Let a plugin run that ends by itself.

    :return: the seconds until its end.
    """
    seconds = node.spec.behaviour.seconds
    if node.plugin == "sleep_timer":
        timing = node.inputs.get("bk_timing")
        node.outputs |= {"business_tz": "Asia/Shanghai", "timing_time": at + _number(timing)}
        seconds = timing if seconds is None else seconds
    return _number(render(seconds, values))


def fails(node: Node) -> bool:
    """Whether this run of a node fails."""
    behaviour = node.spec.behaviour
    if behaviour.fail_unless is not None:
        return any(node.inputs.get(key) != value for key, value in behaviour.fail_unless.items())
    return behaviour.fail is None or node.runs <= behaviour.fail


def _number(value: Any) -> float:
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return 0.0
