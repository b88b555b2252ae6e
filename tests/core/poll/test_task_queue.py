# SPDX-License-Identifier: Apache-2.0
"""Which tasks are read together, and when."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_sops.core.api.catalogue import MAX_IDS_PER_STATUS_CALL
from airflow_provider_sops.core.poll.task_queue import SINGLES_IN_A_ROW, TaskQueue

NOW = 1000.0
SOON = NOW + 5.0


def queue_of(due: dict[int, float], singly: Iterable[int] = ()) -> TaskQueue:
    """Make a queue of tasks, by the times at which they are due."""
    queue = TaskQueue()
    for task_id, at in due.items():
        task = queue.add(task_id)
        queue.schedule(task, at)
        if task_id in singly:
            task.single_until = NOW + 60.0
    return queue


def take(queue: TaskQueue, *, batches: bool = True) -> list[int]:
    return [task.id for task in queue.take(NOW, SOON, batches=batches)]


def test_tasks_due_soon_fill_a_batch_in_the_order_in_which_they_are_due() -> None:
    assert take(queue_of({1: NOW + 1, 2: NOW - 1, 3: SOON, 4: SOON + 1})) == [2, 1, 3]


def test_a_batch_has_no_more_than_sops_allows() -> None:
    queue = queue_of(dict.fromkeys(range(1, 121), NOW))
    assert [len(take(queue)) for _ in range(4)] == [MAX_IDS_PER_STATUS_CALL, MAX_IDS_PER_STATUS_CALL, 20, 0]


def test_without_batches_a_chunk_has_fewer_and_none_that_is_not_due() -> None:
    queue = queue_of(dict.fromkeys(range(1, 41), NOW) | {99: NOW + 1})
    assert [len(take(queue, batches=False)) for _ in range(2)] == [SINGLES_IN_A_ROW, 15]
    assert queue.next_due(default=0.0) == NOW + 1


def test_tasks_that_are_read_singly_are_in_no_batch_and_lose_no_time() -> None:
    queue = queue_of({1: NOW - 3, 2: NOW - 2, 3: NOW - 1, 4: NOW + 1}, singly=[2, 4])
    assert take(queue) == [1, 3]
    assert queue.next_due(default=0.0) == NOW - 2
    assert take(queue) == [2]  # 4 is not due
    assert queue.next_due(default=0.0) == NOW + 1


def test_what_was_rescheduled_or_removed_is_not_read_at_its_old_time() -> None:
    queue = queue_of(dict.fromkeys((1, 2, 3), NOW))
    rescheduled, removed = queue.get(1), queue.get(2)
    assert rescheduled is not None
    assert removed is not None
    queue.schedule(rescheduled, SOON + 1)
    queue.remove(removed)
    queue.schedule(removed, NOW)
    assert take(queue) == [3]
    assert queue.next_due(default=0.0) == SOON + 1
    assert len(queue) == 2


def test_a_task_that_was_removed_and_added_again_is_another_one() -> None:
    queue = queue_of({1: NOW})
    first = queue.get(1)
    assert first is not None
    queue.remove(first)
    second = queue.add(1)
    queue.schedule(second, NOW + 1)
    queue.schedule(first, SOON + 2)  # a read that was under way has ended
    assert queue.take(NOW, SOON, batches=True) == [second]
    assert queue.next_due(default=7.0) == 7.0
