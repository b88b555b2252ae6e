# SPDX-License-Identifier: Apache-2.0
"""Puts translated docstrings in the place of the English ones before mkdocstrings shows them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from griffe import Extension, Object


class TranslatedDocstrings(Extension):
    """Translates what the catalogue has; a docstring that has changed since it was translated stays English."""

    def __init__(self, catalogue: str) -> None:
        """Read the catalogue: by the path of an object its docstring, ``en``, and what stands in its place, ``zh``."""
        self._entries = tomllib.loads(Path(catalogue).read_text(encoding="utf-8"))

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Translate an object's docstring."""
        entry = self._entries.get(obj.path)
        if entry and obj.docstring and obj.docstring.value == entry["en"].strip():
            obj.docstring.value = entry["zh"].strip()
