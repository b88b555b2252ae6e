# SPDX-License-Identifier: Apache-2.0
"""The check of sizes measures what it says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SOURCE = """class Outer:
    x = 1

    @property
    def name(self):
        def inner():
            return 1

        return inner()


async def alone():
    pass
"""


def test_files_classes_and_functions_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parents[1] / "tools" / "sizes.py"
    spec = importlib.util.spec_from_file_location("sizes", path)
    assert spec is not None
    assert spec.loader is not None
    sizes = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sizes", sizes)
    spec.loader.exec_module(sizes)
    found = {(size.kind, size.name): size.lines for size in sizes.sizes_of("a.py", SOURCE)}
    assert found == {
        ("file", "a.py"): 13,
        ("class", "a.py:Outer"): 9,
        ("function", "a.py:Outer.name"): 5,
        ("function", "a.py:Outer.name.inner"): 2,
        ("function", "a.py:alone"): 2,
    }
