# SPDX-License-Identifier: Apache-2.0
"""The list of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_sops.core.models import fields

if TYPE_CHECKING:
    import pendulum

    from airflow_provider_sops.core.api.answer import Answer


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
    #: ``project``, ``common`` or ``onetime``; empty where SOPS does not say it
    template_source: str = ""


def task_list(answer: Answer) -> list[TaskListItem]:
    """Read the answer of ``get_task_list``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    items = []
    for item in fields.objects_of(answer, answer.data):
        with fields.reading(answer):
            items.append(
                TaskListItem(
                    task_id=fields.required_id(item.get("id")),
                    name=fields.text(item.get("name")),
                    create_method=fields.text(item.get("create_method")),
                    start_time=fields.parse_time(item.get("start_time")),
                    finish_time=fields.parse_time(item.get("finish_time")),
                    is_started=item.get("is_started") is True,
                    is_finished=item.get("is_finished") is True,
                    is_child_taskflow=item.get("is_child_taskflow") is True,
                    template_id=fields.optional_id(item.get("template_id")),
                    creator=fields.text(item.get("creator")),
                    executor=fields.text(item.get("executor")),
                    template_source=fields.text(item.get("template_source")),
                )
            )
    return items
