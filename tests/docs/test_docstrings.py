# SPDX-License-Identifier: Apache-2.0
"""The reference in Chinese: each docstring that it shows has been translated, from the text that it has now."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.docs.blocks import ROOT, translation
from tests.docs.docstrings import REFERENCE, shown_docstrings

ENTRIES = tomllib.loads((ROOT / "docs" / "zh" / "docstrings.toml").read_text())
SHOWN = shown_docstrings()
ADVICE = "(If you do not write Chinese, say so in the pull request.) In docs/zh/docstrings.toml"


@pytest.mark.parametrize("path", SHOWN)
def test_a_docstring_is_translated(path: str) -> None:
    english = SHOWN[path]
    entry = ENTRIES.get(path)
    assert entry, f"{ADVICE} add, with the translation as zh:\n\n[\"{path}\"]\nen = '''\n{english}\n'''\nzh = '''\n'''"
    assert entry["en"].strip() == english, (
        f"{ADVICE} the docstring of {path} is an old one. Look at what zh says, and make en:\n\n{english}\n"
    )
    chinese = entry["zh"].strip()
    assert re.search(r"[\u4e00-\u9fff]", chinese), f"{ADVICE} zh of {path} has no Chinese"
    assert _fields(chinese) == _fields(english), f"{ADVICE} zh of {path} needs the fields of en, in their order"
    assert _literals(chinese) == _literals(english), f"{ADVICE} zh of {path} needs the ``literals`` of en"


def test_no_translation_is_left_over() -> None:
    assert [path for path in ENTRIES if path not in SHOWN] == [], f"{ADVICE} remove what the reference does not show"


def test_both_languages_show_the_same() -> None:
    english, chinese = (
        re.findall(r"^(?:::: | +\S).*", page.read_text(), re.M) for page in (REFERENCE, translation(REFERENCE))
    )
    assert english == chinese


def _fields(docstring: str) -> list[str]:
    """Return what Sphinx' fields describe: ``:param scope:`` and the like."""
    return re.findall(r"^:(?:return|[a-z]+ \S+):", docstring, re.M)


def _literals(docstring: str) -> set[str]:
    # they may be broken at the end of a line
    return {" ".join(literal.split()) for literal in re.findall(r"``(.+?)``", docstring, re.S)}
