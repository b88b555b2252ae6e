# SPDX-License-Identifier: Apache-2.0
"""Values of variables while a task runs."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.testing.engine.node import Pipeline
from airflow_provider_sops.testing.templates.variables import render


def values_of(pipeline: Pipeline) -> dict[str, Any]:
    """Values of a pipeline's variables by key, as far as they are known."""
    put_out = {node.spec.id: node.outputs for node in pipeline.nodes.values()}
    known: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for key, constant in pipeline.graph.constants.items():
        if constant["source_type"] == "component_outputs":
            for template_id, (output, *_) in constant["source_info"].items():
                if output in put_out.get(template_id, ()):
                    known[key] = put_out[template_id][output]
        else:
            given[key] = pipeline.constants[key]
    for _ in given:  # constants may refer to constants
        before = known
        known = before | {key: render(value, before) for key, value in given.items()}
        if known == before:
            break
    return known


def outputs_of(pipeline: Pipeline) -> dict[str, Any]:
    """Values of a pipeline's outputs by key; the key itself if the node that makes it never put it out."""
    values = values_of(pipeline)
    return {key: values.get(key, key) for key in pipeline.graph.tree["outputs"] if key in pipeline.graph.constants}
