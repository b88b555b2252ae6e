# SPDX-License-Identifier: Apache-2.0
"""A triggerer of Airflow 3 with a supervisor, as far as a trigger that ends its task sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_sops.compat import TRIGGERS_PUSH_XCOMS
from tests.secrets import look_at_xcom
from tests.tasks import TaskInstance

needs_end_from_trigger = pytest.mark.skipif(not TRIGGERS_PUSH_XCOMS, reason="triggers of this Airflow push no XComs")


@dataclass
class Supervisor:
    """Takes what a trigger sends, as the supervisor of Airflow's triggerer does: XComs, states, secrets to mask."""

    ti: TaskInstance
    state: str = "deferred"
    #: key, value and length of each push, in their order
    pushes: list[tuple[str, Any, int | None]] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    #: XComs that are there before, by task and key
    stored: dict[tuple[str, str], Any] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    #: called before each push, with its number
    before_push: Callable[[int], object] = lambda number: None

    def send(self, msg: Any) -> Any:
        from airflow.sdk.bases.xcom import BaseXCom
        from airflow.sdk.execution_time import comms

        message = msg
        if isinstance(message, comms.SetXCom):
            self.before_push(len(self.pushes))
            ids = (message.dag_id, message.run_id, message.task_id, message.map_index)
            assert ids == (self.ti.dag_id, self.ti.run_id, self.ti.task_id, self.ti.map_index)
            value = BaseXCom.deserialize_value(SimpleNamespace(value=message.value))
            look_at_xcom(message.key, value)
            self.pushes.append((message.key, value, message.mapped_length))
            return comms.OKResponse(ok=True)
        if isinstance(message, comms.GetXCom):
            value = self.stored.get((message.task_id, message.key))
            return comms.XComResult(key=message.key, value=BaseXCom.serialize_value(value))
        if isinstance(message, comms.DeleteXCom):
            self.deleted.append(message.key)
            self.stored.pop((message.task_id, message.key), None)
            return comms.OKResponse(ok=True)
        if isinstance(message, comms.GetTaskStates):
            return comms.TaskStatesResult(task_states={self.ti.run_id: {self.ti.task_id: self.state}})
        if hasattr(comms, "MaskSecret") and isinstance(message, comms.MaskSecret):
            self.masked.append(str(message.value))
            return None
        raise AssertionError(f"a trigger does not send {message!r}")

    async def asend(self, message: Any) -> Any:
        return self.send(message)

    @property
    def pushed(self) -> dict[str, Any]:
        return {key: value for key, value, _ in self.pushes}
