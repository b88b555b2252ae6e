# SPDX-License-Identifier: Apache-2.0
"""Waiting in the worker for the SOPS task of a try: for its end, or for its start alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_sops.core.api.calls import DETAIL_CACHE_SECONDS
from airflow_provider_sops.core.errors import SopsAuthenticationError
from airflow_provider_sops.core.run.start import not_started
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.task_log import log_lines

if TYPE_CHECKING:
    from airflow_provider_sops.core.run.task_run import TaskRun
    from airflow_provider_sops.core.wait.task_wait import Observation, TaskWait
    from airflow_provider_sops.operators.run_session import RunSession

#: Seconds between two reads until the SOPS task has started: SOPS does not cache CREATED.
_START_INTERVAL = 1.0


def observe(session: RunSession, task_wait: TaskWait) -> Observation:
    """Read the SOPS task once, log what has changed, and push its address."""
    observation = session.hook.run(task_wait.observation(time.time()))
    log_lines(session.log, observation.lines)
    session.guard.stop_if_killed()
    session.push(task_wait.task_id, task_wait.task_url)
    running = session.guard.running
    if running is not None and observation.status is not None and observation.status.state is not TaskState.CREATED:
        running.started = True
    if isinstance(observation.error, SopsAuthenticationError):
        session.hook.forget_connection()
    return observation


def wait_in_worker(
    session: RunSession, run: TaskRun, task_wait: TaskWait, observation: Observation, start_by: float
) -> Observation:
    """Wait for the end, or for the start where ``wait_for_completion`` is off.

    :param observation: what the first reading gave.
    :param start_by: seconds since the epoch by which the SOPS task must have started.
    :raises SopsTimedOutException: it has not started in time.
    """
    while observation.next is Next.WAIT:
        state = observation.status.state if observation.status else None
        starts = state is TaskState.CREATED
        if not (session.spec.wait_for_completion or starts or state is None):
            break
        if starts and time.time() >= start_by:
            check_started(session, run, task_wait.task_id)
            start_by = float("inf")
        session.guard.sleep(_START_INTERVAL if starts else _interval(session, task_wait))
        observation = observe(session, task_wait)
    return observation


def _interval(session: RunSession, task_wait: TaskWait) -> float:
    interval = session.spec.poll_interval
    return interval if task_wait.grants.status else max(interval, float(DETAIL_CACHE_SECONDS))


def check_started(session: RunSession, run: TaskRun, task_id: int) -> None:
    """Fail, unless the SOPS task has started after all.

    :raises SopsTimedOutException: it has not.
    """
    problem = session.carry_out(not_started(run, task_id, session.spec.start_timeout))
    if problem is not None:
        raise session.failure(problem) from problem
