# SPDX-License-Identifier: Apache-2.0
"""What flows report, in the log of an Airflow task."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_sops.core.call_flow import LogLine, Secrets
from airflow_provider_sops.task_log import log_lines, report_to
from tests.hostile import SHOWN, TEXT


def test_lines_are_written_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report = report_to(logging.getLogger("x"))
    report(LogLine("100% done"))
    report(LogLine("look out\0", warning=True))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "100% done"),
        ("WARNING", "look out\\x00"),
    ]


def test_secrets_are_masked_and_not_written(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow_provider_sops.task_log.mask_secret", masked.append)
    report_to(logging.getLogger("x"))(Secrets(("hidden-word", "1")))
    assert masked == ["hidden-word"]
    assert caplog.records == []


def test_a_line_of_the_log_is_storable(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log_lines(logging.getLogger("x"), [LogLine(TEXT), LogLine(TEXT, warning=True), LogLine("x" * 99_999)])
    assert [record.getMessage() for record in caplog.records] == [SHOWN, SHOWN, "x" * 3999 + "…"]
