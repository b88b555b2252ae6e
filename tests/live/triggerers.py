# SPDX-License-Identifier: Apache-2.0
"""Several triggerers of one Airflow, and such as stand still."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.live.airflow import Standalone
from tests.live.processes import Process, wait_until


def owner_of(site: Standalone, run_id: str, task_id: str) -> int | None:
    """The job of the triggerer that has a task's trigger, by Airflow's database."""
    rows = site.sql(
        "SELECT t.triggerer_id FROM task_instance i JOIN trigger t ON t.id = i.trigger_id "
        "WHERE i.run_id = :run AND i.task_id = :task",
        run=run_id,
        task=task_id,
    )
    return rows[0][0] if rows else None


@contextmanager
def standing_still(pids: list[int]) -> Iterator[None]:
    """Let processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def second_triggerer(site: Standalone) -> Iterator[Process]:
    """A further triggerer, which is up."""
    jobs = "SELECT count(*) FROM job WHERE job_type = 'TriggererJob'"
    (before,) = site.sql(jobs)
    process = site.start("triggerer", "--skip-serve-logs")
    try:
        wait_until("a second triggerer is up", lambda: site.sql(jobs) != [before], seconds=120)
        yield process
    finally:
        process.stop()
