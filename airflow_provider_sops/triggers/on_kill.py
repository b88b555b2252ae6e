# SPDX-License-Identifier: Apache-2.0
"""What a trigger does when Airflow tells it to stop: revoke the SOPS task, if a user is behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY

from airflow_provider_sops.compat import ask_airflow, state_in_airflow, xcom_in_airflow
from airflow_provider_sops.core import errors
from airflow_provider_sops.core.operate.revoke import revoke
from airflow_provider_sops.kill_reasons import Kill, kill_of, why_left_running
from airflow_provider_sops.task_log import log_lines
from airflow_provider_sops.triggers.shared_pollers import connect
from airflow_provider_sops.xcom_keys import TASK_ID_KEY, WAIT_ENDED_KEY

if TYPE_CHECKING:
    from airflow_provider_sops.wait_spec import WaitSpec

#: Seconds that a kill may take: Airflow gives ``on_kill`` of a trigger thirty by default, and a triggerer that stood
#: still has much to ask.
KILL_SECONDS = 25.0
#: Kills under way, which Airflow may have given up: an event loop itself keeps no task alive.
_kills: set[asyncio.Task[None]] = set()


async def see_through(work: Coroutine[Any, Any, None]) -> None:
    """Do what a kill asks for to its end.

    Airflow cancels a trigger that it wants to go again at each of its rounds, about once a second, and ``on_kill``
    with it; and the first question to its supervisor may take many seconds.
    """
    task = asyncio.get_running_loop().create_task(work)
    _kills.add(task)
    task.add_done_callback(_kills.discard)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)


async def revoke_when_killed(spec: WaitSpec, log: Any, task_instance: Any, *, started: bool) -> None:
    """Revoke the SOPS task, in one attempt, if it was a user who has ended or cleared the waiting Airflow task.

    Airflow 3.3 calls this for every trigger that is gone from the triggerer's own list: also for one that another
    triggerer has taken over while this one stood still, or whose task Airflow itself has resumed. A trigger that
    ``dag.test()`` has run itself stays in Airflow's database, and is begun and ended by the next triggerer.

    :param log: the logger of the trigger.
    :param task_instance: the Airflow task that waits; ``None`` where Airflow has not said which.
    :param started: the SOPS task was seen to have started.
    """
    task_id = spec.sops_task_id
    asked = False
    try:
        async with asyncio.timeout(KILL_SECONDS), await connect(spec.sops_conn_id) as client:
            await client.open()
            # as late as can be: what is true now may not be so in a moment
            reason = await _why_not_revoked(spec, log, task_instance)
            if reason:
                log.info("%s", reason)
                return
            asked = True
            revocation = await client.run(revoke(spec.project, task_id, started=started))
    except TimeoutError:
        if asked:
            log.error("Whether SOPS task %s was revoked is not known: no answer in time.", task_id)
        else:
            log.error("SOPS task %s was not revoked: Airflow did not say in time why it is told to.", task_id)
    except (errors.SopsError, errors.SopsConfigError) as error:
        log.error("SOPS task %s could not be revoked, it may still run. %s", task_id, error)
    else:
        log_lines(log, [revocation.line(task_id)])


async def _why_not_revoked(spec: WaitSpec, log: Any, task_instance: Any) -> str:
    """Return why the SOPS task is to be left running; empty when a user has ended or cleared the Airflow task."""
    task_id = spec.sops_task_id
    state: str | None = None
    newest = ended = returned = None
    try:
        state = await ask_airflow(state_in_airflow, task_instance)
        kill = kill_of(state)
        if kill is Kill.ENDED:
            newest = await ask_airflow(xcom_in_airflow, task_instance, TASK_ID_KEY)
            ended = await ask_airflow(xcom_in_airflow, task_instance, WAIT_ENDED_KEY)
            if state == "success":  # only a task that has ended well by itself has returned something
                returned = await ask_airflow(xcom_in_airflow, task_instance, XCOM_RETURN_KEY)
    except Exception as error:  # whatever the way to Airflow raises
        log.warning("Airflow could not be asked why this wait is told to stop: %s", type(error).__name__)
        return why_left_running(task_id, None)
    if kill is Kill.UNCERTAIN:
        return why_left_running(task_id, state)
    if kill is Kill.CLEARED and spec.keep_when_cleared:
        return f"SOPS task {task_id} is left running: the cleared Airflow task takes it up again."
    if newest not in (None, task_id):
        return f"SOPS task {task_id} is left as it is: this Airflow task has gone on with SOPS task {newest}."
    if ended == task_id or returned is not None:
        return f"SOPS task {task_id} is left as it is: the wait for it had ended before, by no user's hand."
    return ""
