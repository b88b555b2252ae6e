# SPDX-License-Identifier: Apache-2.0
"""The tag in a SOPS task's name, without any I/O."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sops.core.run.tag import Tag, digest, make_tag

PARTS: dict[str, Any] = {
    "dag_id": "deploy",
    "run_id": "scheduled__2026-11-22T00:00:00+00:00",
    "run_start": "2026-11-22T00:00:01.000002+00:00",
    "task_id": "run",
    "map_index": -1,
    "max_tries": 2,
}


class TestTag:
    def test_it_is_letters_and_digits(self) -> None:
        name = make_tag(**PARTS).name("Release", 12)
        title, tag = name.split(" ")
        assert title == "Release"
        assert tag.isascii()
        assert tag.isalnum()
        assert tag == tag.lower()

    def test_it_is_the_same_every_time(self) -> None:
        """A retry may run with a newer provider: what an older one has written must be found."""
        assert make_tag(**PARTS) == Tag("afklcoaonjnowt7dkc")
        assert make_tag(**PARTS, site="http://airflow.example.com").thread == "at6wgqofdiz5mxbj"

    @pytest.mark.parametrize("part", PARTS)
    def test_each_part_counts(self, part: str) -> None:
        other = 7 if isinstance(PARTS[part], int) else f"{PARTS[part]}x"
        assert make_tag(**{**PARTS, part: other}).base != make_tag(**PARTS).base

    def test_each_iteration_of_a_loop_has_its_own(self) -> None:
        tags = [make_tag(**PARTS, iteration=iteration, site="x") for iteration in (None, 0, 1)]
        assert len({tag.base for tag in tags}) == len({tag.thread for tag in tags}) == 3

    def test_parts_do_not_run_into_each_other(self) -> None:
        one = make_tag(**{**PARTS, "dag_id": "a", "run_id": "bc"})
        assert one != make_tag(**{**PARTS, "dag_id": "ab", "run_id": "c"})

    def test_a_clear_leaves_the_thread_as_it_is(self) -> None:
        before = make_tag(**PARTS, site="x")
        after = make_tag(**{**PARTS, "max_tries": 5, "run_start": "later"}, site="x")
        assert before.thread == after.thread != ""
        assert before.base != after.base
        assert make_tag(**PARTS, site="y").thread != before.thread

    @pytest.mark.parametrize("title", ["", " ", "x", "发布 生产环境", "x" * 99, "y" * 100, "部署" * 100, "a b " * 50])
    @pytest.mark.parametrize("site", [None, "http://airflow.example.com"])
    @pytest.mark.parametrize("generation", [1, 9, 10, 12345])
    def test_it_is_read_back_from_any_name(self, title: str, site: str | None, generation: int) -> None:
        tag = make_tag(**PARTS, site=site)
        name = tag.name(title, generation)
        assert 1 <= len(name) <= 100
        assert tag.read(name) == (tag.base, generation)
        assert name == name.strip()

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "Release",
            "Release {base}",
            "Release {base}g",
            "Release {base}g0",
            "x{base}g1",
            "{base}g1x",
            "{base}g1 x",
        ],
    )
    def test_what_is_not_one_of_its_names(self, name: str) -> None:
        tag = make_tag(**PARTS)
        assert tag.read(name.format(base=tag.base)) is None

    def test_with_a_thread_other_bases_of_it_are_read_too(self) -> None:
        before = make_tag(**PARTS, site="x")
        after = make_tag(**{**PARTS, "max_tries": 5}, site="x")
        assert after.read(before.name("Release", 3)) == (before.base, 3)
        other = make_tag(**{**PARTS, "task_id": "other"}, site="x")
        assert after.read(other.name("Release", 3)) is None


def test_a_digest_is_as_long_as_it_should_be() -> None:
    assert len(digest(("a", 1), 16)) == 16
    assert digest(("a", 1), 16) == digest(("a", "1"), 16)
