# SPDX-License-Identifier: Apache-2.0
"""The boundary for what SOPS, gateways and HTTP libraries say: here it becomes what every log and database stores.

A lone surrogate cannot be encoded, a NUL not be stored by PostgreSQL, and other control characters make a terminal do
things. All of them are shown instead: ``\\x00``, ``\\ud800``. Values of outputs do not come this way; they stay as they
are.
"""

from __future__ import annotations

import re
import reprlib
import sys
from collections.abc import Mapping
from math import isfinite
from typing import Any

#: Most characters of an exception's text or of a line in a log.
LONGEST = 4000
#: Most characters of what names something: tasks (SOPS allows 100), nodes, users, ids.
LONGEST_NAME = 500
#: Most characters of the id of a request.
LONGEST_ID = 128
#: Most characters of one of few words, such as a state, and of a code.
LONGEST_WORD = 64
#: Larger whole numbers fit into no column of a database, nor into what Airflow's processes send each other.
LARGEST_INT = 2**63 - 1
_MOST_DIGITS = 40  # with leading zeros
#: Deepest nesting that is looked into: subprocesses in subprocesses, or what an event may hold.
DEEPEST = 50

#: Control characters but tab and newline, and surrogates, which Python's strings have lone ones of.
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class _Short(reprlib.Repr):
    """Writes what should have been a text, without an end to neither its depth nor its length."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 6
        self.maxdict = self.maxlist = self.maxlong = 40
        # not cut here: a secret that is cut cannot be found any more
        self.maxstring = self.maxother = sys.maxsize


_SHORT = _Short()


def storable(text: str, longest: int | None = LONGEST) -> str:
    """Escape what cannot be stored, visibly, and bound the length. What is storable already stays as it is.

    :param longest: most characters, of which the last then is an ellipsis; ``None``: any number.
    """
    if _UNSTORABLE.search(text):
        text = _UNSTORABLE.sub(_escaped, text.replace("\r\n", "\n"))
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def as_text(value: object) -> str:
    """Return what should be a text as one, whatever it is: nothing for ``None``, else as Python writes it, in short."""
    if isinstance(value, str):
        return value
    return "" if value is None else _SHORT.repr(value)


def repr_of(value: object) -> str:
    """Return what Python writes for a value, in short, for an error that says what stands where."""
    return storable(_SHORT.repr(value), LONGEST_NAME)


def text_of(value: object, longest: int | None = LONGEST_NAME) -> str:
    """Return what should be a text as a storable one."""
    return storable(as_text(value), longest)


def fits(number: int) -> bool:
    """Return whether a whole number can be stored."""
    return -LARGEST_INT <= number <= LARGEST_INT


def read_int(value: object) -> int | None:
    """Read a whole number that can be stored: an int, or a string of digits; ``None`` for anything else."""
    if isinstance(value, str):
        digits = value.strip()
        # longer ones Python may even refuse to read
        value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS else None
    return value if isinstance(value, int) and not isinstance(value, bool) and fits(value) else None


def storable_value(value: Any, depth: int = 0) -> Any:
    """Return a value of which every Airflow can store the JSON: the last guard of what is made for storing.

    Texts are storable, whole numbers have 64 bits at most, others are finite, and nothing is nested without an end.
    """
    if isinstance(value, str):
        return storable(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return max(-LARGEST_INT, min(int(value), LARGEST_INT))
    if isinstance(value, float):
        return value if isfinite(value) else None
    if depth >= DEEPEST:
        return None
    if isinstance(value, Mapping):
        return {text_of(key): storable_value(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable_value(one, depth + 1) for one in value]
    return text_of(value)
