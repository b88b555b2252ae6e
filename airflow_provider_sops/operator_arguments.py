# SPDX-License-Identifier: Apache-2.0
"""Arguments of the sensor and the operators: some are checked when a DAG file is read, those that are templated when
they are rendered, in one place.

All that reading a DAG file needs, and no more: what runs a task is imported when one runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple

from airflow.providers.common.compat.sdk import XComArg

from airflow_provider_sops.compat import END_FROM_TRIGGER_SINCE, TRIGGERS_PUSH_XCOMS, expanded_arguments
from airflow_provider_sops.core.api.calls import parse_id, parse_scope
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.wait.policy import WaitPolicy, check_choice, parse_allowed_states

Duration = float | timedelta
#: Gives the value that is worked with, or raises :class:`SopsConfigError`, which names the field and what it was.
Reader = Callable[[str, Any], Any]


def as_seconds(field: str, duration: Duration) -> float:
    """Read a duration.

    :param field: the argument's name, for the error.
    :param duration: seconds or a ``timedelta``.
    :raises ValueError: when it is neither, or negative.
    """
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        raise ValueError(f"{field}: must be seconds or a timedelta, not negative, not {duration!r}")
    return float(seconds)


def make_policy(
    *,
    allowed_states: Iterable[str],
    on_failed: str,
    failed_grace: Duration | None,
    on_suspended: str,
    max_outage: Duration,
    assume_finished: bool = False,
) -> WaitPolicy:
    """Check a task's arguments when the DAG is read.

    :raises ValueError: names the argument that is wrong.
    """
    check_choice("on_failed", on_failed, ("fail", "wait"))
    check_choice("on_suspended", on_suspended, ("wait", "fail"))
    return WaitPolicy(
        allowed_states=parse_allowed_states(allowed_states),
        on_failed="wait" if on_failed == "wait" else "fail",
        failed_grace=None if failed_grace is None else as_seconds("failed_grace", failed_grace),
        on_suspended="fail" if on_suspended == "fail" else "wait",
        max_outage=as_seconds("max_outage", max_outage),
        assume_finished=assume_finished,
    )


# ---- what is templated ----


def listed(values: Any) -> Any:
    """Make a list of a generator, a set or the like, so that a DAG is the same whenever its file is read.

    What Airflow is still to render stays as it is, and so does one text, which is one item.
    """
    if isinstance(values, set | frozenset):
        return sorted(values, key=str)
    if isinstance(values, list | str | bytes | Mapping | XComArg) or not isinstance(values, Iterable):
        return values
    return list(values)


def read_text(field: str, value: Any) -> str:
    """Read a text; Jinja's native types make a number of one that looks so."""
    if not _is_text(value):
        raise _wrong(field, "a text", value)
    return str(value)


def read_texts(field: str, value: Any) -> list[str]:
    """Read a list of texts, or one alone."""
    return [str(one) for one in _texts(field, value)]


def read_some_texts(field: str, value: Any) -> list[str]:
    """Read a list of texts that is not empty: to SOPS that means all."""
    return [str(one) for one in _some_texts(field, value)]


def read_schemes(field: str, value: Any) -> int | list[int | str]:
    """Read one id of an execution scheme, or a list of them that is not empty: to SOPS that means all nodes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return [one if isinstance(one, int) else str(one) for one in _some_texts(field, value)]


def read_mapping(field: str, value: Any) -> dict[str, Any]:
    """Read a dict with texts as keys; its values are SOPS' matter."""
    if not isinstance(value, Mapping):
        raise _wrong(field, "a dict", value, secret=True)
    for key in value:
        if not _is_text(key):
            raise _wrong(field, "a dict with texts as keys", key, held=True)
    return {str(key): item for key, item in value.items()}


def read_scope(field: str, value: Any) -> str:
    """Read a scope."""
    return parse_scope(value)


def read_template_source(field: str, value: Any) -> str:
    """Read where a template is kept."""
    check_choice(field, value, ("business", "common"))
    return str(value)


