# SPDX-License-Identifier: Apache-2.0
"""For how long SOPS may still retry a failed node by itself, where it does not say so: up to 3.31.12.

It retries by itself since 3.13.1, and the task says FAILED in between. All that is to be had then is the node's
settings in the task's tree, how often the node was retried in all, and when it failed.

Source: SOPS' public code, ``gcloud/taskflow3``; not measured on old servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.models.readers import failed_leaves
from airflow_provider_sops.core.text import DEEPEST

#: The most retries, and the longest time before one in seconds; SOPS cuts down what is set higher.
MOST_TIMES = 10
LONGEST_INTERVAL = 10
#: Seconds in which SOPS' workers send a retry that is due.
GRACE = 10.0
#: Seconds for which a retry that is still to come is waited for: SOPS gives one up that it cannot send at once, and
#: then none comes at all.
PATIENCE = 300.0
#: Seconds after a failure of which nothing is known at all.
LONGEST_WINDOW = MOST_TIMES * (LONGEST_INTERVAL + GRACE)


@dataclass(frozen=True, slots=True)
class AutoRetry:
    """How SOPS retries a node by itself."""

    times: int
    #: seconds from the failure to the retry
    interval: int


def auto_retries(tree: Mapping[str, Any], depth: int = 0) -> dict[str, AutoRetry]:
    """Return the nodes of a pipeline tree that SOPS retries by itself, those in subprocesses included.

    :param tree: ``pipeline_tree`` of ``get_task_detail``: a node has ``auto_retry`` ``{enable, times, interval}``;
        before SOPS 3.13.1 none has.
    :return: by node id, as in the execution.
    """
    found: dict[str, AutoRetry] = {}
    activities = tree.get("activities")
    if not isinstance(activities, dict) or depth >= DEEPEST:
        return found
    for node_id, node in activities.items():
        if not isinstance(node, dict):
            continue
        settings, inner = node.get("auto_retry"), node.get("pipeline")
        if isinstance(inner, dict):
            found |= auto_retries(inner, depth + 1)
        elif isinstance(settings, dict) and settings.get("enable"):
            found[str(node_id)] = AutoRetry(
                _bounded(settings.get("times", MOST_TIMES), MOST_TIMES),
                _bounded(settings.get("interval", 0), LONGEST_INTERVAL),
            )
    return found


def retry_window(status: TaskStatus, tree: Mapping[str, Any] | None) -> float:
    """Return the seconds after a task's last failure in which SOPS may still retry a node by itself.

    A node's count of retries has those of people in it, so SOPS may go on when it is full: then a retry comes after the
    interval, or none.

    :param status: the status of a failed task, with its nodes where they were read.
    :param tree: the task's ``pipeline_tree``; ``None`` or empty where it could not be read.
    """
    if not tree or not tree.get("activities"):
        return LONGEST_WINDOW
    settings = auto_retries(tree)
    if not status.nodes:  # which of them has failed is not known, nor how often
        return max((one.times * (one.interval + GRACE) for one in settings.values()), default=0.0)
    failed = [(node, settings[node.id]) for node, _ in failed_leaves(status.nodes) if node.id in settings]
    return max((one.interval + (PATIENCE if node.retry < one.times else GRACE) for node, one in failed), default=0.0)


def _bounded(value: object, most: int) -> int:
    """Read a number as SOPS does: without its sign, bounded, and the bound where it is none."""
    try:
        return min(abs(int(value)), most)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError, OverflowError):
        return most
