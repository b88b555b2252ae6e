# SPDX-License-Identifier: Apache-2.0
"""The ended SOPS task in the asset events of an operator's outlets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core.ended_task import MAX_BYTES, json_bytes, make_ended_task, omit_outputs
from airflow_provider_sops.xcom_outputs import why_not_storable

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.core.models import TaskDetail
    from airflow_provider_sops.core.states import TaskState


def storable_ended_task(ended: Mapping[str, Any], log: Any) -> dict[str, Any]:
    """Return an ended task as Airflow can store it: outputs that are too large, or not JSON, are left out.

    :param ended: see :func:`~airflow_provider_sops.core.ended_task.make_ended_task`.
    :param log: is told what was left out.
    """
    why = why_not_storable(ended["outputs"])
    if why is None and (size := json_bytes(ended)) > MAX_BYTES:
        why = f"with them it takes {size} bytes, more than {MAX_BYTES}"
    if why is None:
        return dict(ended)
    log.warning("The asset event of SOPS task %s has no outputs: %s.", ended["sops_task_id"], why)
    return omit_outputs(ended, why)


def note_in_outlets(
    context: Context, outlets: Iterable[Any], detail: TaskDetail, state: TaskState, outputs: Mapping[str, Any], log: Any
) -> None:
    """Put an ended SOPS task into the events that Airflow makes of a task's outlets when it succeeds.

    What else an author has put there stays.

    :param outlets: see :func:`~airflow_provider_sops.compat.asset_outlets`.
    :param outputs: values by bare name.
    :param log: the task's log.
    """
    outlets = list(outlets)
    if not outlets:
        return
    ended = storable_ended_task(make_ended_task(detail, state, outputs), log)
    events = context["outlet_events"]
    for outlet in outlets:
        events[outlet].extra.update(ended)
