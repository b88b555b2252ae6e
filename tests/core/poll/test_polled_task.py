# SPDX-License-Identifier: Apache-2.0
"""What a task's waits receive, and when it is news."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.poll.polled_task import CULPRIT_RETRY, STARTED_RETRY, PolledTask
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.core.states import TaskState

RUNNING = TaskStatus(1, TaskState.RUNNING, raw_state="RUNNING")
NOW = 1000.0


def woken(subscription: Subscription) -> bool:
    """Whether it was notified since this was asked last."""
    notified, subscription._notified = subscription._notified, False
    return notified


def test_waits_are_woken_by_news_alone_and_each_error_is_news() -> None:
    task, first = PolledTask(1), Subscription(1, 10.0)
    task.add(first)
    task.deliver(RUNNING, "running")
    assert (woken(first), first.status) == (True, RUNNING)
    task.deliver(RUNNING, "running")
    assert not woken(first)
    for _ in range(2):
        task.deliver_error(errors.SopsError("no answer"))
        assert woken(first)
        assert task.failing
    task.deliver(RUNNING, "running")  # the same as before the error, and yet news
    assert (woken(first), first.error, task.failing) == (True, None, False)


def test_a_wait_that_joins_is_woken_by_what_others_know() -> None:
    task, late = PolledTask(1), Subscription(1, 10.0)
    task.add(Subscription(1, 10.0))
    task.deliver(RUNNING, "running")
    task.add(late)
    task.deliver(RUNNING, "running")
    assert woken(late)


def test_a_task_that_starts_is_read_singly_for_moments_only() -> None:
    task, subscription = PolledTask(1), Subscription(1, 10.0)
    task.add(subscription)
    task.read_singly_from(NOW)
    assert task.single_until == NOW + CULPRIT_RETRY
    subscription.status = TaskStatus(1, TaskState.READY, raw_state="READY")
    task.read_singly_from(NOW)
    assert task.single_until == NOW + STARTED_RETRY
