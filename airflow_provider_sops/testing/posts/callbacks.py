# SPDX-License-Identifier: Apache-2.0
"""Callbacks of tasks: what SOPS posts to the ``callback_url`` that a task was made with (measured on SOPS 3.34).

Nothing is signed, and nothing proves who has posted.
"""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.posts.outbox import Post
from airflow_provider_sops.testing.refusals import PARAMETER, Stop, refusal

#: Seconds from an end or failure to the post (measured: 0.1 to 1 s).
DELAY = 0.2
#: Of a revoke SOPS tells twice: seconds between the two.
_AGAIN = 0.02
_RETRIES, _INTERVAL = 3, 1.0
_PATTERN = r"^https?://\w.+$"


def checked_url(url: Any) -> str:
    """Return an address that create_task takes; empty: there is to be no callback.

    :raises Stop: SOPS refuses it.
    """
    if not url:
        return ""
    if not isinstance(url, str) or not re.match(_PATTERN, url):
        raise Stop(refusal(f"callback_url format error, must match {_PATTERN}", PARAMETER))
    return url


def fields_of(task: Task, success: bool) -> dict[str, Any]:
    """What is posted: SOPS repeats the version that it was asked for, and knows of ``v2`` alone."""
    fields: dict[str, Any] = {"task_id": task.id}
    if task.callback_version:
        fields["callback_version"] = task.callback_version
    fields["task_success"] = success
    if task.callback_version == "v2":
        fields["task_outputs"] = task.outputs
    return fields


def posts_of(task: Task, success: bool, at: float, *, revoked: bool) -> list[tuple[float, Post]]:
    """Give the posts of an end or failure with their moments.

    :param at: when it happened.
    """
    fields = fields_of(task, success)
    content = {"json" if task.callback_version == "v2" else "data": fields}
    moments = [at + DELAY, at + DELAY + _AGAIN] if revoked else [at + DELAY]
    return [(moment, Post(task.id, task.callback_url, content, _RETRIES, _INTERVAL)) for moment in moments]
