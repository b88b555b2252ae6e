# SPDX-License-Identifier: Apache-2.0
"""Variables in the texts of a tree: ``${IP}`` and ``${data['ip']}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\{\s*(\w+)((?:\[[^\]]+\]|\.\w+)*)\s*\}")


def key_of(name: str) -> str:
    """``IP`` -> ``${IP}``."""
    return "${" + name + "}"


def references(value: Any) -> set[str]:
    """Keys (``${IP}``) of the variables that the strings in a value refer to."""
    if isinstance(value, str):
        return {key_of(match.group(1)) for match in _REFERENCE.finditer(value)}
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return {key for item in items for key in references(item)}


def render(value: Any, context: Mapping[str, Any]) -> Any:
    """Replace ``${IP}`` and ``${data['ip']}`` by values.

    A string that is nothing but one reference keeps the value's type; what cannot be resolved stays as it is.

    :param context: values by key (``${IP}``).
    """
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value)
        if whole:
            return _resolve(whole, context)
        return _REFERENCE.sub(lambda match: str(_resolve(match, context)), value)
    if isinstance(value, Mapping):
        return {key: render(item, context) for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, context) for item in value]
    return value


def _resolve(match: re.Match[str], context: Mapping[str, Any]) -> Any:
    key = key_of(match.group(1))
    if key not in context:
        return match.group(0)
    value = context[key]
    for part in re.findall(r"\[([^\]]+)\]|\.(\w+)", match.group(2)):
        step = (part[0] or part[1]).strip("'\"")
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return match.group(0)
    return value
