# SPDX-License-Identifier: Apache-2.0
"""What a webhook of SOPS says: which task to look at. Nothing else of it is used, as anybody could have written it."""

from __future__ import annotations

import json

from airflow_provider_sops.core.api.calls import parse_id
from airflow_provider_sops.core.errors import SopsConfigError


def read_task_id(body: bytes) -> int | None:
    """Read the SOPS task's id: ``event.info.task_id`` (measured on SOPS 3.34).

    :return: ``None`` for what is no such body.
    """
    try:
        info = json.loads(body)["event"]["info"]
        return parse_id("task_id", info["task_id"])
    except (ValueError, LookupError, TypeError, RecursionError, SopsConfigError):
        return None
