# SPDX-License-Identifier: Apache-2.0
"""What all parts of one try share: its order, and its ways to SOPS, to Airflow and into the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_sops.compat import clears_store_on_success
from airflow_provider_sops.core.failure_report import explain
from airflow_provider_sops.core.operate.errors import RunAborted
from airflow_provider_sops.core.run.task_run import RunRecord
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.exceptions import SopsTaskFailedException, SopsTaskStoppedException, SopsTimedOutException
from airflow_provider_sops.links.sops import push_task_url
from airflow_provider_sops.operators.kill_guard import KillGuard
from airflow_provider_sops.operators.run_record_store import RunRecordStore
from airflow_provider_sops.task_log import report_to
from airflow_provider_sops.xcom_keys import TASK_ID_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.core.call_flow import Flow
    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.operators.run_kill import Running
    from airflow_provider_sops.operators.run_spec import RunSpec

T = TypeVar("T")


class RunContext:
    """What all parts of one try share.

    :param log: the task's log.
    :param is_killed: tells whether Airflow has called ``on_kill``.
    """

    def __init__(
        self, spec: RunSpec, context: Context, hook: SopsHook, log: Any, is_killed: Callable[[], bool]
    ) -> None:
        self.spec = spec
        self.context = context
        self.ti: Any = context["ti"]
        self.hook = hook
        self.log = log
        self.report = report_to(log)
        self.records = RunRecordStore(context, log)
        self.guard = KillGuard(spec, hook, self.ti, self.records, log, is_killed)
        self._pushed_id: int | None = None
        self._pushed_url = ""

    def carry_out(self, flow: Flow[T]) -> T:
        """Carry out a flow, unless the try was killed; what it reports is logged at once.

        :raises SopsTaskFailedException: (or one of its kinds) the try cannot continue.
        :raises SopsException: (one of its kinds) SOPS gives no good answer.
        """
        self.guard.stop_if_killed()
        try:
            return self.hook.run(flow, self.report)
        except RunAborted as problem:
            raise self.failure(problem) from problem

    def failure(self, problem: RunAborted) -> SopsTaskFailedException:
        """Make the exception of a try that cannot continue; a failed SOPS task is explained."""
        status, message = problem.status, str(problem)
        if status.state is TaskState.FAILED:
            message = f"{message}\n{self.hook.run(explain(status.task_id, self.hook.project, status))}"
        kind: type[SopsTaskFailedException] = SopsTaskFailedException
        if status.state is TaskState.REVOKED:
            kind = SopsTaskStoppedException
        elif status.state is TaskState.CREATED:
            kind = SopsTimedOutException
        error = kind(message)
        error.sops_task_id, error.state = status.task_id, status.state.value
        return error

    def push(self, task_id: int, task_url: str) -> None:
        """Push the SOPS task's id and address, each when it is new."""
        if not self.spec.do_xcom_push:
            return
        if self._pushed_id != task_id:
            self._pushed_id = task_id
            self.ti.xcom_push(key=TASK_ID_KEY, value=task_id)
        if task_url and self._pushed_url != task_url:
            self._pushed_url = task_url
            push_task_url(self.context, task_url, do_xcom_push=True)

    def record(self, running: Running, *, done: bool = False) -> None:
        """Record in Airflow which SOPS task the try goes on with; not needed where SOPS itself lists it.

        :param done: it ended well, and its outputs were taken.
        :raises Exception: whatever the store's backend raises, where the record is needed.
        """
        try:
            self.records.write(RunRecord(running.run.tag.base, running.generation, running.task_id, done))
        except Exception as error:  # whatever the store's backend raises
            if not running.searchable:
                raise
            self.log.warning("Airflow's task state store cannot be written: %s", error)

    def leave_end_to_trigger(self, running: Running) -> bool:
        """Record that the trigger may end the task: it cannot write itself that the SOPS task has ended well.

        :return: whether that is recorded, or need not be, as Airflow has no store.
        """
        if not self.records.exist:
            return True
        if clears_store_on_success():
            why = "[state_store] clear_on_success is on"
            self.log.info("A worker will end this task, not its trigger: %s.", why)
            return False
        record = RunRecord(running.run.tag.base, running.generation, running.task_id, left_to_trigger=True)
        try:
            self.records.write(record)
        except Exception as error:  # whatever the store's backend raises
            self.log.warning("Airflow's task state store cannot be written, so a worker will end this task: %s", error)
            return False
        return True

    def take_end_back(self, running: Running) -> None:
        """Record that it is a worker after all that ends the task: the next try may be a retry then."""
        if self.records.newest is not None and self.records.newest.left_to_trigger:
            self.record(running)
