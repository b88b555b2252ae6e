# SPDX-License-Identifier: Apache-2.0
"""The pages that say which SOPS can do what say the same as the code."""

from __future__ import annotations

import re

import pytest

from airflow_provider_sops.core.api.sops_releases import SINCE
from tests.docs.blocks import ROOT

#: What stands in code there besides APIs is a parameter of one of these.
APIS = ("create_task", "get_task_list")
#: It lists right since then; that it is there at all is another row.
LATER = {("get_task_list", "3.20.3")}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_names_the_releases_of_the_table(language: str) -> None:
    page = (ROOT / "docs" / language / "releases.md").read_text()
    rows = re.findall(r"^\| ([^|]*) \| (3[.\d]+) \|", page, re.M)
    said = {(name, release) for what, release in rows for name in re.findall(r"`(\w+)`", what)} - LATER
    known = {name: _since(name) for name, _ in said if _since(name)}
    assert len(known) >= 12
    assert {(name, release) for name, release in said if name in known} == set(known.items())


def _since(name: str) -> str | None:
    return SINCE.get(name) or next((SINCE[key] for api in APIS if (key := f"{api}.{name}") in SINCE), None)
