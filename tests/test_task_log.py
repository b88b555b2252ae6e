# SPDX-License-Identifier: Apache-2.0
"""What is written into a task's log."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_sops.core.flow import LogLine
from airflow_provider_sops.task_log import log_lines
from tests.hostile import SHOWN, TEXT


def test_a_line_of_the_log_is_storable(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log_lines(logging.getLogger("x"), [LogLine(TEXT), LogLine(TEXT, warning=True), LogLine("x" * 99_999)])
    assert [record.getMessage() for record in caplog.records] == [SHOWN, SHOWN, "x" * 3999 + "…"]
