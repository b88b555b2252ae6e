# SPDX-License-Identifier: Apache-2.0
"""The diagrams of the design page: which imports they show, and that one that is out of date is noticed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.blocks import ROOT


@pytest.fixture(scope="module")
def diagrams() -> Iterator[ModuleType]:
    """The tool as a module."""
    spec = importlib.util.spec_from_file_location("diagrams", ROOT / "tools" / "diagrams.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = list(sys.path)
    yield module
    sys.path[:] = path


def _imports(text: str) -> dict[str, frozenset[str]]:
    arrows = [arrow.split("->") for arrow in text.split()]
    names = {name for arrow in arrows for name in arrow}
    return {name: frozenset(imported for module, imported in arrows if module == name) for name in names}


@pytest.mark.parametrize(
    ("imports", "shown"),
    [
        ("a->b b->c", "a->b b->c"),
        ("a->b b->c a->c", "a->b b->c"),
        ("a->b a->c b->d c->d a->d", "a->b a->c b->d c->d"),
        ("a->b b->c c->d a->d", "a->b b->c c->d"),
        ("a->b b->a", "a->b b->a"),
        ("a->b b->a a->c b->c", "a->b b->a a->c b->c"),
        ("a->b b->c c->b a->c", "a->b b->c c->b a->c"),
    ],
    ids=["chain", "shortcut", "diamond", "long shortcut", "cycle", "out of a cycle", "into a cycle"],
)
def test_an_arrow_is_left_out_where_others_lead_the_same_way(diagrams: ModuleType, imports: str, shown: str) -> None:
    assert diagrams.reduced(_imports(imports)) == sorted(tuple(arrow.split("->")) for arrow in shown.split())


def test_the_diagrams_are_the_same_each_time(diagrams: ModuleType) -> None:
    drawn = diagrams.diagrams()
    assert drawn == diagrams.diagrams()
    assert 'core["core/"]' in drawn
    assert "    testing --> core\n" in drawn


def test_a_diagram_that_is_out_of_date_is_noticed(
    diagrams: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "design.md"
    page.write_text(f"before\n\n{diagrams.BEGIN}\nold\n{diagrams.END}\n\nafter\n")
    monkeypatch.setattr(diagrams, "ROOT", tmp_path)
    monkeypatch.setattr(diagrams, "PAGE", page)
    monkeypatch.setattr(diagrams, "diagrams", lambda: "new")
    monkeypatch.setattr(sys, "argv", ["diagrams.py", "--check"])
    with pytest.raises(SystemExit, match="make diagrams"):
        diagrams.main()
    assert "old" in page.read_text()
    monkeypatch.setattr(sys, "argv", ["diagrams.py"])
    diagrams.main()
    assert page.read_text() == f"before\n\n{diagrams.BEGIN}\n\nnew\n\n{diagrams.END}\n\nafter\n"
    monkeypatch.setattr(sys, "argv", ["diagrams.py", "--check"])
    diagrams.main()
