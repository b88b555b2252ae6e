# SPDX-License-Identifier: Apache-2.0
"""SOPS variables: their two spellings ``${IP}`` and ``$<IP>``, and how they are filled into a text."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

__all__ = ["render"]

#: A name in ``${…}`` or ``$<…>``; SOPS names are letters (Chinese too), digits and underscores.
_REFERENCE = re.compile(r"\$\{\s*(\w+)\s*\}|\$<\s*(\w+)\s*>")
#: A key, whatever its name is.
_KEY = re.compile(r"^\$(?:\{\s*([^{}]+?)\s*\}|<\s*([^<>]+?)\s*>)$")


def bare_name(key: str) -> str:
    """Return a variable's name without its dress: ``IP`` for ``${IP}``, ``$<IP>`` and ``IP``."""
    match = _KEY.match(key.strip())
    return (match.group(1) or match.group(2)) if match else key.strip()


def sops_key(name: str) -> str:
    """Return a variable's key as SOPS writes it: ``${IP}`` for ``IP``, ``$<IP>`` and ``${IP}``."""
    return f"${{{bare_name(name)}}}"


def as_text(value: Any) -> str:
    """Write a value as it stands in a text: a string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def render(text: str, outputs: Mapping[str, Any], *, quote: bool = False, strict: bool = True) -> str:
    """Replace ``${IP}`` and ``$<IP>`` in a text by the values of a SOPS task's outputs.

    :param text: the text; what was filled in is not looked at again.
    :param outputs: values by name, as :class:`~airflow_provider_sops.operators.sops.SopsGetTaskOutputsOperator`
        returns them; names in either spelling.
    :param quote: quote each value for a POSIX shell. Outputs are data from other machines: always do so when the text
        is run by a shell.
    :param strict: an unknown variable is an error; ``False`` leaves it as it stands.
    :return: the text with the values: strings as they are, others as JSON.
    :raises KeyError: when a variable is not among the outputs; lists those that there are.
    """
    values = {bare_name(key): value for key, value in outputs.items()}

    def fill(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name not in values:
            if not strict:
                return match.group(0)
            known = ", ".join(sorted(values)) or "none"
            raise KeyError(f"{match.group(0)} is not among the SOPS task's outputs; there are: {known}")
        return shlex.quote(as_text(values[name])) if quote else as_text(values[name])

    return _REFERENCE.sub(fill, text)
