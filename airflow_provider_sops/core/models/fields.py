# SPDX-License-Identifier: Apache-2.0
"""Reading the fields of SOPS' answers: what each kind of field becomes, whatever stands in it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.text import LONGEST_WORD, fits, read_int, repr_of, text_of

if TYPE_CHECKING:
    import pendulum

    from airflow_provider_sops.core.api.answer import Answer

_LONGEST_URL = 2000
_LONGEST_TIME = 64
#: Years of which a time can be moved into any time zone.
_YEARS = range(1900, 9000)
_STATES = {state.value: state for state in TaskState if state not in (TaskState.ENDED, TaskState.UNKNOWN)}


@contextmanager
def reading(answer: Answer) -> Iterator[None]:
    """Turn the errors of reading wrong types in a block into the one error that says so.

    :raises SopsInvalidAnswerError: in place of them.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise answer.wrong(str(error)) from error


def object_of(answer: Answer, value: object) -> Mapping[str, Any]:
    """Read what must be an object.

    :raises SopsInvalidAnswerError: when it is none.
    """
    if not isinstance(value, dict):
        raise answer.wrong(f"{type(value).__name__} where an object belongs")
    return value


def objects_of(answer: Answer, value: object) -> list[Mapping[str, Any]]:
    """Read what must be a list of objects.

    :raises SopsInvalidAnswerError: when it is none.
    """
    if not isinstance(value, list):
        raise answer.wrong(f"data is {type(value).__name__} where a list belongs")
    return [object_of(answer, item) for item in value]


def mapping(value: object) -> Mapping[str, Any]:
    """Read an object that may be missing; anything else counts as an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """Read a name or the like."""
    return text_of(value)


def long_text(value: object) -> str:
    """Read a text that is cut later, when the secrets in it are masked."""
    return text_of(value, None)


def word(value: object) -> str:
    """Read one of few words; thousands of waits keep it, and share it."""
    return sys.intern(text_of(value, LONGEST_WORD))


def node_name(value: object) -> str:
    """Read a name in a status; before SOPS 3.6.46 what has none there is named after its class in the engine."""
    name = text(value)
    return "" if name.startswith("<class '") else name


def url(value: object) -> str:
    """Read an address; half of one leads nowhere."""
    address = text_of(value, None)
    return address if len(address) <= _LONGEST_URL else ""


def optional_id(value: object) -> int | None:
    """Read an id that is an int here and a string there, and ``""`` or ``null`` where there is none.

    :raises ValueError: when it is something else.
    """
    if value is None or value == "":
        return None
    return required_id(value)


def required_id(value: object) -> int:
    """Read an id.

    :raises ValueError: when it is none.
    """
    found = read_int(value)
    if found is None:
        raise ValueError(f"an id is {repr_of(value)}")
    return found


def number(value: object) -> int:
    """Read a number on which nothing depends, such as the seconds that a task ran; what is none counts as 0."""
    if not isinstance(value, int | float) or (isinstance(value, float) and not math.isfinite(value)):
        return 0
    return int(value) if fits(int(value)) else 0


def parse_state(word: object) -> TaskState:
    """Read a state's word; one that is not known gives :attr:`TaskState.UNKNOWN`."""
    return _STATES.get(word, TaskState.UNKNOWN) if isinstance(word, str) else TaskState.UNKNOWN


def parse_time(value: object) -> pendulum.DateTime | None:
    """Read a time of SOPS; one without an offset is UTC, an empty one is not yet known.

    :raises ValueError: when it is neither empty nor a time.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"a time must be a string, not {repr_of(value)}")
    if len(value) > _LONGEST_TIME:
        raise ValueError(f"not a time: {repr_of(value)}")
    return _parse_time(value)


@lru_cache(maxsize=1024)  # a wait reads the same times again and again
def _parse_time(value: str) -> pendulum.DateTime:
    import pendulum

    written = value.strip()
    head, _, offset = written.rpartition(" ")
    if head and offset[:1] in ("+", "-"):  # "2026-11-22 21:03:25 +0800"
        written = head + offset
    try:
        moment = pendulum.parse(written, tz="UTC")
    except (ValueError, OverflowError, TypeError, AttributeError):  # all of which pendulum raises, quoting the text
        raise ValueError(f"not a time: {value!r}") from None
    # a time of day would be taken for today's
    if not isinstance(moment, pendulum.DateTime) or written[4:5] != "-" or moment.year not in _YEARS:
        raise ValueError(f"not a time: {value!r}")
    return moment
