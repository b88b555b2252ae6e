# SPDX-License-Identifier: Apache-2.0
"""What the tries of a task record in Airflow itself: which SOPS task they went on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core.api.calls import parse_id
from airflow_provider_sops.core.run.task_run import RunRecord

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Key in Airflow's task state store.
_KEY = "sops_task"


class RunRecordStore:
    """What survives a retry in Airflow's task state store, which Airflow has from 3.3 on.

    :ivar exist: Airflow has such a store.
    :ivar works: the store is there, so that what it does not hold has not happened.
    :ivar newest: what an earlier try, or this one, recorded last.
    """

    def __init__(self, context: Context, log: Any) -> None:
        self._store: Any = context.get("task_state_store")
        self.newest: RunRecord | None = None
        self.exist = self._store is not None
        self.works = False
        if self._store is None:
            return
        try:
            value = self._store.get(_KEY)
            self.works = True
        except Exception as error:  # whatever its backend raises
            log.warning("Airflow's task state store cannot be read: %s", error)
            return
        if isinstance(value, dict):
            try:
                self.newest = RunRecord(
                    str(value["tag"]),
                    parse_id("generation", value["generation"]),
                    parse_id("id", value["sops_task_id"]),
                    value.get("done") is True,
                    value.get("left_to_trigger") is True,
                )
            except (KeyError, ValueError):
                log.warning("Airflow's task state store holds something else under %r: %r", _KEY, value)

    def write(self, record: RunRecord) -> None:
        """Record which SOPS task this Airflow task goes on with; done before it is started.

        :raises Exception: whatever the store's backend raises.
        """
        if self._store is None or record == self.newest:
            return
        self._store.set(
            _KEY,
            {
                "tag": record.base,
                "generation": record.generation,
                "sops_task_id": record.task_id,
                "done": record.done,
                **({"left_to_trigger": True} if record.left_to_trigger else {}),
            },
        )
        self.newest = record
