# SPDX-License-Identifier: Apache-2.0
"""What an operator knows of its own try: who it is, whether it may have run before, and what it remembers."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.compat import base_url
from airflow_provider_sops.core.api.calls import parse_id
from airflow_provider_sops.core.run.tag import Tag, make_tag
from airflow_provider_sops.core.run.task_run import RunRecord

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

#: So many tags of before a clear are searched for.
_MOST_EARLIER_TAGS = 20
#: Key in Airflow's task state store.
_MEMORY_KEY = "sops_task"


def run_start(context: Context) -> datetime | None:
    """Give when the DAG run started; ``None`` where no scheduler has started it."""
    start: datetime | None = getattr(context["dag_run"], "start_date", None)
    return start.astimezone(UTC) if start else None


def tag_of(context: Context, *, reattach: bool) -> Tag:
    """Make the tag under which this Airflow task's SOPS tasks are found again.

    ``max_tries`` itself is part of it, not ``max_tries - retries``: it too stays the same over retries and grows when a
    user clears a task that does not run, and it stays the same also when ``retries`` is edited in between.

    :param reattach: a cleared task takes up the SOPS task that there is.
    """
    return _tag(context, context["ti"].max_tries, site=base_url() if reattach else None)


def _tag(context: Context, max_tries: int, site: str | None = None) -> Tag:
    ti = context["ti"]
    start = run_start(context)
    map_index = getattr(ti, "map_index", None)
    return make_tag(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        run_start=start.isoformat(timespec="microseconds") if start else "",
        task_id=ti.task_id,
        map_index=-1 if map_index is None else map_index,
        max_tries=max_tries,
        site=site,
    )


def earlier_tags(context: Context, retries: int) -> tuple[Tag, ...]:
    """Give the tags that this Airflow task may have had before a user cleared it, the newest first.

    A clear raises ``max_tries`` by the number of tries since the clear before; how many these were, nothing tells.
    """
    ti = context["ti"]
    if ti.try_number <= 1 or ti.max_tries <= retries:
        return ()
    lower = range(ti.max_tries - 1, -1, -1)
    return tuple(_tag(context, max_tries) for max_tries in lower[:_MOST_EARLIER_TAGS])


def retry_is_left(ti: Any) -> bool:
    """Tell whether Airflow tries the task again when this try fails."""
    return bool(ti.try_number <= ti.max_tries)


class Memory:
    """What survives a retry in Airflow itself: its task state store, which Airflow has from 3.3 on.

    :ivar works: it is there, so that what it does not hold has not happened.
    """

    def __init__(self, context: Context, log: Any) -> None:
        self._store: Any = context.get("task_state_store")
        self.record: RunRecord | None = None
        self.works = False
        if self._store is None:
            return
        try:
            value = self._store.get(_MEMORY_KEY)
            self.works = True
        except Exception as error:  # whatever its backend raises
            log.warning("Airflow's task state store cannot be read: %s", error)
            return
        if isinstance(value, dict):
            try:
                self.record = RunRecord(
                    str(value["tag"]),
                    parse_id("generation", value["generation"]),
                    parse_id("id", value["sops_task_id"]),
                    value.get("done") is True,
                )
            except (KeyError, ValueError):
                log.warning("Airflow's task state store holds something else under %r: %r", _MEMORY_KEY, value)

    def remember(self, record: RunRecord) -> None:
        """Write down which SOPS task this Airflow task goes on with; done before it is started."""
        if self._store is None or record == self.record:
            return
        self._store.set(
            _MEMORY_KEY,
            {
                "tag": record.base,
                "generation": record.generation,
                "sops_task_id": record.task_id,
                "done": record.done,
            },
        )
        self.record = record
