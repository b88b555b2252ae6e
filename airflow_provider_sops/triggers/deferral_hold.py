# SPDX-License-Identifier: Apache-2.0
"""Holding an event back until Airflow's scheduler knows of the deferral that it ends."""

from __future__ import annotations

import asyncio
import time

from airflow_provider_sops.configuration import DEFAULT_DEFERRAL_HOLD, deferral_hold
from airflow_provider_sops.core.errors import SopsConfigError

#: Seconds after which a deferral is surely known to the scheduler, whatever ``deferral_hold`` says.
_SETTLED = 60.0


async def hold_event(started: float, deferred_at: float | None) -> None:
    """Wait until Airflow's scheduler has surely taken in that the task was deferred.

    It learns from the executor that the worker's leg is over. If the trigger has fired before that, it takes the task
    for failed (Airflow issues 66374, 67287, 71580, 72716). Nothing in the database tells a trigger that it is safe.

    :param started: monotonic time at which the trigger began to run.
    :param deferred_at: seconds since the epoch at which the task was deferred, by the worker's clock; ``None``: long
        ago.
    """
    if deferred_at is None or time.time() - deferred_at > _SETTLED:
        return
    try:
        seconds = deferral_hold()
    except SopsConfigError:  # the worker has read a good one; the triggerer's own, if it differs, ends no trigger
        seconds = DEFAULT_DEFERRAL_HOLD
    await asyncio.sleep(started + seconds - time.monotonic())
