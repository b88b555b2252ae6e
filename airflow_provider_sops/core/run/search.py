# SPDX-License-Identifier: Apache-2.0
"""Searching for the SOPS tasks that the tries of one Airflow task have created, and electing the one that counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow, LogLine
from airflow_provider_sops.core.errors import perhaps_missing
from airflow_provider_sops.core.models import TaskListItem
from airflow_provider_sops.core.run.search_without_list import search_unlisted
from airflow_provider_sops.core.run.tag import Tag
from airflow_provider_sops.core.run.task_run import RunRecord, TaskRun
from airflow_provider_sops.core.status_reading import REFUSED
from airflow_provider_sops.core.task_lists import list_tasks

#: Most tasks that a search looks through: an Airflow task has one, and one more for each time it was run anew.
_MOST_FOUND = 10_000

#: Tasks by base of their tags and by generation.
Listed = Mapping[str, Mapping[int, Sequence[TaskListItem]]]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search has found."""

    #: to go on under: that of the run before a clear, where its task is taken up
    tag: Tag
    #: the id of the one task of each generation
    tasks: Mapping[int, int]
    #: SOPS lists tasks; else what is known comes from elsewhere
    searchable: bool = True


@dataclass(frozen=True, slots=True)
class FoundTask:
    """A task that was found again."""

    tag: Tag
    generation: int
    task_id: int
    #: as in :class:`SearchResult`
    searchable: bool = True


# ---- pure ----


def by_tag(items: Iterable[TaskListItem], tag: Tag) -> dict[str, dict[int, list[TaskListItem]]]:
    """Sort listed tasks by the base and the generation that their names give; those of other tags are left out."""
    listed: dict[str, dict[int, list[TaskListItem]]] = {}
    for item in items:
        if tagged := tag.read(item.name):
            listed.setdefault(tagged[0], {}).setdefault(tagged[1], []).append(item)
    return listed


def tag_to_go_on_under(run: TaskRun, listed: Listed) -> Tag:
    """Return the tag of the run before the task was cleared, if this run takes it up and has made no task."""
    if not run.takes_up or run.tag.base in listed:
        return run.tag
    if run.record:
        return replace(run.tag, base=run.record.base)
    if not listed:
        return run.tag
    newest = max(listed, key=lambda base: max(item.task_id for items in listed[base].values() for item in items))
    return replace(run.tag, base=newest)


def elect(items: Iterable[TaskListItem], record: RunRecord | None) -> TaskListItem:
    """Choose one of the tasks of one generation, in a way that every try and every process chooses alike.

    :return: one that has started, else the one that is on record, else the one with the lowest id.
    """
    items = sorted(items, key=lambda item: item.task_id)
    started = next((item for item in items if item.is_started), None)
    # the start of the one on record may be queued, though a task with a lower id has come to light since
    recorded = next((item for item in items if record and item.task_id == record.task_id), None)
    return started or recorded or items[0]


def lines_of_others(items: Iterable[TaskListItem], elected: TaskListItem) -> list[LogLine]:
    """Return what becomes of the tasks of one generation that were not elected."""
    lines = []
    for item in sorted(items, key=lambda item: item.task_id):
        if item.task_id != elected.task_id:
            state = "has been started too" if item.is_started else "stays CREATED for ever"
            text = (
                f"SOPS task {item.task_id} {item.name!r} was created for the same run as task {elected.task_id}, "
                f"which is the one that counts; task {item.task_id} {state}."
            )
            lines.append(LogLine(text, warning=item.is_started))
    return lines


def _ids(items: Iterable[TaskListItem]) -> set[int]:
    return {item.task_id for item in items}


# ---- flows ----


def search(run: TaskRun, *, may_have_started: bool = False) -> Flow[SearchResult]:
    """Find the one task of each generation.

    :param may_have_started: some may have, though no try has gone before.
    :raises errors.SopsError: when SOPS gives no good answer, or cannot be searched and nothing else makes up for it.
    """
    items = yield from _list_run(run, may_have_started)
    if isinstance(items, errors.SopsError):
        return (yield from _without_list(run, items))
    return (yield from _result(run, items))


