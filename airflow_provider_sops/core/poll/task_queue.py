# SPDX-License-Identifier: Apache-2.0
"""The tasks of a poller in the order of their next reads, and which of them are read together."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from airflow_provider_sops.core.api.catalogue import MAX_IDS_PER_STATUS_CALL
from airflow_provider_sops.core.poll.polled_task import PolledTask

#: Tasks that are read singly are read one after the other, this many in a row: it costs less than as many chunks.
SINGLES_IN_A_ROW = 25


def chunk_size(batches: bool) -> int:
    """Return the number of tasks that are read together.

    :param batches: whether one request reads them all.
    """
    return MAX_IDS_PER_STATUS_CALL if batches else SINGLES_IN_A_ROW


class TaskQueue:
    """All tasks that somebody waits for. Times are monotonic, in seconds, and the caller's."""

    def __init__(self) -> None:
        self._tasks: dict[int, PolledTask] = {}
        #: (due, task id); an entry is stale when its task is gone or is due at another time
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[PolledTask]:
        """Iterate over the tasks as they are now, in the order in which they were added."""
        return iter(list(self._tasks.values()))

    def get(self, task_id: int) -> PolledTask | None:
        """Return a task, if somebody waits for it."""
        return self._tasks.get(task_id)

    def add(self, task_id: int) -> PolledTask:
        """Add a task, which is to be scheduled next; give the one that is there already, if any."""
        task = self._tasks.get(task_id)
        if task is None:
            task = self._tasks[task_id] = PolledTask(task_id)
        return task

    def remove(self, task: PolledTask) -> None:
        """Remove a task that nobody waits for any more."""
        del self._tasks[task.id]

    def schedule(self, task: PolledTask, due: float) -> None:
        """Set the time of a task's next read; a task that was removed meanwhile is left out."""
        if self._tasks.get(task.id) is task:
            task.due = due
            heapq.heappush(self._heap, (due, task.id))

    def next_due(self, default: float) -> float:
        """Return the time at which the next chunk may be due, or ``default`` where none is scheduled."""
        return self._heap[0][0] if self._heap else default

    def take(self, now: float, soon: float, *, batches: bool) -> list[PolledTask]:
        """Take the next chunk: tasks for one batch, or tasks that are all to be read singly.

        :param soon: tasks due up to then fill a batch.
        :param batches: whether there are batches; else every task is read singly.
        :return: empty where all that was due is gone or rescheduled.
        """
        size = chunk_size(batches)
        chunk: list[PolledTask] = []
        left: list[tuple[float, int]] = []
        singly = False
        while self._heap and len(chunk) < size and self._heap[0][0] <= soon:
            due, task_id = heapq.heappop(self._heap)
            task = self._tasks.get(task_id)
            if task is None or task.due != due:  # stale
                continue
            single = not batches or task.single_until > now
            if not chunk:
                singly = single
                if singly:  # a task that is not due would be answered from SOPS' cache
                    size, soon = SINGLES_IN_A_ROW, now
            if single is singly:
                chunk.append(task)
            else:
                left.append((due, task_id))
        for entry in left:
            heapq.heappush(self._heap, entry)
        return chunk
