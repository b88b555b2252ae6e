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
def rooms() -> Iterator[ModuleType]:
    """The tool as a module."""
    spec = importlib.util.spec_from_file_location("rooms", ROOT / "tools" / "rooms.py")
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
def test_an_arrow_is_left_out_where_others_lead_the_same_way(rooms: ModuleType, imports: str, shown: str) -> None:
    assert rooms.reduced(_imports(imports)) == sorted(tuple(arrow.split("->")) for arrow in shown.split())


def test_the_diagrams_are_the_same_each_time(rooms: ModuleType) -> None:
    drawn = rooms.rooms()
    assert drawn == rooms.rooms()
    assert 'core["core/"]' in drawn
    assert "    testing --> core\n" in drawn


def test_a_diagram_that_is_out_of_date_is_noticed(
    rooms: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "design.md"
    page.write_text(f"before\n\n{rooms.BEGIN}\nold\n{rooms.END}\n\nafter\n")
    monkeypatch.setattr(rooms, "ROOT", tmp_path)
    monkeypatch.setattr(rooms, "PAGE", page)
    monkeypatch.setattr(rooms, "rooms", lambda: "new")
    monkeypatch.setattr(sys, "argv", ["rooms.py", "--check"])
    with pytest.raises(SystemExit, match="make rooms"):
        rooms.main()
    assert "old" in page.read_text()
    monkeypatch.setattr(sys, "argv", ["rooms.py"])
    rooms.main()
    assert page.read_text() == f"before\n\n{rooms.BEGIN}\n\nnew\n\n{rooms.END}\n\nafter\n"
    monkeypatch.setattr(sys, "argv", ["rooms.py", "--check"])
    rooms.main()
