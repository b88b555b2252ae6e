# SPDX-License-Identifier: Apache-2.0
"""An Airflow task through its tries, without a scheduler: what Airflow tells each try, and what becomes of it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_sops.operators.sops import SopsRunTaskOperator
from tests.tasks import TaskInstance, collect_log

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Runs a trigger, given as its row in the database; gives its event, and adds to the log.
Triggerer = Callable[[tuple[str, dict[str, Any]], list[str]], Any]


class Store:
    """Stands for Airflow's task state store: values by key, which survive retries."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value


class Instance(TaskInstance):
    """A task instance that Airflow can be asked about."""

    state: str | None = "running"
    #: set on Airflow 2 when a task is resumed after a deferral
    next_method: str | None = None

    def get_task_states(self, **which: Any) -> dict[str, Any]:
        name = self.task_id if self.map_index < 0 else f"{self.task_id}_{self.map_index}"
        return {self.run_id: {name: self.state}}


@dataclass
class Try:
    """One try of the task, and what became of it."""

    operator: SopsRunTaskOperator
    ti: Instance
    context: Context
    lines: list[str]
    #: makes the operator anew, in another process
    anew: Callable[[], SopsRunTaskOperator]
    triggerer: Triggerer | None = None
    result: Any = None
    error: BaseException | None = None

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def execute(self) -> Try:
        try:
            self.result = self._execute()
        except BaseException as error:
            self.error = error
        return self

    def _execute(self) -> Any:
        resume: tuple[str, dict[str, Any]] | None = None
        while True:
            try:
                if resume is None:
                    return self.operator.execute(self.context)
                return self.operator.resume_execution(*resume, self.context)
            except TaskDeferred as deferral:
                if self.triggerer is None:
                    raise
                event = self.triggerer(deferral.trigger.serialize(), self.lines)
                resume = deferral.method_name, json.loads(json.dumps({**(deferral.kwargs or {}), "event": event}))
                self.operator = self.anew()

    @property
    def outcome(self) -> Any:
        """What the try returned; raises what it failed with."""
        if self.error is not None:
            raise self.error
        return self.result


@dataclass
class AirflowTask:
    """A task of a DAG run. A try tells by its numbers whether it is a retry or one after a clear, as Airflow does."""

    arguments: Mapping[str, Any]
    dag_id: str = "deploy"
    run_id: str = "scheduled__2026-11-22T00:00:00+00:00"
    run_start: datetime.datetime | None = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    task_id: str = "run"
    map_index: int = -1
    retries: int = 2
    store: Store | None = None
    #: runs triggers; without it the task waits in the worker
    triggerer: Triggerer | None = None
    try_number: int = 0
    max_tries: int = -1

    def __post_init__(self) -> None:
        if self.max_tries < 0:
            self.max_tries = self.retries

    def next_try(self, **changes: Any) -> Try:
        """Make ready the next try: a retry, unless the task was cleared."""
        self.try_number += 1
        ti = Instance()
        for name in ("dag_id", "run_id", "task_id", "map_index", "try_number", "max_tries"):
            setattr(ti, name, getattr(self, name))
        defaults = {"poll_interval": 10, "deferrable": self.triggerer is not None}
        arguments = {**defaults, **self.arguments, **changes}
        lines: list[str] = []

        def operator() -> SopsRunTaskOperator:
            made = SopsRunTaskOperator(task_id=self.task_id, retries=self.retries, **arguments)
            collect_log(made, lines)
            return made

        more: dict[str, Any] = {"dag_run": SimpleNamespace(start_date=self.run_start, run_id=self.run_id)}
        if self.store is not None:
            more["task_state_store"] = self.store
        return Try(operator(), ti, ti.context_with(**more), lines, operator, self.triggerer)

    def run(self, **changes: Any) -> Try:
        """Run the next try."""
        return self.next_try(**changes).execute()

    def clear(self, *, run_has_ended: bool = True) -> None:
        """A user clears the task, which does not run."""
        self.max_tries = self.try_number + self.retries
        if run_has_ended:
            self.run_start = datetime.datetime.now(datetime.UTC)
