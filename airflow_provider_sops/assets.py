# SPDX-License-Identifier: Apache-2.0
"""What a DAG that is scheduled on an asset learns of the SOPS tasks that have ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NotRequired, TypedDict

from airflow_provider_sops.core.ended_task import VERSION, identity_of

__all__ = ["EndedTask", "ended_tasks"]


class EndedTask(TypedDict):
    """A SOPS task that has ended, or failed."""

    version: int
    sops_task_id: int
    task_name: str
    #: ``None`` for a one-time task
    template_id: int | None
    #: FINISHED, FAILED, REVOKED or EXPIRED
    state: str
    #: ISO 8601 with offset, or ``None``
    start_time: str | None
    #: ISO 8601 with offset; of a failed task when its last failed node failed
    end_time: str | None
    task_url: str
    #: by bare name, without those of password variables; ``None`` where they were left out
    outputs: dict[str, Any] | None
    #: why they were left out
    outputs_omitted: NotRequired[str]


def ended_tasks(triggering_asset_events: Mapping[Any, Iterable[Any]]) -> list[EndedTask]:
    """Give the ended tasks of all asset events that have started this DAG run, each once, in the order of the events.

    An end may be reported several times: by a watcher that has started again, by two triggerers, by an outlet and a
    webhook. Reports of one end are the same in ``sops_task_id``, ``state`` and ``end_time``.

    :param triggering_asset_events: of the task's context: the asset events by asset.
    :return: what the events of :mod:`this provider <airflow_provider_sops>` hold; other events count for nothing.
    """
    found: dict[tuple[Any, ...], EndedTask] = {}
    for events in triggering_asset_events.values():
        for event in events:
            for ended in ended_tasks_of_event(event.extra):
                found.setdefault(identity_of(ended), ended)
    return list(found.values())


def ended_tasks_of_event(extra: object) -> Iterator[EndedTask]:
    """Read an event: of an outlet or a webhook it is an ended task, of a watcher it has a list of them."""
    if not isinstance(extra, Mapping):
        return
    payload = extra.get("payload")
    several = payload.get("ended_tasks") if isinstance(payload, Mapping) else None
    for one in several if isinstance(several, list) else [extra]:
        if isinstance(one, Mapping) and isinstance(one.get("sops_task_id"), int) and one.get("version") == VERSION:
            yield EndedTask(**one)  # type: ignore[typeddict-item]
