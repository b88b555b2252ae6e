# SPDX-License-Identifier: Apache-2.0
"""A task that a poller reads: who waits for it, when and how it is read next, and what was delivered last."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.core.states import TaskState

#: Seconds for which a task that batches are refused for is read singly.
CULPRIT_RETRY = 1800.0
#: The same for a task that was started just now, which makes a batch crash for some moments (up to SOPS 3.6.45).
STARTED_RETRY = 60.0


@dataclass(eq=False, slots=True)
class PolledTask:
    """A task that at least one wait subscribes to."""

    id: int
    subscriptions: tuple[Subscription, ...] = ()
    #: what the last delivered status said; the same again wakes nobody
    signature: object = None
    #: monotonic time of its next read
    due: float = 0.0
    #: monotonic time up to which it is read singly, as batches are refused because of it
    single_until: float = 0.0
    #: the last batch said so: only its nodes say whether it failed before
    paused: bool = False

    @property
    def failing(self) -> bool:
        """Whether its last read failed."""
        return any(subscription.error is not None for subscription in self.subscriptions)

    @property
    def with_nodes(self) -> bool:
        """Whether a batch is to tell of its nodes."""
        return self.paused or self.watched

    @property
    def watched(self) -> bool:
        """Whether somebody waits for one of its nodes."""
        return any(subscription.with_nodes for subscription in self.subscriptions)

    @property
    def starting(self) -> bool:
        """Whether it was started, but does not run yet."""
        return any(
            subscription.status is not None and subscription.status.state is TaskState.READY
            for subscription in self.subscriptions
        )

    def add(self, subscription: Subscription) -> None:
        """Let one more wait receive what is read; the next status is news again."""
        self.subscriptions += (subscription,)
        self.signature = None

    def remove(self, subscription: Subscription) -> None:
        """Let a wait receive no more."""
        self.subscriptions = tuple(other for other in self.subscriptions if other is not subscription)

    def deliver(self, status: TaskStatus, signature: object) -> None:
        """Hand a status to the waits, and wake them if it says something new."""
        news, self.signature = signature != self.signature, signature
        for subscription in self.subscriptions:
            subscription.status, subscription.error = status, None
            if news:
                subscription.notify()

    def deliver_error(self, error: errors.SopsError) -> None:
        """Hand the error of a read to the waits, and wake them."""
        self.signature = None
        for subscription in self.subscriptions:
            subscription.error = error
            subscription.notify()

    def read_singly_from(self, now: float) -> None:
        """Keep it out of batches for a while, as they are refused because of it."""
        self.single_until = now + (STARTED_RETRY if self.starting else CULPRIT_RETRY)