def find(run: TaskRun, task_id: int | None) -> Flow[FoundTask | None]:
    """Find the task that an earlier leg of this try has come to.

    :param task_id: its id, if it is known; else it is the newest.
    :return: ``None`` when there is none.
    :raises errors.SopsError: when SOPS gives no good answer.
    """
    items = yield from _list_run(run, may_have_started=True)
    if isinstance(items, errors.SopsError):
        result = SearchResult(run.tag, {}, searchable=False)
        try:
            result = yield from _without_list(run, items)
        except errors.SopsError:
            if task_id is None:
                raise
        if not result.tasks and task_id is not None:
            return FoundTask(
                result.tag, 1, task_id, searchable=False
            )  # without a list and records there was no further generation
    else:
        result = yield from _result(run, items)
    known = [item for item in result.tasks.items() if item[1] == task_id]
    newest = max(known or result.tasks.items(), default=None)
    return None if newest is None else FoundTask(result.tag, *newest, searchable=result.searchable)


def _result(run: TaskRun, items: Iterable[TaskListItem]) -> Flow[SearchResult]:
    """Elect the one task of each generation; the one on record is there even where it is not listed."""
    listed = by_tag(items, run.tag)
    tag, record = tag_to_go_on_under(run, listed), run.record
    mine = listed.get(tag.base, {})
    tasks: dict[int, int] = {}
    for generation, rivals in mine.items():
        elected = elect(rivals, record)
        tasks[generation] = elected.task_id
        yield from run.state.once(*lines_of_others(rivals, elected))
    if record and record.base == tag.base and record.task_id not in _ids(mine.get(record.generation, ())):
        tasks[record.generation] = record.task_id  # SOPS lists no deleted task
    return SearchResult(tag, tasks)


def _without_list(run: TaskRun, error: errors.SopsError) -> Flow[SearchResult]:
    """Do without the list: the task on record is all there is, or there is none.

    :raises errors.SopsError: it is not certain that there is none.
    """
    record = run.record
    if record and (record.base == run.tag.base or run.takes_up):
        tag = replace(run.tag, base=record.base)
        return SearchResult(tag, {record.generation: record.task_id}, searchable=False)
    yield from search_unlisted(run, error)
    return SearchResult(run.tag, {}, searchable=False)


def _list_run(run: TaskRun, may_have_started: bool) -> Flow[list[TaskListItem] | errors.SopsError]:
    """List the tasks of this run, or of the runs before a clear.

    :return: or the error, where ``get_task_list`` was refused or is perhaps missing.
    """
    # a zone cannot be given in a way that every SOPS reads, and none is two days off
    after = run.created_after.strftime("%Y-%m-%d %H:%M:%S") if run.created_after and not run.takes_up else None
    try:
        items = yield from list_own(run.project, run.keyword, create_time_start=after)
        if (may_have_started or not run.first_try) and not any(item.is_started for item in items):
            items += yield from list_started(run.project, run.keyword, create_time_start=after)
    except errors.SopsError as error:
        if not isinstance(error, REFUSED) and not perhaps_missing(error):
            raise
        return error
    return items


def list_started(project: Project, keyword: str, **filters: Any) -> Flow[list[TaskListItem]]:
    """List the tasks that have started, as :func:`list_own` does.

    SOPS 3.9.2 to 3.20.2 takes a flag that is not given for "no", and so lists by itself none of them.
    """
    found: list[TaskListItem] = []
    for is_finished in (False, True):
        found += yield from list_own(project, keyword, is_started=True, is_finished=is_finished, **filters)
    return found


def list_own(project: Project, keyword: str, **filters: Any) -> Flow[list[TaskListItem]]:
    """List the tasks that an operator may have made: children and those that a person has copied hold a tag too.

    :param filters: further parameters of ``get_task_list`` as SOPS names them.
    :raises errors.SopsError: when SOPS gives no good answer.
    """
    items = yield from list_tasks(project, limit=_MOST_FOUND, keyword=keyword, without_count=True, **filters)
    return [item for item in items if item.create_method in ("api", "") and not item.is_child_taskflow]
