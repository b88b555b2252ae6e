# SPDX-License-Identifier: Apache-2.0
"""What is public: the same in the reference, in both languages, and in the ``__all__`` of its modules."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

from airflow_provider_sops import exceptions
from airflow_provider_sops.core import models

DOCS = Path(__file__).parent.parent / "docs"


def _listed(language: str) -> list[str]:
    pages = sorted((DOCS / language).glob("reference-*.md"))
    return [name for page in pages for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.M)]


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # below something that is no package
        return False


LISTED = _listed("en")
MODULES = sorted({name if _is_module(name) else name.rpartition(".")[0] for name in LISTED})


def test_the_reference_lists_the_same_in_both_languages() -> None:
    assert _listed("zh") == LISTED
    assert len(set(LISTED)) == len(LISTED) >= 15


@pytest.mark.parametrize("name", MODULES)
def test_all_that_a_public_module_offers_is_in_the_reference(name: str) -> None:
    module = importlib.import_module(name)
    listed = {one.rpartition(".")[2] for one in LISTED if one.rpartition(".")[0] == name and not _is_module(one)}
    assert all(hasattr(module, one) for one in module.__all__)
    if name in LISTED:  # as a whole
        assert listed <= set(module.__all__)
    else:
        assert listed == set(module.__all__)


def test_results_are_public_and_what_reads_them_is_not() -> None:
    assert all(inspect.isclass(getattr(models, name)) for name in models.__all__)


def test_every_exception_is_public() -> None:
    own = {
        name
        for name, thing in vars(exceptions).items()
        if inspect.isclass(thing) and thing.__module__ == exceptions.__name__
    }
    assert own == set(exceptions.__all__)
