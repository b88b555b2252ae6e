# SPDX-License-Identifier: Apache-2.0
"""Waiting in the worker for the SOPS task of a try: for its end, or for its start alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_sops.core.api.catalogue import DETAIL_CACHE_SECONDS
from airflow_provider_sops.core.errors import SopsAuthenticationError
from airflow_provider_sops.core.run.start import not_started
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.task_log import log_lines

if TYPE_CHECKING:
    from airflow_provider_sops.core.run.task_run import TaskRun
    from airflow_provider_sops.core.wait.observation import Observation
    from airflow_provider_sops.core.wait.task_wait import TaskWait
    from airflow_provider_sops.operators.run_context import RunContext

#: Seconds between two reads until the SOPS task has started: SOPS does not cache CREATED.
_START_INTERVAL = 1.0


def observe(run_context: RunContext, task_wait: TaskWait) -> Observation:
    """Read the SOPS task once, log what has changed, and push its address."""
    observation = run_context.hook.run(task_wait.observe(time.time()))
    log_lines(run_context.log, observation.lines)
    run_context.guard.stop_if_killed()
    run_context.push(task_wait.task_id, task_wait.task_url)
    running = run_context.guard.running
    if running is not None and observation.status is not None and observation.status.state is not TaskState.CREATED:
        running.started = True
    if isinstance(observation.error, SopsAuthenticationError):
        run_context.hook.forget_connection()
    return observation


def wait_in_worker(
    run_context: RunContext, run: TaskRun, task_wait: TaskWait, observation: Observation, start_by: float
) -> Observation:
    """Wait for the end, or for the start where ``wait_for_completion`` is off.

    :param observation: what the first reading gave.
    :param start_by: seconds since the epoch by which the SOPS task must have started.
    :raises SopsTimedOutException: it has not started in time.
    """
    while observation.next is Next.WAIT:
        state = observation.status.state if observation.status else None
        starts = state is TaskState.CREATED
        if not (run_context.spec.wait_for_completion or starts or state is None):
            break
        if starts and time.time() >= start_by:
            check_started(run_context, run, task_wait.task_id)
            start_by = float("inf")
        run_context.guard.sleep(_START_INTERVAL if starts else _interval(run_context, task_wait))
        observation = observe(run_context, task_wait)
    return observation


def _interval(run_context: RunContext, task_wait: TaskWait) -> float:
    interval = run_context.spec.poll_interval
    return interval if task_wait.permissions.status else max(interval, float(DETAIL_CACHE_SECONDS))


def check_started(run_context: RunContext, run: TaskRun, task_id: int) -> None:
    """Fail, unless the SOPS task has started after all.

    :raises SopsTimedOutException: it has not.
    """
    problem = run_context.carry_out(not_started(run, task_id, run_context.spec.start_timeout))
    if problem is not None:
        raise run_context.failure(problem) from problem