def _is_text(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _texts(field: str, value: Any) -> list[Any]:
    values = [value] if _is_text(value) else listed(value)
    if not isinstance(values, list):
        raise _wrong(field, "a text or a list of texts", value)
    for one in values:
        if not _is_text(one):
            raise _wrong(field, "a list of texts", one, held=True)
    return values


def _some_texts(field: str, value: Any) -> list[Any]:
    if values := _texts(field, value):
        return values
    raise SopsConfigError(field, "must name at least one, not be an empty list; leave it out to mean all")


def _wrong(field: str, expected: str, value: Any, *, held: bool = False, secret: bool = False) -> SopsConfigError:
    """Make the error that names what was expected and what was given; of what may hold secrets, the type alone."""
    shown = not value or (isinstance(value, bool | int | float | str) and not secret)
    was = repr(value) if shown else f"a value of type {type(value).__name__}"
    was = was if len(was) <= _LONGEST_SHOWN else f"{was[:_LONGEST_SHOWN]}…"
    return SopsConfigError(field, f"must be {expected}, not {'one that holds ' if held else ''}{was}")


#: Longest part (characters) of a wrong value that an error shows.
_LONGEST_SHOWN = 100


class Field(NamedTuple):
    """A templated argument: what reads it, and whether it cannot be left out."""

    read: Reader
    required: bool = False


#: The connection, and the project of a SOPS task or template.
PROJECT_FIELDS: Mapping[str, Field] = {
    "bk_biz_id": Field(parse_id),
    "scope": Field(read_scope),
    "sops_conn_id": Field(read_text, required=True),
}
#: Which SOPS task it is about.
TASK: Mapping[str, Field] = {"sops_task_id": Field(parse_id, required=True), **PROJECT_FIELDS}
#: What a wait is about, in a worker and in the triggerer.
WAIT: Mapping[str, Field] = {**TASK, "keys": Field(read_texts)}


def read_values(fields: Mapping[str, Field], values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Check what arguments were rendered to, and make of each what is worked with.

    :param given: the names of those that the DAG's author gave.
    :return: those that have a value.
    :raises SopsConfigError: names the argument, and what it was.
    """
    read = {}
    for name, field in fields.items():
        value = values[name]
        if value is not None or field.required:
            read[name] = field.read(name, value)
        elif name in given:
            raise SopsConfigError(
                name, "was given, but what it was to come from gave None; leave it out to mean no value"
            )
    return read


class Templated:
    """What the sensor and the operators do with their templated arguments."""

    #: each of them by name; they are the ``template_fields``
    fields_read: ClassVar[Mapping[str, Field]]
    #: those that the author of the DAG gave, whatever they are rendered to
    _given: frozenset[str] = frozenset()

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Begin a mapped task, as Airflow does; what is ``None`` is not given."""
        if kwargs.get("end_from_trigger") and not TRIGGERS_PUSH_XCOMS:
            raise ValueError(f"end_from_trigger: it needs Airflow {END_FROM_TRIGGER_SINCE} or newer")
        if kwargs.get("start_from_trigger"):
            raise ValueError("start_from_trigger: Airflow starts mapped tasks in a worker; leave it out")
        own = {name: listed(kwargs.pop(name)) for name in (*cls.fields_read, "allowed_states") if name in kwargs}
        given = {name: value for name, value in own.items() if value is not None}
        return super().partial(**kwargs, **given)  # type: ignore[misc]

    def note_given(self) -> None:
        """Note which arguments the author gave; to be called when all are set."""
        self._given = frozenset(name for name in self.fields_read if getattr(self, name) is not None)

    def read_fields(self) -> None:
        """Check what the arguments were rendered to, and make of each what is worked with. May be called again.

        :raises SopsConfigError: names the field, and what it was.
        """
        values = {name: getattr(self, name) for name in self.fields_read}
        for name, value in read_values(self.fields_read, values, self._given | expanded_arguments(self)).items():
            setattr(self, name, value)
