# SPDX-License-Identifier: Apache-2.0
"""Writing into the log of an Airflow task."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import mask_secret

from airflow_provider_sops.core.call_flow import LogLine
from airflow_provider_sops.core.text import storable
from airflow_provider_sops.masking import maskable

if TYPE_CHECKING:
    from airflow_provider_sops.core.call_flow import Report, Secrets


def log_lines(log: Any, lines: Iterable[LogLine]) -> None:
    """Write lines into a task's log, made storable.

    :param log: the logger of the operator, sensor or trigger.
    """
    for line in lines:
        (log.warning if line.warning else log.info)("%s", storable(line.text))


def report_to(log: Any) -> Report:
    """Make what takes the reports of a flow: writes its lines into a task's log, and lets Airflow mask its secrets.

    :param log: the logger of the operator, sensor or trigger.
    """
    return partial(_report, log)


def _report(log: Any, report: LogLine | Secrets) -> None:
    if isinstance(report, LogLine):
        log_lines(log, [report])
        return
    for secret in maskable(report.values):
        mask_secret(secret)
