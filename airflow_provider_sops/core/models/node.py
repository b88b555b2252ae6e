# SPDX-License-Identifier: Apache-2.0
"""The description of one node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core.models import fields
from airflow_provider_sops.core.states import TaskState

if TYPE_CHECKING:
    from airflow_provider_sops.core.api.answer import Answer


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


def node_detail(answer: Answer) -> NodeDetail:
    """Read the answer of ``get_task_node_detail``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    data = fields.object_of(answer, answer.data)
    outputs = data.get("outputs")
    with fields.reading(answer):
        return NodeDetail(
            node_id=fields.text(data.get("id")),
            state=fields.parse_state(data.get("state")),
            inputs=fields.mapping(data.get("inputs")),
            outputs=tuple(item for item in outputs if isinstance(item, dict)) if isinstance(outputs, list) else (),
            ex_data=fields.long_text(data.get("ex_data")),
            retry=fields.number(data.get("retry")),
            version=fields.text(data.get("version")),
        )
