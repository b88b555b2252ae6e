# SPDX-License-Identifier: Apache-2.0
"""The page about the tab "SOPS" says of each of the tab's messages what to do."""

from __future__ import annotations

import re

import pytest

from airflow_provider_sops.web import task_page_words as words
from tests.docs.blocks import ROOT

MESSAGES = [
    *(text[0] for name, text in vars(words).items() if re.fullmatch("[A-Z][A-Z_]*", name) and isinstance(text, tuple)),
    *(what.format(connection="connection …", api="…") for _, what, _ in words._SENTENCES),
]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_explains_each_message(language: str) -> None:
    page = (ROOT / "docs" / language / "task-page.md").read_text()
    rows = re.findall(r"^\| ([A-Z][^|]*) \|", page, re.M)
    explained = [message.rstrip(".") for row in rows for message in row.split("<br>")]
    assert len(MESSAGES) > 20
    assert sorted(explained) == sorted(message.rstrip(".") for message in MESSAGES)
