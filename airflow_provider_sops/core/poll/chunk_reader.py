# SPDX-License-Identifier: Apache-2.0
"""Reading one chunk of tasks by the best of the ways that are granted, so that no task's failure reaches another."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.errors import perhaps_missing
from airflow_provider_sops.core.poll.batch_culprits import Culprits, Read, find_culprits
from airflow_provider_sops.core.poll.client_lease import ClientLease
from airflow_provider_sops.core.poll.notify_subscriptions import deliver_batch, deliver_errors
from airflow_provider_sops.core.poll.pace import Pace
from airflow_provider_sops.core.poll.permissions import DETAILS_ALONE, NO_BATCHES, PollPermissions, denies_batches
from airflow_provider_sops.core.poll.polled_task import PolledTask
from airflow_provider_sops.core.poll.read_errors import PERHAPS_OF_ONE_TASK, is_refusal, of_a_batch
from airflow_provider_sops.core.status_reading import DEFINITE, read_status

#: While nothing is answered, one refused batch of so many is split: the rest would only be more load for a sick server.
SPLIT_EVERY = 4


class ChunkReader:
    """Reads chunks and delivers what it reads.

    :param announce: is given the kind and the text of a notice for all waits, when a way of reading is denied.
    """

    def __init__(
        self,
        project: Project,
        lease: ClientLease,
        permissions: PollPermissions,
        pace: Pace,
        announce: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._project = project
        self._lease = lease
        self._permissions = permissions
        self._pace = pace
        self._announce = announce

    async def read(self, chunk: Sequence[PolledTask]) -> bool:
        """Read a chunk.

        :return: whether SOPS has answered; if not, each task was given its own error.
        :raises errors.SopsError: it failed not because of single tasks.
        """
        if not self._permissions.batches:
            await self._read_singly(chunk)
        elif chunk[0].single_until > time.monotonic():
            return not all([await self._read_one(task) for task in chunk])
        else:
            await self._read_batch(chunk)
        return True

    async def _read_batch(self, chunk: Sequence[PolledTask]) -> None:
        """Read tasks by one request, or otherwise where it is refused."""
        try:
            answer = await self._ask_for(chunk)
        except errors.SopsError as error:
            if self._permissions.doubts_batches(error):
                await self._fall_back(error, chunk)
                return
            # there were batches: where they are missing now, the whole site is away
            if not is_refusal(error) or self._pace.failures % SPLIT_EVERY:
                raise of_a_batch(error) from error.__cause__
            await self._split(chunk, error)
        else:
            await self._deliver_batch(chunk, answer)

    async def _ask_for(self, tasks: Sequence[PolledTask]) -> Answer:
        with_nodes = any(task.with_nodes for task in tasks)
        call = self._project.call(
            "get_tasks_status",
            task_id_list=sorted(task.id for task in tasks),
            include_children_status=with_nodes or None,
        )
        return await self._lease.use(lambda client: client.send(call))

    async def _deliver_batch(self, tasks: Sequence[PolledTask], answer: Answer) -> None:
        self._permissions.note_batch_answer()
        await self._read_left_out(await deliver_batch(tasks, answer))

    async def _split(self, chunk: Sequence[PolledTask], error: errors.SopsError) -> None:
        """Read a refused batch in parts, and keep the tasks that it is refused for out of batches.

        :raises errors.SopsError: SOPS refuses everything, so that no single tasks are to blame.
        """
        search = find_culprits(random.sample(chunk, len(chunk)))
        found: Culprits[PolledTask] | None
        try:
            read = next(search)
            while True:
                read = search.send(await self._is_answered(read))
        except StopIteration as stop:
            found = stop.value
        if found is None:
            raise of_a_batch(error)
        if found.certain:
            await self._read_left_out([*found.tasks, *found.unread])
        else:
            await self._read_singly(found.tasks)
        for task in found.tasks:
            task.read_singly_from(time.monotonic())

    async def _is_answered(self, read: Read[PolledTask]) -> bool:
        """Make a read of the search for culprits, and deliver its answer.

        :raises errors.SopsError: it failed, but was not refused.
        """
        if read.singly:
            return await self._read_one(read.tasks[0]) is None
        try:
            answer = await self._ask_for(read.tasks)
        except errors.SopsError as refusal:
            if not is_refusal(refusal):
                raise
            return False
        await self._deliver_batch(read.tasks, answer)
        return True

    async def _fall_back(self, error: errors.SopsError, chunk: Sequence[PolledTask]) -> None:
        """Read singly from now on, as soon as it is certain that the whole site is not away."""
        unsure = perhaps_missing(error)
        if unsure:
            await self._read_singly(chunk)  # it is not: another API has answered; but it may have been, a moment ago
            try:
                answer = await self._ask_for(chunk)
            except errors.SopsError as again:
                if not denies_batches(again) and not perhaps_missing(again):
                    raise
                error = again
            else:
                await self._deliver_batch(chunk, answer)
                return
        await self._announce(NO_BATCHES, self._permissions.deny_batches(error))
        if not unsure:
            await self._read_singly(chunk)

    async def _read_left_out(self, tasks: Sequence[PolledTask]) -> None:
        """Read singly what a batch leaves out; where that fails, the others of the batch are not concerned."""
        try:
            await self._read_singly(tasks, others_answered=True)
        except errors.SopsError as error:
            self._pace.slow_down(time.monotonic(), error)

    async def _read_singly(self, tasks: Sequence[PolledTask], *, others_answered: bool = False) -> None:
        """Read tasks one by one.

        :param others_answered: when there is one task only and it fails, the failure is its own.
        :raises errors.SopsError: it fails not because of one task; those not read were given the error.
        """
        # in ever another order, or those behind two bad ones would never be read
        order = random.sample(tasks, len(tasks))
        failed = len(order) == 1 and not others_answered
        for index, task in enumerate(order):
            try:
                failure = await self._read_one(task)
                if failure is not None and failed:
                    raise failure
                failed = failure is not None
            except errors.SopsError as error:
                await deliver_errors(order[index:], error)
                raise

    async def _read_one(self, task: PolledTask) -> errors.SopsError | None:
        """Read one task by itself. What only it is refused for reaches no other.

        :return: an error that was delivered to it, and of which it is not certain that it is about this task.
        :raises errors.SopsError: an error that is not about this task.
        """
        notices: list[str] = []
        try:
            status = await self._lease.use(
                lambda client: client.run(read_status(self._project, task.id, self._permissions.single, notices))
            )
        except errors.SopsError as error:
            if not isinstance(error, PERHAPS_OF_ONE_TASK):
                raise
            task.deliver_error(error)
            return None if isinstance(error, DEFINITE) else error
        if notices:
            await self._announce(DETAILS_ALONE, notices[0])
        # SOPS' clock goes on in every answer
        task.deliver(status, replace(status, elapsed_time=0))
        return None
