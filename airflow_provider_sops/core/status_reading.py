# SPDX-License-Identifier: Apache-2.0
"""Reading the status of one task, by the best of the APIs that may be called; without I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import nocache
from airflow_provider_sops.core.api.catalogue import DETAIL_CACHE_SECONDS
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.api.refusals import just_started
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.errors import perhaps_missing
from airflow_provider_sops.core.models import TaskDetail, TaskStatus, readers
from airflow_provider_sops.core.states import TaskState

#: Errors that waiting does not mend: they end a wait at once.
DEFINITE = (
    errors.SopsNotFoundError,
    errors.SopsInvalidParameterError,
    errors.SopsIamDeniedError,
    errors.SopsApiPermissionError,
    errors.SopsApiNotFoundError,
    errors.SopsIpRefusedError,
    errors.SopsUnusableConnectionError,
)
#: The app may not ask for this, or this SOPS does not have it: another API may say the same.
DENIED = (errors.SopsApiPermissionError, errors.SopsApiNotFoundError)
#: The app or its user may not ask for this, or there is no such API.
REFUSED = (*DENIED, errors.SopsIamDeniedError)

DETAIL_ONLY_NOTICE = (
    "The app may not call get_task_status, so this wait reads get_task_detail alone. It costs: SOPS answers it from a "
    f"cache of {DETAIL_CACHE_SECONDS} seconds, and it has no state, so that a failed or paused task looks like a "
    "running one, and an end without outputs may be a finish or a revoke. Apply for the API permission "
    "'get_task_status' of bk-sops."
)


@dataclass(slots=True)
class ApiPermissions:
    """Which of the APIs that give a task's state may be called; learnt from refusals."""

    status: bool = True
    #: get_task_status has answered: where it does not any more, the whole site is away
    answered: bool = False


def read_status(
    project: Project,
    task_id: int,
    permissions: ApiPermissions,
    notices: list[str],
    *,
    fresh: bool = False,
    keep: Callable[[TaskDetail], None] = lambda detail: None,
) -> Flow[TaskStatus]:
    """Read one task's status, from its detail where ``get_task_status`` may not be called.

    :param permissions: what may be called; a refusal is noted here once the detail has answered.
    :param notices: gets the words to say once when it falls back.
    :param fresh: pass SOPS' caches.
    :param keep: is given the detail, where one was read.
    :return: of a task that was started this very moment, where SOPS cannot tell yet, one that is READY.
    :raises errors.SopsError: when there is no good answer.
    """
    denied: errors.SopsError | None = None
    if permissions.status:
        try:
            return (yield from _ask_status(project, task_id, permissions, fresh, keep))
        except errors.SopsError as error:
            if not is_denied(error) and (permissions.answered or not perhaps_missing(error)):
                raise
            denied = error
    answer = yield project.call("get_task_detail", task_id=task_id, **nocache(fresh))
    detail = readers.task_detail(answer)
    keep(detail)
    if denied is not None and perhaps_missing(denied):
        # not the whole site is away; but it may have been, a moment ago
        try:
            return (yield from _ask_status(project, task_id, permissions, fresh, keep))
        except errors.SopsError as error:
            if not is_denied(error) and not perhaps_missing(error):
                raise
            denied = error
    if denied is not None:
        permissions.status = False
        notices.append(f"{DETAIL_ONLY_NOTICE} (What it said: {denied})")
    return readers.status_from_detail(detail)


def is_lacking(error: errors.SopsError) -> bool:
    """Return whether an API may not be called or is not there, where SOPS has just answered another one."""
    return isinstance(error, DENIED) or perhaps_missing(error)


def is_denied(error: errors.SopsError) -> bool:
    """Return whether it is certain that an API may not be called, or is not there."""
    return isinstance(error, DENIED) and not perhaps_missing(error)


def _ask_status(
    project: Project, task_id: int, permissions: ApiPermissions, fresh: bool, keep: Callable[[TaskDetail], None]
) -> Flow[TaskStatus]:
    """Ask ``get_task_status``, and of a task that it does not know the detail whether it was deleted."""
    try:
        answer = yield project.call("get_task_status", task_id=task_id, **nocache(fresh))
        permissions.answered = True
        return readers.task_status(answer)
    except errors.SopsApiError as error:
        permissions.answered = True
        if just_started(error):
            return TaskStatus(task_id, TaskState.READY, raw_state=TaskState.READY.value)
        if not isinstance(error, errors.SopsNotFoundError):
            raise
        # only the detail of a deleted task still answers; one that never was here has none
        try:
            answer = yield project.call("get_task_detail", task_id=task_id, **nocache())
            detail = readers.task_detail(answer)
        except errors.SopsError:
            raise error from error.__cause__
        keep(detail)
        return replace(readers.status_from_detail(detail), is_deleted=True)
