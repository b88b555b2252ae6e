# SPDX-License-Identifier: Apache-2.0
"""Which of the listed tasks counts, without any I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.models import TaskListItem
from airflow_provider_sops.core.run.search import by_tag, elect, lines_of_others, tag_to_go_on_under
from airflow_provider_sops.core.run.tag import Tag
from airflow_provider_sops.core.run.task_run import RunRecord, TaskRun
from airflow_provider_sops.core.run.task_spec import TaskSpec
from airflow_provider_sops.core.wait.policy import WaitPolicy

TAG = Tag("af" + "a" * 16, "at" + "b" * 14)
BEFORE, LONG_BEFORE = (replace(TAG, base="af" + letter * 16) for letter in "cd")


def item(task_id: int, tag: Tag = TAG, generation: int = 1, *, started: bool = False) -> TaskListItem:
    name = tag.name("Release", generation)
    return TaskListItem(task_id, name, "api", None, None, started, False, False, 1, "", "")


def run(**fields: Any) -> TaskRun:
    return TaskRun(Project(2), fields.pop("tag", TAG), TaskSpec("Release", 1), WaitPolicy(), **fields)


def record(task_id: int, base: str = TAG.base) -> RunRecord:
    return RunRecord(base, 1, task_id)


class TestElect:
    @pytest.mark.parametrize(
        ("items", "recorded", "elected"),
        [
            ([item(5), item(3), item(4)], None, 3),
            ([item(3), item(4, started=True), item(5, started=True)], None, 4),
            ([item(3), item(4)], 4, 4),
            ([item(3, started=True), item(4)], 4, 3),
            ([item(3), item(4)], 9, 3),
        ],
        ids=[
            "the first created",
            "one that has started",
            "the one on record",
            "one that has started before the one on record",
            "a record of one that is not listed",
        ],
    )
    def test_one_of_several(self, items: list[TaskListItem], recorded: int | None, elected: int) -> None:
        known = None if recorded is None else record(recorded)
        assert elect(items, known).task_id == elect(items[::-1], known).task_id == elected

    def test_what_becomes_of_the_others(self) -> None:
        items = [item(3), item(4, started=True), item(5, started=True)]
        assert [(line.text.rpartition("; ")[2], line.warning) for line in lines_of_others(items, items[1])] == [
            ("task 3 stays CREATED for ever.", False),
            ("task 5 has been started too.", True),
        ]
        assert lines_of_others(items[:1], items[0]) == []


class TestTag:
    LISTED = by_tag([item(3, LONG_BEFORE), item(7, BEFORE), item(8, Tag("af" + "e" * 16))], TAG)

    def test_tasks_of_other_tags_are_left_out(self) -> None:
        assert {base: list(generations) for base, generations in self.LISTED.items()} == {
            LONG_BEFORE.base: [1],
            BEFORE.base: [1],
        }

    @pytest.mark.parametrize(
        ("fields", "base"),
        [
            ({}, TAG.base),
            ({"cleared": True}, BEFORE.base),
            ({"cleared": True, "record": record(3, LONG_BEFORE.base)}, LONG_BEFORE.base),
            ({"cleared": True, "tag": Tag(TAG.base)}, TAG.base),
        ],
        ids=["a retry", "the newest before a clear", "the one on record", "no thread"],
    )
    def test_under_which_it_goes_on(self, fields: dict[str, Any], base: str) -> None:
        assert tag_to_go_on_under(run(**fields), self.LISTED).base == base

    def test_a_task_of_its_own_comes_first(self) -> None:
        listed = by_tag([item(3), item(7, BEFORE)], TAG)
        assert tag_to_go_on_under(run(cleared=True), listed) == TAG

    def test_where_there_is_none_it_keeps_its_own(self) -> None:
        assert tag_to_go_on_under(run(cleared=True), {}) == TAG
