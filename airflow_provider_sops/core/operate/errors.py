# SPDX-License-Identifier: Apache-2.0
"""The error of a try that cannot continue."""

from __future__ import annotations

from airflow_provider_sops.core.models import TaskStatus


class RunAborted(Exception):
    """The SOPS task cannot be continued with, or not be repaired.

    :param message: what happened and what to do.
    :param status: the task's status, so that a failed one can be explained.
    """

    def __init__(self, message: str, status: TaskStatus) -> None:
        super().__init__(message)
        self.status = status
