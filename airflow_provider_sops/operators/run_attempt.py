# SPDX-License-Identifier: Apache-2.0
"""How :class:`~airflow_provider_sops.operators.sops.SopsRunTaskOperator` runs: one try, from finding its SOPS task to
the outputs."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from airflow.providers.common.compat.sdk import AirflowException, mask_secret

from airflow_provider_sops.compat import KILLS_REACH_TRIGGERS, is_out_of_time
from airflow_provider_sops.configuration import deferral_hold
from airflow_provider_sops.core.api.catalogue import DETAIL_CACHE_SECONDS
from airflow_provider_sops.core.errors import SopsAuthenticationError
from airflow_provider_sops.core.failure_report import explain
from airflow_provider_sops.core.operate.retry_failed_nodes import retry_failed_nodes
from airflow_provider_sops.core.operate.revoke import revoke
from airflow_provider_sops.core.operate.run_aborted import RunAborted
from airflow_provider_sops.core.run.task_run import Action, RunRecord, TaskRun
from airflow_provider_sops.core.run.task_spec import TaskSpec
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.variables import sops_key
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.deferral import defer_wait
from airflow_provider_sops.exceptions import (
    SopsException,
    SopsTaskFailedException,
    SopsTaskStoppedException,
    SopsTimedOutException,
    SopsTriggerEventException,
)
from airflow_provider_sops.links.sops import push_task_url
from airflow_provider_sops.masking import maskable
from airflow_provider_sops.operators.run_kill import NOTHING_TO_REVOKE, Running, leave_successor, revoke_when_killed
from airflow_provider_sops.operators.run_memory import Memory, earlier_tags, retry_is_left, run_start, tag_of
from airflow_provider_sops.task_log import log_lines
from airflow_provider_sops.trigger_events import Outcome, read_event
from airflow_provider_sops.wait_failures import bad_end, read_error, with_page
from airflow_provider_sops.wait_spec import WaitSpec, flat_fields
from airflow_provider_sops.xcom_keys import TASK_ID_KEY, WAIT_ENDED_KEY
from airflow_provider_sops.xcom_outputs import fetch_outputs, push_outputs

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.core.flow import Flow, LogLine
    from airflow_provider_sops.core.run.task_run import Selection
    from airflow_provider_sops.core.wait.task_wait import TaskWait
    from airflow_provider_sops.operators.sops import SopsRunTaskOperator

T = TypeVar("T")

#: How far the clocks and time zones of Airflow and SOPS may be apart.
_CLOCK_DIFFERENCE = timedelta(days=2)
#: How often what is there may change while it is decided what to do.
_MOST_CHANGES = 5
#: Seconds between two reads until the SOPS task has started: SOPS does not cache CREATED.
_START_INTERVAL = 1.0
#: Longest sleep in one piece (seconds), so that a kill is noticed.
_SLICE = 0.5
#: How often a start is tried to be undone, a slice apart: Airflow's SIGKILL comes five seconds after a kill.
_UNDO_ATTEMPTS = 7
#: What helps when an output cannot be pushed: this operator takes all or none.
_OUTPUTS_ADVICE = (
    "Let the template put it out as a text that XComs hold; or say wait_for_completion=False, and take the outputs you "
    "need with SopsTaskSensor(push_outputs=True, keys=[...])."
)
#: Longest time (seconds) by which the trigger's deadline comes before the end of ``execution_timeout``.
_DEADLINE_MARGIN = 10.0


class RunAttempt:
    """One try of an operator, or what follows a deferral in it.

    :param operator: says what is wanted.
    """

    def __init__(self, operator: SopsRunTaskOperator) -> None:
        self.operator = operator
        self.hook = operator.hook
        self.log = operator.log
        self._ti: Any = None
        self._memory: Memory | None = None
        self._running: Running | None = None
        self._pushed: dict[str, Any] = {}
        #: a kill has found the SOPS task not started, and its start is under way
        self._may_start = False
        #: a kill could not learn from Airflow whether a user is behind it
        self._unanswered = False
        #: id of the SOPS task that this leg goes on with after a deferral
        self._waited_for: int | None = None
        #: read before anything is started: a wrong one must not leave a SOPS task that nobody waits for
        self._deferral_hold = deferral_hold() if operator.deferrable else 0.0

    def execute(self, context: Context) -> dict[str, Any]:
        """Find or start the SOPS task, wait for its end, and push its outputs."""
        run = self._prepare(context)
        deadline = self._deadline()
        selection = self._settle(context, run)
        start_by = time.time() + self.operator.start_timeout
        observation = (
            selection.observation
            if selection.observation.next is not Next.WAIT
            else self._observe(context, selection.task_wait)
        )
        if self.operator.deferrable and self.operator.wait_for_completion and observation.next is Next.WAIT:
            running = Running(run, selection.task_id, selection.generation, selection.task_wait.task_url)
            self._defer(running, deadline, start_by)
        observation = self._wait(context, run, selection.task_wait, observation, start_by)
        return (
            self._end(context, observation)
            if self.operator.wait_for_completion or observation.next is Next.FAILURE
            else {}
        )

    def _prepare(self, context: Context) -> TaskRun:
        """Say who this try is and what it wants."""
        self._ti = ti = context["ti"]
        self._memory = memory = Memory(context, self.log)
        start = run_start(context)
        reattach = self.operator.on_clear == "reattach"
        retries = self.operator.retries or 0
        return TaskRun(
            project=self.hook.project,
            tag=tag_of(context, reattach=reattach),
            task_spec=self._task_spec(f"{ti.dag_id} {ti.task_id}"),
            policy=self.operator.policy,
            on_retry="retry_failed_nodes" if self.operator.on_retry == "retry_failed_nodes" else "rerun",
            created_after=start - _CLOCK_DIFFERENCE if start else None,
            first_try=ti.try_number <= 1,
            cleared=reattach and ti.try_number > 1 and ti.max_tries > retries,
            first_after_clear=reattach and 1 < ti.try_number == ti.max_tries - retries + 1,
            record=memory.record,
            has_memory=memory.works,
            earlier_tags=earlier_tags(context, retries) if self.operator.revoke_on_kill and not reattach else (),
        )

    def _task_spec(self, default_title: str) -> TaskSpec:
        operator = self.operator
        params = {
            "flow_type": operator.flow_type,
            "exclude_task_nodes_id": operator.exclude_task_nodes_id,
            "execute_task_nodes_id": operator.execute_task_nodes_id,
            "template_schemes_id": operator.template_schemes_id,
            "simplify_vars": operator.simplify_vars,
        }
        return TaskSpec(
            title=operator.task_name or default_title,
            template_id=operator.template_id,
            template_name=operator.template_name or "",
            template_source=operator.template_source,
            constants={sops_key(name): value for name, value in (operator.constants or {}).items()},
            params={name: value for name, value in params.items() if value not in (None, [])},
        )

    def _settle(self, context: Context, run: TaskRun) -> Selection:
        """Choose the one SOPS task, remember it, and have it started: in this order."""
        assert self._memory is not None
        for _ in range(_MOST_CHANGES):
            selection = self._carry_out(run, run.choose(time.time()))
            self._stop_if_killed()
            if selection.action is Action.START and selection.generation == 1:
                self._carry_out(run, run.stop_earlier())
            self._remember(run, RunRecord(run.tag.base, selection.generation, selection.task_id))
            self._push(context, selection.task_id, selection.task_wait.task_url)
            started = selection.action is not Action.START
            self._running = Running(run, selection.task_id, selection.generation, started=started)
            if selection.action is Action.RETRY_NODES:
                log_lines(
                    self.log, self._carry_out(run, retry_failed_nodes(run.project, selection.task_id, run.grants))
                )
                selection.observation = Observation(Next.WAIT)
                return selection
            if selection.action is Action.WAIT:
                return selection
            if self._carry_out(run, run.start(selection)):
                self._undo_start_if_killed()
                return selection
        raise SopsTaskFailedException(
            f"The SOPS tasks of this Airflow task changed while it decided between them, {_MOST_CHANGES} times. "
            "Nothing was started by this try; look at what people do with them."
        )

    def _remember(self, run: TaskRun, what: RunRecord) -> None:
        """Write down in Airflow what is gone on with; not needed where SOPS itself can be searched."""
        assert self._memory is not None
        try:
            self._memory.remember(what)
        except Exception as error:  # whatever the store's backend raises
            if not run.may_search:
                raise
            self.log.warning("Airflow's task state store cannot be written: %s", error)

    def _push(self, context: Context, task_id: int, task_url: str) -> None:
        """Push the SOPS task's id and address, each when it is new."""
        if not self.operator.do_xcom_push:
            return
        if self._pushed.get("id") != task_id:
            self._pushed["id"] = task_id
            context["ti"].xcom_push(key=TASK_ID_KEY, value=task_id)
        if task_url and self._pushed.get("url") != task_url:
            self._pushed["url"] = task_url
            push_task_url(context, self.operator, task_url)

    def _carry_out(self, run: TaskRun, flow: Flow[T]) -> T:
        """Ask SOPS, and write what there is to say into the log, however it ends."""
        self._stop_if_killed()
        try:
            return self.hook.run(flow)
        except RunAborted as problem:
            raise self._failure(problem) from problem
        finally:
            for secret in maskable(run.secrets):
                mask_secret(secret)
            log_lines(self.log, run.lines)
            run.lines.clear()

    def _failure(self, problem: RunAborted) -> SopsTaskFailedException:
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

    # ---- waiting ----

    def _observe(self, context: Context, task_wait: TaskWait) -> Observation:
        observation = self.hook.run(task_wait.observe(time.time()))
        log_lines(self.log, observation.lines)
        self._stop_if_killed()
        self._push(context, task_wait.task_id, task_wait.task_url)
        if (
            self._running is not None
            and observation.status is not None
            and observation.status.state is not TaskState.CREATED
        ):
            self._running.started = True
        if isinstance(observation.error, SopsAuthenticationError):
            self.hook.forget_connection()
        return observation

    def _wait(
        self, context: Context, run: TaskRun, task_wait: TaskWait, observation: Observation, start_by: float
    ) -> Observation:
        """Wait in the worker: for the end, or for the start alone."""
        while observation.next is Next.WAIT:
            state = observation.status.state if observation.status else None
            starts = state is TaskState.CREATED
            if not (self.operator.wait_for_completion or starts or state is None):
                break
            if starts and time.time() >= start_by:
                self._not_started(run, task_wait.task_id)
                start_by = float("inf")
            self._sleep(_START_INTERVAL if starts else self._interval(task_wait))
            observation = self._observe(context, task_wait)
        return observation

    def _interval(self, task_wait: TaskWait) -> float:
        task_spec = self.operator.poll_interval
        return task_spec if task_wait.grants.status else max(task_spec, float(DETAIL_CACHE_SECONDS))

    def _sleep(self, seconds: float) -> None:
        wake_at = time.monotonic() + seconds
        while (left := wake_at - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))
            self._stop_if_killed()

    def _stop_if_killed(self) -> None:
        """Fail, so that a retry may follow: Airflow 3 lets the task go on after ``on_kill``."""
        if not self.operator.killed:
            return
        if self._unanswered:  # what the kill has interrupted may have been just what it needed to ask
            self.kill()
        raise AirflowException("This task was told to stop.")

    def _not_started(self, run: TaskRun, task_id: int) -> None:
        """Fail, unless the SOPS task has started after all."""
        problem = self._carry_out(run, run.not_started(task_id, self.operator.start_timeout))
        if problem is not None:
            raise self._failure(problem) from problem

    def _end(self, context: Context, observation: Observation) -> dict[str, Any]:
        """Turn the end of a wait into outputs or an error."""
        self._stop_if_killed()
        status = observation.status
        if status is None or observation.error is not None:
            error = read_error(observation)
            raise error from error.__cause__
        running = self._running
        if status.state.is_final:
            self._running = None
        if observation.next is Next.FAILURE:
            status = with_page(self.hook, status)
            self._push(context, status.task_id, status.task_url)
            raise bad_end(self.hook, self.hook.project, status, observation.reason)
        self.log.info("SOPS task %s %r %s.", status.task_id, status.name, observation.reason)
        if status.state is not TaskState.FINISHED:
            self._remember_end(running)
            return {}
        assume_finished = self.operator.policy.assume_finished
        outputs = fetch_outputs(
            self.operator, self.hook, status.task_id, assume_finished=assume_finished, advice=_OUTPUTS_ADVICE
        )
        self._push(context, status.task_id, outputs.detail.task_url)
        if self.operator.push_outputs:
            push_outputs(context, self.operator, outputs.values)
        self._remember_end(running)
        return dict(outputs.values)

    def _remember_end(self, running: Running | None) -> None:
        if running is not None:
            self._remember(running.run, RunRecord(running.run.tag.base, running.generation, running.task_id, done=True))

    # ---- deferral ----

    def _deadline(self) -> float | None:
        """Give when the trigger ends the wait: before Airflow does, which counts from the start of the try."""
        if self.operator.execution_timeout is None:
            return None
        seconds = self.operator.execution_timeout.total_seconds()
        start = getattr(self._ti, "start_date", None)
        began = start.timestamp() if start else time.time()
        return began + seconds - min(_DEADLINE_MARGIN, seconds / 10)

    def _defer(self, running: Running, deadline: float | None, start_by: float | None) -> NoReturn:
        self._stop_if_killed()
        spec = WaitSpec(
            sops_task_id=running.task_id,
            sops_conn_id=self.operator.sops_conn_id,
            poll_interval=self.operator.poll_interval,
            deadline=deadline,
            revoke_on_kill=self.operator.revoke_on_kill,
            start_deadline=start_by,
            keep_when_cleared=self.operator.on_clear == "reattach",
            task_url=running.task_url,
            **flat_fields(running.run.project, self.operator.policy),
        )
        if self.operator.revoke_on_kill and not KILLS_REACH_TRIGGERS:
            self.log.info(
                "Deferring. Before Airflow 3.3 nothing runs when a deferred task is killed: should this one be marked "
                "failed or cleared while it waits, SOPS task %s runs on and has to be revoked in SOPS.",
                running.task_id,
            )
        kwargs = {
            "sops_task_id": running.task_id,
            "generation": running.generation,
            "tag": running.run.tag.base,
            "deadline": deadline,
        }
        defer_wait(self.operator, spec, hold=self._deferral_hold, kwargs=kwargs)

    def complete(
        self,
        context: Context,
        event: Any,
        sops_task_id: int | None,
        generation: int,
        tag: str,
        deadline: float | None,
    ) -> dict[str, Any]:
        """Go on after the wait in the triggerer."""
        if sops_task_id is None:
            running = self._find_running(context)
            if running is None:
                raise SopsTriggerEventException(
                    "The SOPS task that was waited for cannot be found again, so its state is not known. Let the task "
                    "be retried: a retry searches for the same SOPS task."
                )
            deadline = self._deadline()
        else:
            run = self._prepare(context)
            run.tag = replace(run.tag, base=tag)
            running = Running(run, sops_task_id, generation)
        self._running = running
        run, sops_task_id = running.run, running.task_id
        self._waited_for = sops_task_id
        ended = read_event(sops_task_id, event)
        status = ended.observation.status
        running.started = status is not None and status.state is not TaskState.CREATED
        if ended.outcome is Outcome.TIMEOUT:
            self._time_out(running, f"it is {status.state}" if status else "its state could not be read")
        if ended.outcome is Outcome.NOT_STARTED:
            self._not_started(run, sops_task_id)
            self._defer(running, deadline, None)
        return self._end(context, ended.observation)

    def time_out_without_trigger(self, context: Context) -> bool:
        """Revoke what Airflow has ended the wait for; ``False`` when no SOPS task is found."""
        running = self._find_running(context)
        if running is None:
            return False
        self._running = running
        self._waited_for = running.task_id
        self._time_out(running, "no triggerer ran its trigger")

    def note_bad_end(self, context: Context) -> None:
        """Let a trigger of this wait that has stood still meanwhile know that it was no user who has ended it."""
        if not KILLS_REACH_TRIGGERS or self._waited_for is None or not self.operator.do_xcom_push:
            return
        try:
            context["ti"].xcom_push(key=WAIT_ENDED_KEY, value=self._waited_for)
        except Exception as error:  # whatever the XCom backend raises; the task's own error is what counts
            self.log.warning("XCom %r could not be pushed: %s", WAIT_ENDED_KEY, error)

    def _find_running(self, context: Context) -> Running | None:
        """Find what this try waited for before it was deferred."""
        run, ti = self._prepare(context), context["ti"]
        waited_for = ti.xcom_pull(task_ids=ti.task_id, key=TASK_ID_KEY, map_indexes=ti.map_index)
        found = self._carry_out(run, run.find(waited_for))
        return None if found is None else Running(run, found[1], found[0])

    def _time_out(self, running: Running, state: str) -> NoReturn:
        """Revoke the SOPS task, which has not ended in time, and fail."""
        assert self.operator.execution_timeout is not None
        task_id, fate = running.task_id, "it was left running, as revoke_on_kill is off"
        if self.operator.revoke_on_kill:
            try:
                revocation = self._carry_out(running.run, revoke(running.run.project, task_id, started=running.started))
            except SopsException as failed:
                fate = f"it could not be revoked and may still run ({failed})"
            else:
                fate = revocation.text + ("; it may still start" if revocation.may_start else "")
                if revocation.done:
                    self._leave_successor(running)
        self._running = None
        error = SopsTimedOutException(
            f"SOPS task {task_id} has not ended within {self.operator.execution_timeout.total_seconds():.0f} s "
            f"(execution_timeout): {state}; {fate}."
        )
        error.sops_task_id = task_id
        raise error

    def _leave_successor(self, running: Running) -> None:
        """Let a retry know that it was not a person who has revoked the SOPS task."""
        assert self._memory is not None
        if retry_is_left(self._ti):
            lines: list[LogLine] = []
            leave_successor(running, self.hook.run, self._memory, lines)
            log_lines(self.log, [*running.run.lines, *lines])
            running.run.lines.clear()

    # ---- being killed ----

    def kill(self) -> None:
        """Revoke the SOPS task."""
        running, operator = self._running, self.operator
        if running is None or self._memory is None:
            self.log.info(NOTHING_TO_REVOKE)
        elif not operator.revoke_on_kill:
            self.log.info("SOPS task %s is left running, as revoke_on_kill is off.", running.task_id)
        else:
            killed = revoke_when_killed(
                running,
                self.hook,
                self._ti,
                self._memory,
                keep_when_cleared=operator.on_clear == "reattach",
                out_of_time=is_out_of_time(),
            )
            self._may_start, self._unanswered = killed.may_start, killed.unanswered and not self._unanswered
            log_lines(self.log, killed.lines)

    def kill_deferred(self, context: Context) -> None:
        """Revoke what was waited for: Airflow 2 ends a deferred task that is out of time before it is resumed."""
        self._running = self._find_running(context)
        self.kill()

    def _undo_start_if_killed(self) -> None:
        """Revoke what was started just when the kill came, whose own attempt was too early."""
        for _ in range(_UNDO_ATTEMPTS):
            if not self._may_start:
                return
            time.sleep(_SLICE)
            self.kill()
