# SPDX-License-Identifier: Apache-2.0
"""The event with which a trigger ends a deferred wait: what it says, how it is made, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.errors import SopsError
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.models.readers import parse_time
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.text import storable_value
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.exceptions import SopsTriggerEventException
from airflow_provider_sops.wait_results import result_of

#: Version of the event's shape; an event of another version is refused.
EVENT_VERSION = 1


class Outcome(StrEnum):
    """How a deferred wait ended."""

    SUCCESS = "success"
    #: a bad end of the task, or an error of reading it
    FAILURE = "failure"
    #: the deadline came first
    TIMEOUT = "timeout"
    #: the task has not left CREATED in the time that it was given to start
    NOT_STARTED = "not_started"
    #: the trigger was to start the wait, and could not: a worker is to, and says why if it cannot either
    START_IN_WORKER = "start_in_worker"


@dataclass(frozen=True, slots=True)
class Ended:
    """What a trigger's event says."""

    outcome: Outcome
    #: what follows, as a poke would have found it; its status may be missing
    observation: Observation


def make_event(sops_task_id: int, outcome: Outcome, observation: Observation | None) -> dict[str, Any]:
    """Make the small event with which a trigger resumes its task; holds no secret, and nothing that cannot be stored:
    an event that cannot ends the triggerer, and with it all its waits.

    :return: ``{version, outcome, sops_task_id, status, reason, outage, error}``: ``status`` as :func:`result_of` with
        ``is_deleted``, ``error`` as ``{kind, message}``; both may be ``None``.
    """
    status = observation.status if observation else None
    error = observation.error if observation else None
    event: dict[str, Any] = {
        "version": EVENT_VERSION,
        "outcome": outcome.value,
        "sops_task_id": sops_task_id,
        "status": {**result_of(status), "is_deleted": status.is_deleted is True} if status else None,
        "reason": observation.reason if observation else "",
        "outage": observation.outage if observation else False,
        "error": {"kind": type(error).__name__, "message": str(error)} if error else None,
    }
    storable_event: dict[str, Any] = storable_value(event)
    return storable_event


def start_in_worker() -> dict[str, Any]:
    """Make the event with which a trigger leaves the start of a wait to a worker."""
    return {"version": EVENT_VERSION, "outcome": Outcome.START_IN_WORKER.value}


def read_event(sops_task_id: int, event: Any) -> Ended:
    """Check and read a trigger's event.

    :raises SopsTriggerEventException: when it is not an event of this version for this task.
    """
    try:
        return _read_event(sops_task_id, event)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SopsTriggerEventException(
            f"The trigger waiting for SOPS task {sops_task_id} has sent an event that cannot be used "
            f"({type(error).__name__}: {error}), so the task's state is not known. If the provider was upgraded while "
            "the task waited, let it be retried: a retry goes on with the same SOPS task."
        ) from error


def _read_event(sops_task_id: int, event: Any) -> Ended:
    if event["version"] != EVENT_VERSION:
        raise ValueError(f"its version is {event['version']!r}, not {EVENT_VERSION}")
    if event["sops_task_id"] != sops_task_id:
        raise ValueError(f"it is of SOPS task {event['sops_task_id']!r}")
    outcome = Outcome(event["outcome"])
    status = _status_of_event(sops_task_id, event["status"]) if event["status"] is not None else None
    error = _error_of_event(sops_task_id, event["error"]) if event["error"] is not None else None
    if outcome is Outcome.SUCCESS and (status is None or error is not None):
        raise ValueError("it is a success without a status")
    if outcome is Outcome.SUCCESS and status is not None and not _has_ended(status):
        raise ValueError(f"it is a success of a task that is {'deleted' if status.is_deleted else status.state}")
    if outcome is Outcome.FAILURE and status is None and error is None:
        raise ValueError("it is a failure without a status or an error")
    follows = Next.SUCCESS if outcome is Outcome.SUCCESS else Next.FAILURE
    observation = Observation(follows, status, str(event["reason"]), error=error, outage=event["outage"] is True)
    return Ended(outcome, observation)


def _has_ended(status: TaskStatus) -> bool:
    return not status.is_deleted and (status.state.is_final or status.state is TaskState.ENDED)


def _status_of_event(sops_task_id: int, fields: Any) -> TaskStatus:
    if not isinstance(fields["elapsed_time"], int):
        raise ValueError("elapsed_time is not a number")
    return TaskStatus(
        task_id=sops_task_id,
        state=TaskState(fields["state"]),
        raw_state=fields["state"],
        name=str(fields["task_name"]),
        start_time=parse_time(fields["start_time"]),
        finish_time=parse_time(fields["end_time"]),
        elapsed_time=fields["elapsed_time"],
        is_deleted=fields["is_deleted"] is True,
        task_url=str(fields["task_url"]),
    )


def _error_of_event(sops_task_id: int, fields: Any) -> SopsError:
    kind = getattr(errors, str(fields["kind"]), SopsError)
    if not (isinstance(kind, type) and issubclass(kind, SopsError)):
        raise ValueError(f"unknown kind of error {fields['kind']!r}")
    error: SopsError = kind(str(fields["message"]))
    error.task_id = sops_task_id
    return error
