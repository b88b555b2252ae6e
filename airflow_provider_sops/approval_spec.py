# SPDX-License-Identifier: Apache-2.0
"""The order for a deferred approval: what the operator hands to its trigger, and gets back with the trigger's event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from airflow_provider_sops.core.approval.answer import Answer, answer_of_fields
from airflow_provider_sops.core.text import storable_value
from airflow_provider_sops.exceptions import SopsTriggerEventException

#: Version of the event's shape; an event of another version is refused.
EVENT_VERSION = 1


class Phase(StrEnum):
    """What a deferred approval waits for."""

    #: an earlier try may have asked: is there an answer?
    LOOK = "look"
    #: the SOPS task comes to the pause node
    REACH = "reach"
    #: somebody answers, here or in SOPS
    ANSWER = "answer"
    #: SOPS, which was away, answers again
    SOPS = "sops"


class Found(StrEnum):
    """What the trigger of a deferred approval has found."""

    #: nothing was asked, or nothing that still holds: a worker is to
    TO_ASK = "to_ask"
    ANSWERED = "answered"
    #: the node is over: it was confirmed in SOPS
    CONFIRMED = "confirmed"
    #: the SOPS task has ended, well or badly, or cannot be read
    ENDED = "ended"
    #: nobody has answered in time
    TIMEOUT = "timeout"
    #: SOPS answers again
    SOPS = "sops"


@dataclass(frozen=True, slots=True)
class ApprovalState:
    """What an approval knows when it is deferred: ids, numbers, words, and the answer. All times are seconds since the
    epoch."""

    #: the Airflow task instance's id, under which Airflow keeps the question
    ti_id: str
    #: the Airflow task's id
    airflow_task_id: str = ""
    phase: Phase = Phase.REACH
    #: empty while the SOPS task could not be read
    node_id: str = ""
    node_name: str = ""
    #: the question was asked, by this try or an earlier one of the same run
    asked: bool = False
    #: seconds that an answer may take; ``None``: any time
    response_timeout: float | None = None
    #: up to when
    deadline: float | None = None
    on_timeout: str = "fail"
    #: what the form's params are by default
    defaults: Mapping[str, Any] = field(default_factory=dict)
    answer: Answer | None = None
    #: the answer's call may have been sent, so that its effect may yet show
    may_have_been_sent: bool = False
    #: since when SOPS does not take the answer
    outage_since: float | None = None

    def but(self, **changes: Any) -> Self:
        """Return the same with changes."""
        return replace(self, **changes)

    def fields(self) -> dict[str, Any]:
        """Return it as a row can hold it."""
        made = {**asdict(self), "phase": self.phase.value, "defaults": dict(self.defaults)}
        made["answer"] = self.answer.fields() if self.answer else None
        storable: dict[str, Any] = storable_value(made)
        return storable


def state_of_fields(fields: Any) -> ApprovalState:
    """Read what :meth:`ApprovalState.fields` has given.

    :raises SopsTriggerEventException: it is none.
    """
    try:
        known = {name: fields[name] for name in ApprovalState.__dataclass_fields__ if name in fields}
        answer = None if known.get("answer") is None else answer_of_fields(known["answer"])
        return ApprovalState(**{**known, "phase": Phase(known["phase"]), "answer": answer})
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(error) from error


def make_event(found: Found, state: ApprovalState, ended: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make the event with which the trigger resumes its task.

    :param ended: how the wait for the SOPS task ended, see :func:`airflow_provider_sops.trigger_events.make_event`.
    """
    return {
        "version": EVENT_VERSION,
        "found": found.value,
        "state": state.fields(),
        "ended": None if ended is None else dict(ended),
    }


def read_event(event: Any) -> tuple[Found, ApprovalState, Any]:
    """Check and read the trigger's event.

    :return: what was found, what is known, and how the wait for the SOPS task ended.
    :raises SopsTriggerEventException: it is not an event of this version.
    """
    try:
        if event["version"] != EVENT_VERSION:
            raise ValueError(f"its version is {event['version']!r}, not {EVENT_VERSION}")
        return Found(event["found"]), state_of_fields(event["state"]), event["ended"]
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> SopsTriggerEventException:
    return SopsTriggerEventException(
        f"The trigger of the approval has sent an event that cannot be used ({type(error).__name__}: {error}). If the "
        "provider was upgraded while the task waited, let it be retried: a retry finds the question and its answer."
    )
