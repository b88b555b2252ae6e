# SPDX-License-Identifier: Apache-2.0
"""Writing into the log of an Airflow task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core.text import storable

if TYPE_CHECKING:
    from airflow_provider_sops.core.flow import LogLine


def log_lines(log: Any, lines: Iterable[LogLine]) -> None:
    """Write lines into a task's log, made storable.

    :param log: the logger of the operator, sensor or trigger.
    """
    for line in lines:
        (log.warning if line.warning else log.info)("%s", storable(line.text))
