# SPDX-License-Identifier: Apache-2.0
"""The exceptions in which a wait ends badly."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_sops.core.errors import SopsUnusableConnectionError
from airflow_provider_sops.core.failure_report import explain
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.task_outputs import task_page
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.exceptions import (
    SopsConfigException,
    SopsOutageException,
    SopsTaskFailedException,
    SopsTaskStoppedException,
    as_airflow,
)

if TYPE_CHECKING:
    from airflow_provider_sops.core.api.project import Project
    from airflow_provider_sops.hooks.sops import SopsHook


def read_error(observation: Observation) -> AirflowException:
    """Make the exception of a wait that ends because the status cannot be read."""
    assert observation.error is not None
    if isinstance(observation.error, SopsUnusableConnectionError):
        # a worker may find its own machine in order
        name, _, problem = str(observation.error).partition(": ")
        return SopsConfigException(name, f"{problem} (found by the triggerer)")
    if not observation.outage:
        return as_airflow(observation.error)
    outage = SopsOutageException(f"{observation.reason[:1].upper()}{observation.reason[1:]}")
    outage.__dict__.update(observation.error.__dict__)
    outage.__cause__ = as_airflow(observation.error)
    return outage


def with_page(hook: SopsHook, status: TaskStatus) -> TaskStatus:
    """Add the address of the task's page to a status that lacks it, where SOPS gives it."""
    return status if status.task_url else replace(status, task_url=hook.run(task_page(status.task_id, hook.project)))


def bad_end(hook: SopsHook, project: Project, status: TaskStatus, reason: str) -> SopsTaskFailedException:
    """Make the exception of a task that failed or ended badly; for a failed one it is asked why.

    :param reason: what the verdict said, as the end of a sentence.
    """
    message = f"SOPS task {status.task_id} {status.name!r} {reason}."
    if status.state is TaskState.FAILED:
        why = hook.run(explain(status.task_id, project, status))
        message = f"{message}\n{why}\nRetry or skip the failed node on the task's page, or repair and run it anew."
    elif status.task_url:
        message = f"{message} Task page: {status.task_url}"
    stopped = status.is_deleted or status.state in (TaskState.REVOKED, TaskState.EXPIRED)
    error = (SopsTaskStoppedException if stopped else SopsTaskFailedException)(message)
    error.sops_task_id, error.state = status.task_id, status.state.value
    return error
