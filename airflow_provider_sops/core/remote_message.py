# SPDX-License-Identifier: Apache-2.0
"""What the remote side says, in whatever shape, as one line of text without secrets."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from airflow_provider_sops.core.redact import scrub
from airflow_provider_sops.core.text import DEEPEST, as_text, storable

_LONGEST = 500
_TRACEBACK = "Traceback (most recent call last)"
#: The modules of an exception's class, in the last line of a traceback.
_MODULES = re.compile(r"^(?:\w+\.)+(?=\w+(?::|$))")


def one_line(message: Any, secrets: Iterable[str] = ()) -> str:
    """Make one readable, storable line of a message of SOPS: a string, a traceback, a dict of field errors or nothing.

    :param secrets: are replaced, before the text is split into lines and cut.
    """
    # a dict's parts are put together, so that a secret may stand over two of them: it is looked for in the whole, too
    text = scrub(_flat(message, frozenset(secrets)), secrets)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _flat(message: Any, secrets: Collection[str], depth: int = 0) -> str:
    if isinstance(message, Mapping | list | tuple) and depth >= DEEPEST:
        return "…"
    if isinstance(message, Mapping):
        parts = [(_flat(key, secrets), _flat(value, secrets, depth + 1)) for key, value in message.items()]
        return "; ".join(f"{key}: {value}" for key, value in parts)
    if isinstance(message, list | tuple):
        return ", ".join(_flat(item, secrets, depth + 1) for item in message)
    lines = [line.strip() for line in storable(scrub(as_text(message), secrets), None).split("\n") if line.strip()]
    text = lines[0] if lines else ""
    before, traceback, _ = text.partition(_TRACEBACK)
    if traceback and len(lines) > 1:  # only its last line says what happened
        text = before + _MODULES.sub("", lines[-1])
    return text
