# SPDX-License-Identifier: Apache-2.0
"""Handing what was read to many waits, without the event loop standing still while they wake."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.models import readers
from airflow_provider_sops.core.poll.polled_task import PolledTask

#: Waits that are woken before the event loop runs them: many may start or end together.
NEWS_AT_ONCE = 4


class Breaks:
    """Lets the event loop run after every few waits that were woken."""

    __slots__ = ("_woken",)

    def __init__(self) -> None:
        self._woken = 0

    async def after_news(self) -> None:
        """Call after each that was woken."""
        self._woken += 1
        if self._woken % NEWS_AT_ONCE == 0:
            await asyncio.sleep(0)


async def deliver_batch(tasks: Iterable[PolledTask], answer: Answer) -> list[PolledTask]:
    """Deliver an answer of ``get_tasks_status``.

    :return: the tasks that it leaves out: unknown, another project's, or not yet on this replica.
    :raises errors.SopsInvalidAnswerError: it is no such answer.
    """
    items = readers.tasks_status_items(answer)
    left_out: list[PolledTask] = []
    breaks = Breaks()
    for task in tasks:
        item = items.get(task.id)
        if item is None:
            left_out.append(task)
            continue
        task.paused = readers.is_paused_item(item)
        signature = readers.status_signature(item, with_nodes=task.watched)
        if signature == task.signature:
            continue
        try:
            task.deliver(readers.status_of_item(answer, item), signature)
        except errors.SopsError as error:
            task.deliver_error(error)
        await breaks.after_news()
    return left_out


async def deliver_errors(tasks: Sequence[PolledTask], error: errors.SopsError) -> None:
    """Deliver one error to the waits for several tasks."""
    breaks = Breaks()
    for task in tasks:
        task.deliver_error(error)
        await breaks.after_news()


async def deliver_notice(tasks: Iterable[PolledTask], kind: str, notice: str) -> None:
    """Deliver a notice to the waits that have none of its kind yet."""
    breaks = Breaks()
    for task in tasks:
        for subscription in task.subscriptions:
            if subscription.add_notice(kind, notice):
                subscription.notify()
                await breaks.after_news()
