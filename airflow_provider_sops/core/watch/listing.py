# SPDX-License-Identifier: Apache-2.0
"""Finding the tasks to watch in ``get_task_list``, which gives the newest first, by pages, and knows no end times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.models import TaskListItem, readers
from airflow_provider_sops.core.task_lists import TASKS_PER_PAGE
from airflow_provider_sops.core.watch.watch_memory import LONGEST_WATCH

#: Most tasks that a first start looks at.
MOST_AT_START = 10_000


def list_above(project: Project, params: dict[str, Any], horizon: int) -> Flow[list[TaskListItem]]:
    """List the tasks whose ids are above a horizon.

    :param params: filters of ``get_task_list``.
    :raises SopsError: when SOPS gives no good answer.
    """
    items = yield from _list_while(project, params, lambda page: min(item.task_id for item in page) > horizon)
    return [item for item in items if item.task_id > horizon]


def list_newest(project: Project, params: dict[str, Any]) -> Flow[tuple[int, float | None]]:
    """Return the id of the newest task, 0 where there is none, and SOPS' time (seconds since the epoch) if it says it.

    :raises SopsError: when SOPS gives no good answer.
    """
    answer = yield project.call("get_task_list", limit=1, without_count=True, **params)
    return max((item.task_id for item in readers.task_list(answer)), default=0), answer.answered_at


def list_candidates(
    project: Project, params: dict[str, Any], since: datetime | None, now: float
) -> Flow[list[TaskListItem]]:
    """List the tasks that may yet be announced at a first start: those started up to 30 days before.

    :param since: announce ends from then on, so that tasks that have finished since are listed too; the list does not
        tell when a task was revoked or has failed. ``None``: tasks that have not finished.
    :param now: seconds since the epoch.
    :raises SopsError: when SOPS gives no good answer.
    """
    earliest = (now if since is None else since.timestamp()) - LONGEST_WATCH

    def goes_on(page: list[TaskListItem]) -> bool:
        started = [item.start_time.timestamp() for item in page if item.start_time is not None]
        return not started or max(started) >= earliest

    items = yield from _list_while(project, params, goes_on, most=MOST_AT_START)
    return [item for item in items if not item.is_finished or (since is not None and _finished_since(item, since))]


def _finished_since(item: TaskListItem, since: datetime) -> bool:
    return item.finish_time is None or item.finish_time >= since


def _list_while(
    project: Project,
    params: dict[str, Any],
    goes_on: Callable[[list[TaskListItem]], bool],
    most: int | None = None,
) -> Flow[list[TaskListItem]]:
    found: dict[int, TaskListItem] = {}
    offset = 0
    while most is None or len(found) < most:
        answer = yield project.call(
            "get_task_list", limit=TASKS_PER_PAGE, offset=offset or None, without_count=True, **params
        )
        page = readers.task_list(answer)
        news = [item for item in page if item.task_id not in found]
        found |= {item.task_id: item for item in page}
        offset += len(page)
        # a page without news comes of a SOPS that does not know the offset
        if len(page) < TASKS_PER_PAGE or not news or not goes_on(page):
            break
    return list(found.values())
