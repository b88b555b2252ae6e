# SPDX-License-Identifier: Apache-2.0
"""The docstrings that the reference shows, found in the source as mkdocstrings finds them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.docs.blocks import ROOT

REFERENCE = sorted((ROOT / "docs" / "en").glob("reference-*.md"))
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class _Object(NamedTuple):
    """A module, class or function: where it is defined, and as what."""

    module: str
    names: tuple[str, ...]
    node: _Documented

    @property
    def path(self) -> str:
        return ".".join((self.module, *self.names))


def shown_docstrings() -> dict[str, str]:
    """Return each docstring of the reference by the path at which it stands, in the order of the pages."""
    shown: dict[str, str] = {}
    pages = "".join(page.read_text() for page in REFERENCE)
    for path, options in re.findall(r"^::: (\S+)\n((?: .*\n)*)", pages, re.M):
        root = _find(path)
        only = re.search(r"^ +members: \[(.*)\]", options, re.M)
        for found in _with_members(root, "inherited_members" in options, only and re.findall(r"\w+", only[1])):
            if docstring := ast.get_docstring(found.node):
                shown.setdefault(found.path, docstring)
    return shown


def _with_members(found: _Object, inherited: bool, only: list[str] | None = None) -> Iterator[_Object]:
    yield found
    for base in [*_mro(found)] if inherited else [found]:
        for name in _public_names(base.node) if only is None else only:
            if member := _member(base, name):
                yield from _with_members(member, inherited=False)


def _public_names(node: _Documented) -> list[str]:
    if isinstance(node, ast.Module):
        for statement in node.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
                return list(ast.literal_eval(statement.value))
    if isinstance(node, ast.Module | ast.ClassDef):
        return [child.name for child in node.body if isinstance(child, _Documented) and not child.name.startswith("_")]
    return []


def _mro(found: _Object) -> Iterator[_Object]:
    yield found
    assert isinstance(found.node, ast.ClassDef)
    for base in found.node.bases:
        if isinstance(base, ast.Name) and (parent := _member(_module(found.module), base.id)):
            yield from _mro(parent)


def _find(path: str) -> _Object:
    module, names = path, list[str]()
    while not _file(module):
        module, _, name = module.rpartition(".")
        assert module, f"the reference: there is no {path}"
        names.insert(0, name)
    found = _module(module)
    for name in names:
        member = _member(found, name)
        assert member, f"the reference: there is no {path}"
        found = member
    return found


def _member(owner: _Object, name: str) -> _Object | None:
    """Find what a module or class calls so, also where the module has only imported it from this package."""
    # `if TYPE_CHECKING:` too
    blocks = [owner.node, *(child for child in owner.node.body if isinstance(child, ast.If))]
    for child in (child for block in blocks for child in block.body):
        if isinstance(child, ast.ImportFrom) and name in (alias.name for alias in child.names) and child.module:
            return _member(_module(child.module), name) if _file(child.module) else None
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name == name:
            return _Object(owner.module, (*owner.names, name), child)
    return None


@cache
def _module(name: str) -> _Object:
    file = _file(name)
    assert file
    return _Object(name, (), ast.parse(file.read_text()))


def _file(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)
