# SPDX-License-Identifier: Apache-2.0
"""The trigger that waits for a SOPS task without a worker slot."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_sops.core.states import TaskState


class SopsTaskTrigger(BaseTrigger):
    """Wait until a SOPS task has ended; all triggers of one connection and business share one poll.

    It carries ids and plain values only, no secret. It fires one event, see
    :func:`airflow_provider_sops.wait_results.make_event`.

    :param sops_task_id: id of the SOPS task.
    :param bk_biz_id: its business (or project, see ``scope``).
    :param scope: ``cmdb_biz`` or ``project``.
    :param sops_conn_id: id of the connection.
    :param poll_interval: seconds between two reads; never less than SOPS' cache of 10 seconds.
    :param deadline: seconds since the epoch at which the wait ends; ``None``: never.
    :param allowed_states: final states that count as success.
    :param on_failed: ``fail`` or ``wait``.
    :param failed_grace: seconds that the task may stay FAILED; ``None``: the default of ``on_failed``.
    :param on_suspended: ``wait`` or ``fail``.
    :param max_outage: seconds for which failed reads are tolerated.
    :param assume_finished: take an end whose state cannot be read for FINISHED.
    :param revoke_on_kill: revoke the SOPS task when a user kills the waiting Airflow task (Airflow 3.3 and newer).
    :param start_deadline: seconds since the epoch at which the task must have started; ``None``: any time.
    :param keep_when_cleared: do not revoke when the kill is a clear, as the cleared Airflow task takes it up again.
    :param task_url: address of the task's page, for the log.
    :param deferred_at: seconds since the epoch at which the task was deferred: an event that comes soon after is held
        back for a moment, see ``deferral_hold``.
    """

    def __init__(
        self,
        sops_task_id: int,
        bk_biz_id: int,
        scope: str,
        sops_conn_id: str,
        poll_interval: float,
        deadline: float | None = None,
        allowed_states: Sequence[str] = (TaskState.FINISHED.value,),
        on_failed: str = "fail",
        failed_grace: float | None = None,
        on_suspended: str = "wait",
        max_outage: float = 600.0,
        assume_finished: bool = False,
        revoke_on_kill: bool = False,
        start_deadline: float | None = None,
        keep_when_cleared: bool = False,
        task_url: str = "",
        deferred_at: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sops_task_id = sops_task_id
        self.bk_biz_id = bk_biz_id
        self.scope = scope
        self.sops_conn_id = sops_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.allowed_states = list(allowed_states)
        self.on_failed = on_failed
        self.failed_grace = failed_grace
        self.on_suspended = on_suspended
        self.max_outage = max_outage
        self.assume_finished = assume_finished
        self.revoke_on_kill = revoke_on_kill
        self.start_deadline = start_deadline
        self.keep_when_cleared = keep_when_cleared
        self.task_url = task_url
        self.deferred_at = deferred_at
        #: the SOPS task was seen to have started, so that a kill need not look at it first
        self.has_started = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what the trigger is made of again in a triggerer."""
        names = (
            "sops_task_id",
            "bk_biz_id",
            "scope",
            "sops_conn_id",
            "poll_interval",
            "deadline",
            "allowed_states",
            "on_failed",
            "failed_grace",
            "on_suspended",
            "max_outage",
            "assume_finished",
            "revoke_on_kill",
            "start_deadline",
            "keep_when_cleared",
            "task_url",
            "deferred_at",
        )
        return f"{__name__}.SopsTaskTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, writing changes of state into the task's log, and fire one event."""
        from airflow_provider_sops.triggers.wait_loop import hold, wait

        started = time.monotonic()
        self.logger()  # one for all, which self.log then gives too: thousands of waits would each keep their own
        event = await wait(self)
        if self.trigger_id is not None:  # dag.test() runs it too, and has no scheduler that could lose the race
            await hold(started, self.deferred_at)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Revoke the SOPS task, in one attempt, if a user has ended or cleared the waiting Airflow task.

        Airflow calls it from 3.3 on, and not when a triggerer restarts or the wait's time is over; but also when
        nobody has acted, so it is asked first.
        """
        if self.revoke_on_kill:
            from airflow_provider_sops.triggers.wait_loop import revoke_when_killed, see_through

            await see_through(revoke_when_killed(self))
