# SPDX-License-Identifier: Apache-2.0
"""How :class:`~airflow_provider_sops.operators.sops.SopsRunTaskOperator` runs: one try, from finding its SOPS task to
the outputs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_sops.configuration import deferral_hold
from airflow_provider_sops.core.operate.retry_failed_nodes import retry_failed_nodes
from airflow_provider_sops.core.run.earlier_runs import stop_earlier
from airflow_provider_sops.core.run.search import find
from airflow_provider_sops.core.run.select_task import Action, select
from airflow_provider_sops.core.run.start import start
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.exceptions import SopsTaskFailedException, SopsTriggerEventException
from airflow_provider_sops.operators.run_context import RunContext
from airflow_provider_sops.operators.run_deferral import TriggerEnd, defer_run, trigger_deadline
from airflow_provider_sops.operators.run_end import end, note_bad_end, time_out
from airflow_provider_sops.operators.run_identity import make_task_run
from airflow_provider_sops.operators.run_kill import Running
from airflow_provider_sops.operators.run_wait import check_started, observe, wait_in_worker
from airflow_provider_sops.task_log import log_lines
from airflow_provider_sops.trigger_events import Outcome, read_event
from airflow_provider_sops.xcom_keys import TASK_ID_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.core.run.select_task import Selection
    from airflow_provider_sops.core.run.task_run import TaskRun
    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.operators.run_spec import RunSpec

#: How often the SOPS tasks may change while it is decided between them.
_MOST_CHANGES = 5


class RunAttempt:
    """One try of an operator, or what follows a deferral in it.

    :param spec: the order.
    :param log: the task's log.
    :param defer: the operator's ``defer``.
    :param trigger_end: says, when the try is deferred, whether its trigger ends the task.
    :param is_killed: tells whether Airflow has called ``on_kill``.
    """

    def __init__(
        self,
        spec: RunSpec,
        context: Context,
        hook: SopsHook,
        log: Any,
        *,
        defer: Callable[..., NoReturn],
        trigger_end: TriggerEnd,
        is_killed: Callable[[], bool],
    ) -> None:
        # read before anything is started: a wrong one must not leave a SOPS task that nobody waits for
        self._deferral_hold = deferral_hold() if spec.deferrable else 0.0
        self._spec = spec
        self._defer_operator = defer
        self._trigger_end = trigger_end
        self._run_context = RunContext(spec, context, hook, log, is_killed)
        #: id of the SOPS task that this leg goes on with after a deferral
        self._waited_for: int | None = None

    def execute(self) -> dict[str, Any]:
        """Find or start the SOPS task, wait for its end, and push its outputs.

        :return: the outputs by bare name.
        """
        spec, run_context = self._spec, self._run_context
        run = self._make_run()
        deadline = trigger_deadline(run_context)
        selection = self._settle(run)
        start_by = time.time() + spec.start_timeout
        observation, task_wait = selection.observation, selection.task_wait
        if observation.next is Next.WAIT:
            observation = observe(run_context, task_wait)
        if spec.deferrable and spec.wait_for_completion and observation.next is Next.WAIT:
            running = Running(selection.run, selection.task_id, selection.generation, task_wait.task_url)
            self._defer(running, deadline, start_by)
        observation = wait_in_worker(run_context, selection.run, task_wait, observation, start_by)
        if spec.wait_for_completion or observation.next is Next.FAILURE:
            return end(run_context, observation)
        return {}

    def complete(
        self, event: Any, sops_task_id: int | None, generation: int, tag: str, deadline: float | None
    ) -> dict[str, Any]:
        """Go on after the wait in the triggerer.

        :param event: what the trigger has sent.
        :param sops_task_id: what it waited for; ``None`` where only the event was handed over.
        :param tag: the base of the tag under which the try went on.
        :param deadline: seconds since the epoch at which the wait ends.
        :return: the outputs by bare name.
        """
        run_context = self._run_context
        if sops_task_id is None:
            found = self._find_running()
            if found is None:
                raise SopsTriggerEventException(
                    "The SOPS task that was waited for cannot be found again, so its state is not known. Let the task "
                    "be retried: a retry searches for the same SOPS task."
                )
            running, deadline = found, trigger_deadline(run_context)
        else:
            run = self._make_run()
            running = Running(replace(run, tag=replace(run.tag, base=tag)), sops_task_id, generation)
        self._resume(running)
        ended = read_event(running.task_id, event)
        status = ended.observation.status
        running.started = status is not None and status.state is not TaskState.CREATED
        if ended.outcome is Outcome.TIMEOUT:
            time_out(run_context, running, f"it is {status.state}" if status else "its state could not be read")
        if ended.outcome is Outcome.NOT_STARTED:
            check_started(run_context, running.run, running.task_id)
            self._defer(running, deadline, None)
        return end(run_context, ended.observation)

    def time_out_without_trigger(self) -> bool:
        """Revoke what Airflow has ended the wait for; ``False`` when no SOPS task is found."""
        running = self._find_running()
        if running is None:
            return False
        self._resume(running)
        time_out(self._run_context, running, "no triggerer ran its trigger")

    def note_bad_end(self) -> None:
        """Let a trigger of this wait that has stood still meanwhile know that it was no user who has ended it."""
        if self._waited_for is not None:
            note_bad_end(self._run_context, self._waited_for)

    def kill(self) -> None:
        """Revoke the SOPS task."""
        self._run_context.guard.kill()

    def kill_deferred(self) -> None:
        """Revoke what was waited for: Airflow 2 ends a deferred task that is out of time before it is resumed."""
        self._run_context.guard.running = self._find_running()
        self.kill()

    def _make_run(self) -> TaskRun:
        run_context = self._run_context
        return make_task_run(self._spec, run_context.context, run_context.hook.project, run_context.records)

    def _settle(self, run: TaskRun) -> Selection:
        """Select the one SOPS task, record it, and have it started: in this order."""
        run_context = self._run_context
        for _ in range(_MOST_CHANGES):
            selection = run_context.carry_out(select(run, time.time()))
            run = selection.run
            run_context.guard.stop_if_killed()
            if selection.action is Action.START and selection.generation == 1:
                run_context.carry_out(stop_earlier(run, searchable=selection.searchable))
            running = Running(
                run,
                selection.task_id,
                selection.generation,
                searchable=selection.searchable,
                started=selection.action is not Action.START,
            )
            run_context.record(running)
            run_context.push(selection.task_id, selection.task_wait.task_url)
            run_context.guard.running = running
            if selection.action is Action.RETRY_NODES:
                retry = retry_failed_nodes(run.project, selection.task_id, run.state.permissions)
                log_lines(run_context.log, run_context.carry_out(retry))
                return replace(selection, observation=Observation(Next.WAIT))
            if selection.action is Action.WAIT:
                return selection
            if run_context.carry_out(start(selection)):
                run_context.guard.undo_start_if_killed()
                return selection
        raise SopsTaskFailedException(
            f"The SOPS tasks of this Airflow task changed while it decided between them, {_MOST_CHANGES} times. "
            "Nothing was started by this try; look at what people do with them."
        )

    def _defer(self, running: Running, deadline: float | None, start_by: float | None) -> NoReturn:
        defer_run(
            self._run_context,
            running,
            deadline=deadline,
            start_by=start_by,
            hold=self._deferral_hold,
            defer=self._defer_operator,
            trigger_end=self._trigger_end,
        )

    def _resume(self, running: Running) -> None:
        """Go on with what was waited for."""
        self._run_context.guard.running = running
        self._waited_for = running.task_id
        self._run_context.take_end_back(running)

    def _find_running(self) -> Running | None:
        """Find what this try waited for before it was deferred."""
        run, ti = self._make_run(), self._run_context.ti
        waited_for = ti.xcom_pull(task_ids=ti.task_id, key=TASK_ID_KEY, map_indexes=ti.map_index)
        found = self._run_context.carry_out(find(run, waited_for))
        if found is None:
            return None
        run = replace(run, tag=found.tag)
        return Running(run, found.task_id, found.generation, searchable=found.searchable)
