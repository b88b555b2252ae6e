# SPDX-License-Identifier: Apache-2.0
"""The states of a SOPS task, and which of them are ends."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """State of a SOPS task or of one of its nodes."""

    CREATED = "CREATED"
    READY = "READY"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    NODE_SUSPENDED = "NODE_SUSPENDED"
    BLOCKED = "BLOCKED"
    FAILED = "FAILED"
    FINISHED = "FINISHED"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    #: ``get_task_detail`` knows the end time but no state
    ENDED = "ENDED"
    #: a word that this provider does not know: never taken for success
    UNKNOWN = "UNKNOWN"

    @property
    def is_final(self) -> bool:
        """Whether a task never leaves this state. FAILED is not final: its failed node can be retried or skipped."""
        return self in FINAL_STATES

    @property
    def is_suspended(self) -> bool:
        """Whether the task waits because somebody paused it or one of its nodes."""
        return self in (TaskState.SUSPENDED, TaskState.NODE_SUSPENDED)


FINAL_STATES = frozenset({TaskState.FINISHED, TaskState.REVOKED, TaskState.EXPIRED})
