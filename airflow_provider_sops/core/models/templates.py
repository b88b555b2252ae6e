# SPDX-License-Identifier: Apache-2.0
"""Templates, and the list of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core.models import fields
from airflow_provider_sops.core.pipeline_tree import is_password

if TYPE_CHECKING:
    import pendulum

    from airflow_provider_sops.core.api.answer import Answer


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
        return [key for key, constant in constants if isinstance(constant, dict) and is_password(constant)]


def template_list(answer: Answer) -> list[TemplateListItem]:
    """Read the answer of ``get_template_list``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    items = []
    for item in fields.objects_of(answer, answer.data):
        with fields.reading(answer):
            items.append(
                TemplateListItem(
                    template_id=fields.required_id(item.get("id")),
                    name=fields.text(item.get("name")),
                    category=fields.text(item.get("category")),
                    creator=fields.text(item.get("creator")),
                    create_time=fields.parse_time(item.get("create_time")),
                    edit_time=fields.parse_time(item.get("edit_time")),
                )
            )
    return items


def template(answer: Answer) -> Template:
    """Read the answer of ``get_template_info``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    data = fields.object_of(answer, answer.data)
    with fields.reading(answer):
        return Template(
            template_id=fields.required_id(data.get("id")),
            name=fields.text(data.get("name")),
            pipeline_tree=fields.mapping(data.get("pipeline_tree")),
        )
