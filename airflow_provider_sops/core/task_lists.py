# SPDX-License-Identifier: Apache-2.0
"""Lists of tasks, without I/O: as many as are asked for, though SOPS gives them by pages."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.models import TaskListItem, readers
from airflow_provider_sops.core.text import repr_of

#: Most tasks of one answer of ``get_task_list``, whatever its ``limit`` says (measured on SOPS 3.34).
TASKS_PER_PAGE = 200


def list_tasks(
    project: Project, *, limit: int | str | None = None, offset: int | str | None = None, **filters: Any
) -> Flow[list[TaskListItem]]:
    """List tasks, the newest first, page after page.

    :param limit: how many at most; by default as many as SOPS gives without it.
    :param offset: how many to pass over.
    :param filters: further parameters as SOPS names them.
    :raises SopsError: when SOPS gives no good answer.
    :raises SopsConfigError: when a number is none.
    """
    start = _number("offset", offset) if offset is not None else None
    if limit is None:
        return readers.task_list((yield project.call("get_task_list", offset=start, **filters)))
    total, position = _number("limit", limit), start or 0
    found: dict[int, TaskListItem] = {}
    page: list[TaskListItem] = []
    size = min(TASKS_PER_PAGE, total)
    while len(found) < total:
        answer = yield project.call("get_task_list", limit=size, offset=position or None, **filters)
        page, before = readers.task_list(answer), page
        # a task that was created meanwhile moves the others, so that some are seen twice
        found |= {item.task_id: item for item in page}
        position += len(page)
        count = _count(answer)
        if not page or page == before or (len(page) < size if count is None else position >= count):
            break
    return list(found.values())[:total]


def count_tasks(project: Project, **filters: Any) -> Flow[int]:
    """Count tasks.

    :param filters: parameters of ``get_task_list`` as SOPS names them.
    :raises SopsError: when SOPS gives no good answer.
    """
    answer = yield project.call("get_task_list", **{**filters, "limit": 1, "offset": None, "without_count": None})
    count = _count(answer)
    if count is None:
        raise answer.wrong(f"count is {answer.body.get('count')!r} where a number belongs")
    return count


def count_named(project: Project, part: str) -> Flow[int]:
    """Count the tasks that have a text in their names; every SOPS can, also one that has no ``get_task_list``.

    A number above 0 proves little, since a SOPS may drop the condition; 0 proves that there is none, once it has been
    seen that a task of that name is counted.

    :param part: the text; letters and digits.
    :raises SopsError: when SOPS gives no good answer.
    """
    conditions = {"pipeline_instance__name__contains": part}  # handed on to SOPS' database as it is
    answer = yield project.call("query_task_count", group_by="status", conditions=conditions)
    total = answer.data.get("total") if isinstance(answer.data, dict) else None
    if not isinstance(total, int) or isinstance(total, bool) or total < 0:
        raise answer.wrong(f"total is {repr_of(total)} where a number belongs")
    return total


def _count(answer: Answer) -> int | None:
    """Read how many tasks there are in all; ``None`` where SOPS was asked not to count."""
    count = answer.body.get("count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _number(name: str, value: int | str) -> int:
    text = str(value).strip()
    if isinstance(value, int | str) and not isinstance(value, bool) and text.isascii() and text.isdigit():
        return int(text)
    raise SopsConfigError(name, f"must be a whole number, 0 or more, not {value!r}")
