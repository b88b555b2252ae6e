# SPDX-License-Identifier: Apache-2.0
"""The reference in Chinese: each docstring that it shows has been translated, from the text that it has now."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from airflow_provider_sops.configuration import CONFIG, SECTION
from tests.docs.blocks import ROOT, translation
from tests.docs.docstrings import REFERENCE, shown_docstrings

ENTRIES = tomllib.loads((ROOT / "docs" / "zh" / "docstrings.toml").read_text())
SHOWN = shown_docstrings()
ADVICE = "docs/zh/docstrings.toml (if you do not write Chinese, say so in the pull request):"


@pytest.mark.parametrize("path", SHOWN)
def test_a_docstring_is_translated(path: str) -> None:
    english = SHOWN[path]
    entry = ENTRIES.get(path)
    assert entry, f"{ADVICE} add this, with the Chinese in zh:\n\n[\"{path}\"]\nen = '''\n{english}\n'''\nzh = '''\n'''"
    assert entry["en"].strip() == english, (
        f"{ADVICE} the docstring of {path} has changed. Change zh too, and let en be the docstring:\n\n{english}\n"
    )
    chinese = entry["zh"].strip()
    assert re.search(r"[\u4e00-\u9fff]", chinese), f"{ADVICE} write the Chinese of {path}"
    assert _fields(chinese) == _fields(english), f"{ADVICE} {path} needs the fields of en in zh, in their order"
    assert _literals(chinese) == _literals(english), f"{ADVICE} {path} needs the ``literals`` of en in zh"


def test_no_translation_is_left_over() -> None:
    left_over = [path for path in ENTRIES if path not in SHOWN]
    assert left_over == [], f"{ADVICE} the reference does not show these any more; remove them, or rename them"


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_both_languages_show_the_same(page: Path) -> None:
    english, chinese = (re.findall(r"^(?:::: | +\S).*", one.read_text(), re.M) for one in (page, translation(page)))
    assert english == chinese


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_reference_lists_the_configuration(language: str) -> None:
    page = (ROOT / "docs" / language / "reference.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \| `(\S+)` \|", page, re.M))
    assert listed == {name: option["default"] for name, option in CONFIG[SECTION]["options"].items()}


def _fields(docstring: str) -> list[str]:
    """Return what Sphinx' fields describe: ``:param scope:`` and the like."""
    return re.findall(r"^:(?:return|[a-z]+ \S+):", docstring, re.M)


def _literals(docstring: str) -> set[str]:
    # they may be broken at the end of a line
    return {" ".join(literal.split()) for literal in re.findall(r"``(.+?)``", docstring, re.S)}
