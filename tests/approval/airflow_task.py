# SPDX-License-Identifier: Apache-2.0
"""An approval through its tries, its legs in workers and its triggers, without a scheduler."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_sops.operators.sops import SopsApprovalOperator
from tests.approval.required_actions import RequiredActions
from tests.operators.airflow_task import Store
from tests.operators.conftest import World
from tests.tasks import TaskInstance, _Lines, collect_log
from tests.triggers.test_verdict_cases import WorldLoop

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class KilledTriggerer(BaseException):
    """The triggerer's process is gone."""


@dataclass
class Approval:
    """An Airflow task with an approval.

    :param resumes: a response resumes the deferred task, as from Airflow 3.3 on; else it is only looked for.
    """

    world: World
    actions: RequiredActions
    busy: list[int]
    arguments: dict[str, Any]
    resumes: bool
    retries: int = 2
    store: Store | None = None
    try_number: int = 0
    max_tries: int = 2
    ti_id: str = ""
    lines: list[str] = field(default_factory=list)
    #: phases of the deferrals, in their order
    phases: list[str] = field(default_factory=list)
    #: what a killed triggerer's row holds
    row: tuple[str, dict[str, Any]] | None = None
    result: Any = None
    error: BaseException | None = None
    xcoms: dict[str, Any] = field(default_factory=dict)
    #: called before each leg in a worker, with its number in the try
    before_leg: Callable[[int], object] = lambda number: None
    notified: list[Any] = field(default_factory=list)
    in_dag_test: bool = False
    on_kills: int = 0

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def operator(self) -> SopsApprovalOperator:
        made = SopsApprovalOperator(task_id="approve", retries=self.retries, **self.arguments)
        collect_log(made, self.lines)
        return made

    def run(self) -> Approval:
        """Run the next try to its end: a retry, unless the task was cleared."""
        self.try_number += 1
        new_id = str(uuid.uuid4())
        self.actions.follow(self.ti_id, new_id)
        self.ti_id = new_id
        self.result = self.error = None
        ti = TaskInstance()
        ti.task_id, ti.try_number, ti.max_tries = "approve", self.try_number, self.max_tries
        ti.id = uuid.UUID(new_id)
        self.xcoms = ti.xcoms
        store = {} if self.store is None else {"task_state_store": self.store}
        try:
            self.result = self._legs(ti.context_with(**store))
        except BaseException as error:
            self.error = error
        return self

    def _legs(self, context: Context) -> Any:
        resume: tuple[str, dict[str, Any]] | None = None
        for number in range(50):
            self.before_leg(number)
            operator = self.operator()
            try:
                if resume is None:
                    return operator.execute(context)
                return operator.resume_execution(*resume, context)
            except TaskDeferred as deferral:
                kwargs = json.loads(json.dumps(deferral.kwargs or {}))
                path, arguments = deferral.trigger.serialize()
                self.phases.append(arguments["state"]["phase"])
                event = self.in_triggerer((path, arguments))
                # dag.test() hands over the event alone
                resume = deferral.method_name, {"event": event} if self.in_dag_test else {**kwargs, "event": event}
        raise AssertionError(f"it goes on and on: {self.phases}\n{self.log}")

    def clear(self) -> None:
        """A user clears the task."""
        self.max_tries = self.try_number + self.retries

    def in_triggerer(self, row: tuple[str, dict[str, Any]]) -> Any:
        """Run a trigger from its row until it fires, or Airflow resumes the task with a response."""
        path, arguments = row
        self.row = row
        module, _, name = path.rpartition(".")
        trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
        trigger.trigger_id = None if self.in_dag_test else 1
        trigger._log = logging.Logger("trigger")  # noqa: LOG001 (in no tree)
        trigger._log.addHandler(_Lines(self.lines))
        loop = WorldLoop(self.world, self.busy)  # type: ignore[arg-type]
        resumed: asyncio.Future[Any] = loop.create_future()

        def resume(response: dict[str, Any]) -> None:
            if self.resumes and not resumed.done():
                resumed.set_result(response)

        self.actions.on_answer = resume

        async def fire() -> Any:
            run = loop.create_task(anext(trigger.run()))
            await asyncio.wait([run, resumed], return_when=asyncio.FIRST_COMPLETED)
            if resumed.done():
                run.cancel()
                await asyncio.wait([run])
                if hasattr(trigger, "on_kill"):  # Airflow 3.3 and newer
                    await trigger.on_kill()
                self.on_kills += 1
                return dict(resumed.result())
            return json.loads(json.dumps(run.result().payload))

        try:
            payload = loop.run_until_complete(fire())
            self.busy[0] += 1  # time stands still while the poller ends
            if ending := asyncio.all_tasks(loop):
                loop.run_until_complete(asyncio.wait(ending))
            self.busy[0] -= 1
            return payload
        finally:
            self.actions.on_answer = lambda response: None
            if left := asyncio.all_tasks(loop):
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left))
            loop.close()

    @property
    def outcome(self) -> Any:
        """What the try returned; raises what it failed with."""
        if self.error is not None:
            raise self.error
        return self.result

    def sent(self) -> int:
        """How many confirmations SOPS was sent."""
        return sum(1 for request in self.world.fake.requests if request.api in ("operate_node", "node_callback"))

    def sent_well(self) -> int:
        """How many confirmations have come to SOPS itself."""
        task = self.world.fake.task(self.arguments["sops_task_id"])
        return sum(operation.action.startswith("callback ") for operation in task.operations)
