# SPDX-License-Identifier: Apache-2.0
"""The search for the tasks that a batch is refused for, with numbers as tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_sops.core.poll.batch_culprits import Culprits, find_culprits


@dataclass
class Search:
    """A search in a SOPS that refuses batches with a bad task, or refuses everything."""

    bad: set[int]
    refuses_all: bool = False
    max_reads: int = 40
    batches: int = 0
    singles: int = 0
    read: set[int] = field(default_factory=set)

    def run(self, tasks: int) -> Culprits[int] | None:
        search = find_culprits(range(tasks), self.max_reads)
        try:
            read = next(search)
            while True:
                if read.singly:
                    assert len(read.tasks) == 1
                    self.singles += 1
                    answered = not self.refuses_all
                else:
                    self.batches += 1
                    answered = not self.refuses_all and not self.bad.intersection(read.tasks)
                    self.read |= set(read.tasks) if answered else set()
                read = search.send(answered)
        except StopIteration as stop:
            found: Culprits[int] | None = stop.value
            return found


def test_one_culprit_is_found_in_few_reads_and_all_others_are_read() -> None:
    search = Search({17})
    assert search.run(50) == Culprits([17], [], certain=True)
    assert search.batches <= 2 * 6
    assert search.singles == 0
    assert search.read == set(range(50)) - {17}


def test_several_culprits_are_found_after_a_single_read_has_shown_that_sops_is_well() -> None:
    search = Search({0, 30})
    found = search.run(50)
    assert found is not None
    assert sorted(found.tasks) == [0, 30]
    assert found.certain
    assert search.singles == 1
    assert search.read == set(range(50)) - {0, 30}


def test_when_a_single_task_is_refused_too_none_is_to_blame() -> None:
    search = Search(set(), refuses_all=True)
    assert search.run(50) is None
    assert (search.batches, search.singles) == (2, 1)  # and a sick server is asked no more


def test_an_only_task_is_to_blame_but_not_for_certain() -> None:
    assert Search({0}).run(1) == Culprits([0], [], certain=False)


def test_the_number_of_reads_is_limited() -> None:
    search = Search(set(range(0, 50, 2)), max_reads=10)
    found = search.run(50)
    assert found is not None
    assert search.batches == 10
    assert search.read | set(found.tasks) | set(found.unread) == set(range(50))
    assert set(found.tasks) <= search.bad
