# SPDX-License-Identifier: Apache-2.0
"""What the sensor and the operators share of waiting for a SOPS task: log lines, results, events and failures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.errors import SopsError
from airflow_provider_sops.core.failure_report import explain
from airflow_provider_sops.core.models import TaskStatus, parse_time
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.task_outputs import task_page
from airflow_provider_sops.core.text import storable, storable_value
from airflow_provider_sops.core.wait.task_wait import Observation
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.exceptions import (
    SopsException,
    SopsOutageException,
    SopsTaskFailedException,
    SopsTaskStoppedException,
    SopsTriggerEventException,
    as_airflow,
)

if TYPE_CHECKING:
    from airflow_provider_sops.core.api.project import Project
    from airflow_provider_sops.core.flow import LogLine
    from airflow_provider_sops.hooks.sops import SopsHook

#: Seconds after the trigger's own deadline at which Airflow ends a deferral whose trigger does not run.
TRIGGER_TIMEOUT_MARGIN = 120.0
#: XCom key of the id of the SOPS task that an operator runs.
TASK_ID_KEY = "sops_task_id"
#: XCom key of the id of a SOPS task the deferred wait for which has ended badly by itself, not by a user's hand: a
#: trigger that finds its task ended, as it has stood still meanwhile, then revokes nothing.
WAIT_ENDED_KEY = "sops_wait_ended"
#: Version of the event's shape; an event of another one is refused.
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


def log_lines(log: Any, lines: Iterable[LogLine]) -> None:
    """Write a look's lines into the task's log."""
    for line in lines:
        (log.warning if line.warning else log.info)("%s", storable(line.text))


def result_of(status: TaskStatus) -> dict[str, Any]:
    """Give what a wait returns: ids, state and times (ISO 8601 with offset, ``None`` where SOPS has none)."""
    return {
        "sops_task_id": status.task_id,
        "state": status.state.value,
        "start_time": status.start_time.isoformat() if status.start_time else None,
        "end_time": status.finish_time.isoformat() if status.finish_time else None,
        "elapsed_time": status.elapsed_time,
        "task_url": status.task_url,
        "task_name": status.name,
    }


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


def read_error(observation: Observation) -> SopsException:
    """Make the exception of a wait that ends because the status cannot be read."""
    assert observation.error is not None
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
