# SPDX-License-Identifier: Apache-2.0
"""What tells a retry, which finds the question of an earlier try and its answer, from a clear, which asks anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Key in Airflow's task state store.
_KEY = "sops_approval"


class ApprovalRecord:
    """What earlier tries of this Airflow task have done.

    Airflow 3.3 keeps what a try records, and ``max_tries``, which a clear alone raises, tells whether it was of this
    run of the task. Before, the numbers of the tries tell it; they are wrong where ``retries`` was edited meanwhile.

    :ivar may_have_asked: an earlier try of the same run may have asked.
    :ivar was_cleared: this is a run of the task after a user has cleared it.
    :ivar deadline: up to when the question may be answered, in seconds since the epoch, where it is known.
    """

    def __init__(self, context: Context, operator: Any) -> None:
        self._ti: Any = context["ti"]
        self._log = operator.log
        self._store: Any = context.get("task_state_store")
        first_try = self._ti.max_tries - (operator.retries or 0) + 1
        self.was_cleared = self._ti.try_number > 1 and self._ti.max_tries > (operator.retries or 0)
        self.may_have_asked = self._ti.try_number > max(1, first_try)
        self.deadline: float | None = None
        if self._store is None:
            return
        try:
            value: Any = self._store.get(_KEY)
        except Exception as error:  # whatever its backend raises
            self._log.warning("Airflow's task state store cannot be read: %s", error)
            return
        known = value if isinstance(value, dict) else {}
        asked_by = known.get("try_number")
        self.may_have_asked = (
            known.get("max_tries") == self._ti.max_tries
            and isinstance(asked_by, int)
            and asked_by < self._ti.try_number
        )
        if self.may_have_asked and isinstance(known.get("deadline"), int | float):
            self.deadline = float(known["deadline"])

    def note(self, task_id: int, node_id: str, deadline: float | None) -> None:
        """Record that the question is asked now."""
        if self._store is None:
            return
        value = {
            "max_tries": self._ti.max_tries,
            "try_number": self._ti.try_number,
            "sops_task_id": task_id,
            "sops_node_id": node_id,
            "deadline": deadline,
        }
        try:
            self._store.set(_KEY, value)
        except Exception as error:  # whatever its backend raises; without it, a retry goes by the numbers
            self._log.warning("Airflow's task state store cannot be written: %s", error)
