# SPDX-License-Identifier: Apache-2.0
"""What one reading of a task gave."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.call_flow import LogLine
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.wait.verdict import Next


@dataclass(frozen=True, slots=True)
class Observation:
    """What one reading of a task gave: what follows, the status (if it could be read), and lines for the log."""

    next: Next
    status: TaskStatus | None = None
    #: why the wait ends, as the end of a sentence like "SOPS task 10 …"; with an error: a sentence of its own
    reason: str = ""
    lines: tuple[LogLine, ...] = ()
    #: the error that ends the wait when it is not a bad end of the task
    error: errors.SopsError | None = None
    #: the wait ends because of ``max_outage``, not because of one error
    outage: bool = False
