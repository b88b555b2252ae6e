# SPDX-License-Identifier: Apache-2.0
"""Operators: run a SOPS task, operate one or a node of it, push its outputs into XCom."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, conf, mask_secret

from airflow_provider_sops.compat import KILLS_REACH_TRIGGERS, TaskDeferralError, is_trigger_timeout
from airflow_provider_sops.connection import DEFAULT_CONN_ID
from airflow_provider_sops.exceptions import (
    SopsException,
    SopsOutputsException,
    SopsTaskFailedException,
    SopsTaskStoppedException,
    SopsTimedOutException,
    airflow_errors,
)
from airflow_provider_sops.links.sops import SopsTaskLink, push_task_url
from airflow_provider_sops.operators.killing import Running, leave_successor, revoke_when_killed
from airflow_provider_sops.operators.outputs import TASK_ID_KEY, fetch_outputs, push_outputs
from airflow_provider_sops.operators.tries import Memory, retry_is_left, run_start, tag_of
from airflow_provider_sops.sops.calls import DETAIL_CACHE_SECONDS, STATUS_CACHE_SECONDS, parse_id
from airflow_provider_sops.sops.errors import SopsAuthenticationError
from airflow_provider_sops.sops.explain import explain
from airflow_provider_sops.sops.models import TaskState
from airflow_provider_sops.sops.operate import (
    NODE_ACTIONS,
    TASK_ACTIONS,
    CannotGoOn,
    find_node,
    operate_node,
    operate_task,
    retry_failed_nodes,
    revoke,
)
from airflow_provider_sops.sops.run import Action, Remembered, TaskRun, Wanted
from airflow_provider_sops.sops.variables import sops_key
from airflow_provider_sops.sops.verdict import Next, check_choice
from airflow_provider_sops.sops.watch import Look
from airflow_provider_sops.waiting import (
    Outcome,
    as_seconds,
    bad_end,
    log_lines,
    make_policy,
    policy_fields,
    read_error,
    read_event,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.sops import models
    from airflow_provider_sops.sops.run import Chosen
    from airflow_provider_sops.sops.transport import Steps
    from airflow_provider_sops.sops.watch import Line, Watch
    from airflow_provider_sops.waiting import Duration

T = TypeVar("T")

#: How far the clocks and time zones of Airflow and SOPS may be apart.
_CLOCK_DIFFERENCE = timedelta(days=2)
#: How often what is there may change while it is decided what to do.
_MOST_CHANGES = 5
#: Seconds between two reads until the SOPS task has started: SOPS does not cache CREATED.
_START_INTERVAL = 1.0
#: Longest sleep in one piece (seconds), so that a kill is noticed.
_SLICE = 0.5
#: Longest time (seconds) by which the trigger's deadline comes before the end of ``execution_timeout``.
_DEADLINE_MARGIN = 10.0
#: Seconds after the trigger's own deadline at which Airflow ends a deferral whose trigger does not run.
_TRIGGER_TIMEOUT_MARGIN = 120.0


class SopsGetTaskOutputsOperator(BaseOperator):
    """Push the outputs of a finished SOPS task into XCom.

    Each output is pushed twice by name, as ``IP`` and as ``${IP}``, and all are returned as a dict by bare name, so
    that ``op.output["IP"]``, ``ti.xcom_pull("op", key="${IP}")`` and ``ti.xcom_pull("op")["IP"]`` give the same value,
    with its JSON type. Nothing is pushed unless all was read and can be pushed.

    :param sops_task_id: the SOPS task, an int, a string or an XComArg (templated).
    :param keys: the outputs to push, in either spelling; by default all (templated).
    :param bk_biz_id: its business (or project, see ``scope``); by default the connection's (templated).
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's (templated).
    :param sops_conn_id: the connection (templated).
    :param assume_finished: where only ``get_task_detail`` may be called, an end without outputs may be a finish or a
        revoke; take it for a finish.
    :return: the outputs by bare name.
    :raises SopsOutputsException: the task is unfinished, failed or revoked, or a key is absent.
    :raises SopsException: (one of its kinds) SOPS gives no good answer.
    """

    template_fields = ("sops_task_id", "keys", "bk_biz_id", "scope", "sops_conn_id")
    operator_extra_links = (SopsTaskLink(),)
    ui_color = "#e1ecff"

    def __init__(
        self,
        *,
        sops_task_id: int | str,
        keys: Iterable[str] | None = None,
        bk_biz_id: int | str | None = None,
        scope: str | None = None,
        sops_conn_id: str = DEFAULT_CONN_ID,
        assume_finished: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sops_task_id = sops_task_id
        self.keys = keys
        self.bk_biz_id = bk_biz_id
        self.scope = scope
        self.sops_conn_id = sops_conn_id
        self.assume_finished = assume_finished

    def execute(self, context: Context) -> dict[str, Any]:
        """Read, check, push and return the outputs."""
        from airflow_provider_sops.hooks.sops import SopsHook

        hook = SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)
        with airflow_errors():
            task_id = parse_id("sops_task_id", self.sops_task_id)
        keys = [self.keys] if isinstance(self.keys, str) else self.keys
        try:
            outputs = fetch_outputs(self, hook, task_id, keys, assume_finished=self.assume_finished)
        except SopsOutputsException as error:
            push_task_url(context, self, error.task_url)
            raise
        push_task_url(context, self, outputs.detail.task_url)
        push_outputs(context, self, outputs.values)
        return dict(outputs.values)


class SopsRunTaskOperator(BaseOperator):
    """Run a SOPS task from a template, wait until it has ended, and push its outputs.

    The SOPS task is started at most once, whatever happens to the worker or to an answer on its way: it is created with
    a tag at the end of its name, found again by this tag, and only then started. A retry goes on with what it finds:

    - not yet started: it starts it; running or paused: it goes on waiting; finished: it uses the outputs;
    - failed: as ``on_retry`` says; revoked by this Airflow task itself: it runs a new one;
    - revoked or deleted by a person, or expired: it fails without further Airflow retries.

    :param template_id: the template, an int or a string (templated); or:
    :param template_name: the name of the one template in the business that is called so (templated).
    :param template_source: ``business`` or ``common`` (templated).
    :param task_name: name of the SOPS task, by default those of DAG and task; the tag is added, and what is longer than
        100 characters with it is cut (templated).
    :param constants: values by name, bare or as ``${IP}`` (templated); sent as they are, and an XComArg keeps its type.
    :param flow_type: ``common``, or ``common_func`` for a task that waits to be claimed by a person (templated).
    :param exclude_task_nodes_id: ids of the template's nodes to leave out (templated).
    :param execute_task_nodes_id: ids of the template's nodes to run; all others are left out (templated).
    :param template_schemes_id: id or ids of execution schemes (templated).
    :param simplify_vars: variables to be replaced by their values in the task (templated).
    :param bk_biz_id: the business (or project, see ``scope``); by default the connection's (templated).
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's (templated).
    :param sops_conn_id: the connection (templated).
    :param wait_for_completion: wait for the end; else return ``{}`` as soon as the SOPS task has started.
    :param deferrable: wait in the triggerer, without a worker slot; by default as ``[operators] default_deferrable``
        says.
    :param poll_interval: seconds or ``timedelta`` between two reads, by default the 10 seconds for which SOPS answers
        from its cache.
    :param push_outputs: push each output as an XCom of its own, as
        :class:`~airflow_provider_sops.operators.sops.SopsGetTaskOutputsOperator` does.
    :param start_timeout: how long the SOPS task may take to start (seconds or ``timedelta``); one that has not started
        then is revoked where SOPS allows it.
    :param on_failed: ``fail`` as soon as a node failed and SOPS will not retry it by itself, or ``wait`` for a person
        to retry or skip it.
    :param failed_grace: how long the SOPS task may stay FAILED before this one fails (seconds or ``timedelta``); by
        default not at all for ``fail`` and for ever for ``wait``.
    :param on_suspended: ``wait`` for a person to resume a paused task, or ``fail``.
    :param allowed_states: final states that count as success: FINISHED, REVOKED, EXPIRED.
    :param max_outage: how long failed reads of the status are tolerated (seconds or ``timedelta``).
    :param assume_finished: where only ``get_task_detail`` may be called, an end without outputs may be a finish or a
        revoke; take it for a finish.
    :param revoke_on_kill: revoke the SOPS task when this one is marked failed, cleared, stopped or out of time. Before
        Airflow 3.3 that does not reach a deferred task.
    :param on_retry: what a retry does with a failed SOPS task: ``rerun`` (revoke it and run a new one), or
        ``retry_failed_nodes``, which saves what has finished.
    :param on_clear: what a cleared task does: run a ``new`` SOPS task, or ``reattach`` to the one there is, as after a
        person has repaired it.
    :return: the outputs by bare name; empty after an allowed end other than FINISHED.
    :raises SopsTaskFailedException: the SOPS task failed or ended in a state that is not allowed.
    :raises SopsTaskStoppedException: a person has stopped it: no further retries.
    :raises SopsTimedOutException: it has not started, or not ended, in time.
    :raises SopsOutageException: its status could not be read for ``max_outage``.
    :raises SopsException: (one of its kinds) SOPS or its gateway refused.
    :raises SopsConfigException: there is no such template or constant.
    """

    template_fields = (
        "template_id",
        "template_name",
        "template_source",
        "task_name",
        "constants",
        "flow_type",
        "exclude_task_nodes_id",
        "execute_task_nodes_id",
        "template_schemes_id",
        "simplify_vars",
        "bk_biz_id",
        "scope",
        "sops_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"constants": "json"}
    operator_extra_links = (SopsTaskLink(),)
    ui_color = "#cde1ff"

    def __init__(
        self,
        *,
        template_id: int | str | None = None,
        template_name: str | None = None,
        template_source: str = "business",
        task_name: str | None = None,
        constants: Mapping[str, Any] | None = None,
        flow_type: str | None = None,
        exclude_task_nodes_id: Iterable[str] | None = None,
        execute_task_nodes_id: Iterable[str] | None = None,
        template_schemes_id: int | str | Iterable[int | str] | None = None,
        simplify_vars: Iterable[str] | None = None,
        bk_biz_id: int | str | None = None,
        scope: str | None = None,
        sops_conn_id: str = DEFAULT_CONN_ID,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: Duration = STATUS_CACHE_SECONDS,
        push_outputs: bool = True,
        start_timeout: Duration = 60.0,
        on_failed: str = "fail",
        failed_grace: Duration | None = None,
        on_suspended: str = "wait",
        allowed_states: Iterable[str] = (TaskState.FINISHED.value,),
        max_outage: Duration = 600.0,
        assume_finished: bool = False,
        revoke_on_kill: bool = True,
        on_retry: str = "rerun",
        on_clear: str = "new",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (template_id is None) == (template_name is None):
            raise ValueError("template_id, template_name: give one of them")
        check_choice("on_retry", on_retry, ("rerun", "retry_failed_nodes"))
        check_choice("on_clear", on_clear, ("new", "reattach"))
        self.template_id = template_id
        self.template_name = template_name
        self.template_source = template_source
        self.task_name = task_name
        self.constants = constants
        self.flow_type = flow_type
        self.exclude_task_nodes_id = exclude_task_nodes_id
        self.execute_task_nodes_id = execute_task_nodes_id
        self.template_schemes_id = template_schemes_id
        self.simplify_vars = simplify_vars
        self.bk_biz_id = bk_biz_id
        self.scope = scope
        self.sops_conn_id = sops_conn_id
        self.wait_for_completion = wait_for_completion
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self.poll_interval = as_seconds("poll_interval", poll_interval)
        self.push_outputs = push_outputs
        self.start_timeout = as_seconds("start_timeout", start_timeout)
        self.policy = make_policy(
            allowed_states=allowed_states,
            on_failed=on_failed,
            failed_grace=failed_grace,
            on_suspended=on_suspended,
            max_outage=max_outage,
            assume_finished=assume_finished,
        )
        self.revoke_on_kill = revoke_on_kill
        self.on_retry = on_retry
        self.on_clear = on_clear
        self._ti: Any = None
        self._memory: Memory | None = None
        self._running: Running | None = None
        self._killed = False
        self._pushed: dict[str, Any] = {}

    @cached_property
    def hook(self) -> SopsHook:
        """The hook of the operator's connection and business."""
        from airflow_provider_sops.hooks.sops import SopsHook

        return SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)

    # ---- a try ----

    def execute(self, context: Context) -> dict[str, Any]:
        """Find or start the SOPS task, wait for its end, and push its outputs."""
        deadline = self._deadline(time.time())
        run = self._prepare(context)
        chosen = self._settle(context, run)
        start_by = time.time() + self.start_timeout
        look = chosen.look if chosen.look.next is not Next.WAIT else self._look(context, chosen.watch)
        if self.deferrable and self.wait_for_completion and look.next is Next.WAIT:
            self._defer(Running(run, chosen.task_id, chosen.generation), deadline, start_by)
        look = self._wait(context, run, chosen.watch, look, start_by)
        return self._end(context, look) if self.wait_for_completion or look.next is Next.FAILURE else {}

    def _prepare(self, context: Context) -> TaskRun:
        """Say who this try is and what it wants."""
        self._ti = ti = context["ti"]
        self._memory = memory = Memory(context, self.log)
        start = run_start(context)
        reattach = self.on_clear == "reattach"
        return TaskRun(
            place=self.hook.place,
            tag=tag_of(context, reattach=reattach),
            wanted=self._wanted(f"{ti.dag_id} {ti.task_id}"),
            policy=self.policy,
            on_retry="retry_failed_nodes" if self.on_retry == "retry_failed_nodes" else "rerun",
            created_after=start - _CLOCK_DIFFERENCE if start else None,
            first_try=ti.try_number <= 1,
            cleared=reattach and ti.try_number > 1,
            remembered=memory.remembered,
            has_memory=memory.works,
        )

    def _wanted(self, default_title: str) -> Wanted:
        constants = {sops_key(name): value for name, value in (self.constants or {}).items()}
        params = {
            "flow_type": self.flow_type,
            "exclude_task_nodes_id": _listed(self.exclude_task_nodes_id),
            "execute_task_nodes_id": _listed(self.execute_task_nodes_id),
            "template_schemes_id": self.template_schemes_id,
            "simplify_vars": _listed(self.simplify_vars),
        }
        with airflow_errors():
            check_choice("template_source", self.template_source, ("business", "common"))
            template_id = None if self.template_id is None else parse_id("template_id", self.template_id)
        return Wanted(
            title=self.task_name or default_title,
            template_id=template_id,
            template_name=self.template_name or "",
            template_source=self.template_source,
            constants=constants,
            params={name: value for name, value in params.items() if value not in (None, [])},
        )

    def _settle(self, context: Context, run: TaskRun) -> Chosen:
        """Choose the one SOPS task, remember it, and have it started: in this order."""
        assert self._memory is not None
        for _ in range(_MOST_CHANGES):
            chosen = self._carry_out(run, run.choose(time.time()))
            self._memory.remember(Remembered(run.tag.base, chosen.generation, chosen.task_id))
            self._push(context, chosen.task_id, chosen.watch.task_url)
            self._running = Running(run, chosen.task_id, chosen.generation)
            if chosen.action is Action.RETRY_NODES:
                log_lines(self.log, self._carry_out(run, retry_failed_nodes(run.place, chosen.task_id, run.grants)))
                chosen.look = Look(Next.WAIT)
                return chosen
            if chosen.action is Action.WAIT or self._carry_out(run, run.start(chosen)):
                return chosen
        raise SopsTaskFailedException(
            f"The SOPS tasks of this Airflow task changed while it decided between them, {_MOST_CHANGES} times. "
            "Nothing was started by this try; look at what people do with them."
        )

    def _push(self, context: Context, task_id: int, task_url: str) -> None:
        """Push the SOPS task's id and address, each when it is new."""
        if not self.do_xcom_push:
            return
        if self._pushed.get("id") != task_id:
            self._pushed["id"] = task_id
            context["ti"].xcom_push(key=TASK_ID_KEY, value=task_id)
        if task_url and self._pushed.get("url") != task_url:
            self._pushed["url"] = task_url
            push_task_url(context, self, task_url)

    def _carry_out(self, run: TaskRun, steps: Steps[T]) -> T:
        """Ask SOPS, and write what there is to say into the log, however it ends."""
        try:
            return self.hook.run(steps)
        except CannotGoOn as problem:
            raise self._failure(problem) from problem
        finally:
            for secret in run.secrets:
                mask_secret(secret)
            log_lines(self.log, run.lines)
            run.lines.clear()

    def _failure(self, problem: CannotGoOn) -> SopsTaskFailedException:
        status, message = problem.status, str(problem)
        if status.state is TaskState.FAILED:
            message = f"{message}\n{self.hook.run(explain(status.task_id, self.hook.place, status))}"
        kind: type[SopsTaskFailedException] = SopsTaskFailedException
        if status.state is TaskState.REVOKED:
            kind = SopsTaskStoppedException
        elif status.state is TaskState.CREATED:
            kind = SopsTimedOutException
        error = kind(message)
        error.sops_task_id, error.state = status.task_id, status.state.value
        return error

    # ---- waiting ----

    def _look(self, context: Context, watch: Watch) -> Look:
        look = self.hook.run(watch.look(time.time()))
        log_lines(self.log, look.lines)
        self._push(context, watch.task_id, watch.task_url)
        if isinstance(look.error, SopsAuthenticationError):
            self.hook.forget_connection()
        return look

    def _wait(self, context: Context, run: TaskRun, watch: Watch, look: Look, start_by: float) -> Look:
        """Wait in the worker: for the end, or for the start alone."""
        while look.next is Next.WAIT:
            state = look.status.state if look.status else None
            starts = state is TaskState.CREATED
            if not (self.wait_for_completion or starts or state is None):
                break
            if starts and time.time() >= start_by:
                self._not_started(run, watch.task_id)
                start_by = float("inf")
            self._sleep(_START_INTERVAL if starts else self._interval(watch))
            look = self._look(context, watch)
        return look

    def _interval(self, watch: Watch) -> float:
        return self.poll_interval if watch.grants.status else max(self.poll_interval, float(DETAIL_CACHE_SECONDS))

    def _sleep(self, seconds: float) -> None:
        wake_at = time.monotonic() + seconds
        while (left := wake_at - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))
            if self._killed:  # Airflow 3 lets the task go on after on_kill
                raise AirflowException("This task was told to stop.")

    def _not_started(self, run: TaskRun, task_id: int) -> None:
        """Fail, unless the SOPS task has started after all."""
        problem = self._carry_out(run, run.not_started(task_id, self.start_timeout))
        if problem is not None:
            raise self._failure(problem) from problem

    def _end(self, context: Context, look: Look) -> dict[str, Any]:
        """Turn the end of a wait into outputs or an error."""
        status = look.status
        if status is None or look.error is not None:
            error = read_error(look)
            raise error from error.__cause__
        if status.state.is_final:
            self._running = None
        if look.next is Next.FAILURE:
            raise bad_end(self.hook, self.hook.place, status, look.reason)
        self.log.info("SOPS task %s %r %s.", status.task_id, status.name, look.reason)
        if status.state is not TaskState.FINISHED:
            return {}
        outputs = fetch_outputs(self, self.hook, status.task_id, assume_finished=self.policy.assume_finished)
        self._push(context, status.task_id, outputs.detail.task_url)
        if self.push_outputs:
            push_outputs(context, self, outputs.values)
        return dict(outputs.values)

    # ---- deferral ----

    def _deadline(self, now: float) -> float | None:
        """Give when the trigger ends the wait: before Airflow does, which could not revoke anything then."""
        if self.execution_timeout is None:
            return None
        seconds = self.execution_timeout.total_seconds()
        return now + seconds - min(_DEADLINE_MARGIN, seconds / 10)

    def _defer(self, running: Running, deadline: float | None, start_by: float | None) -> NoReturn:
        from airflow_provider_sops.triggers.sops import SopsTaskTrigger

        trigger = SopsTaskTrigger(
            sops_task_id=running.task_id,
            bk_biz_id=running.run.place.bk_biz_id,
            scope=running.run.place.scope,
            sops_conn_id=self.sops_conn_id,
            poll_interval=self.poll_interval,
            deadline=deadline,
            revoke_on_kill=self.revoke_on_kill,
            start_deadline=start_by,
            keep_when_cleared=self.on_clear == "reattach",
            **policy_fields(self.policy),
        )
        if self.revoke_on_kill and not KILLS_REACH_TRIGGERS:
            self.log.info(
                "Deferring. Before Airflow 3.3 nothing runs when a deferred task is killed: should this one be marked "
                "failed or cleared while it waits, SOPS task %s runs on and has to be revoked in SOPS.",
                running.task_id,
            )
        # the trigger ends the wait in time by itself; Airflow's own timeout is for when no triggerer runs
        timeout = None if deadline is None else timedelta(seconds=deadline - time.time() + _TRIGGER_TIMEOUT_MARGIN)
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={
                "sops_task_id": running.task_id,
                "generation": running.generation,
                "tag": running.run.tag.base,
                "deadline": deadline,
            },
            timeout=timeout,
        )

    def execute_complete(
        self, context: Context, event: Any, sops_task_id: int, generation: int, tag: str, deadline: float | None
    ) -> dict[str, Any]:
        """Go on after the wait in the triggerer.

        :param event: what the trigger has sent.
        """
        run = self._prepare(context)
        run.tag = replace(run.tag, base=tag)
        self._running = running = Running(run, sops_task_id, generation)
        ended = read_event(sops_task_id, event)
        status = ended.look.status
        if ended.outcome is Outcome.TIMEOUT:
            self._time_out(running, f"it is {status.state}" if status else "its state could not be read")
        if ended.outcome is Outcome.NOT_STARTED:
            self._not_started(run, sops_task_id)
            self._defer(running, deadline, None)
        return self._end(context, ended.look)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, also after one that Airflow has ended by itself."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (AirflowException, TaskDeferralError) as error:
            if not is_trigger_timeout(error):
                raise
            run = self._prepare(context)
            found = self._carry_out(run, run.latest())
            if found is None:
                raise
            self._time_out(Running(run, found[1], found[0]), "no triggerer ran its trigger")

    def _time_out(self, running: Running, state: str) -> NoReturn:
        """Revoke the SOPS task, which has not ended in time, and fail."""
        self._running = None
        assert self._memory is not None
        assert self.execution_timeout is not None
        task_id, fate = running.task_id, "it was left running, as revoke_on_kill is off"
        if self.revoke_on_kill:
            try:
                revocation = self._carry_out(running.run, revoke(running.run.place, task_id))
            except SopsException as failed:
                fate = f"it could not be revoked and may still run ({failed})"
            else:
                fate = revocation.text
                if revocation.done and retry_is_left(self._ti):
                    lines: list[Line] = []
                    leave_successor(running, self.hook.run, self._memory, lines)
                    log_lines(self.log, [*running.run.lines, *lines])
        error = SopsTimedOutException(
            f"SOPS task {task_id} has not ended within {self.execution_timeout.total_seconds():.0f} s "
            f"(execution_timeout): {state}; {fate}."
        )
        error.sops_task_id = task_id
        raise error

    # ---- being killed ----

    def on_kill(self) -> None:
        """Revoke the SOPS task, once."""
        if self._killed:
            return
        self._killed = True
        running = self._running
        if running is None or self._memory is None:
            self.log.info("No SOPS task runs for this task: nothing is revoked.")
        elif not self.revoke_on_kill:
            self.log.info("SOPS task %s is left running, as revoke_on_kill is off.", running.task_id)
        else:
            keep = self.on_clear == "reattach"
            lines = revoke_when_killed(running, self.hook, self._ti, self._memory, keep_when_cleared=keep)
            log_lines(self.log, lines)


class SopsOperateTaskOperator(BaseOperator):
    """Start, pause, resume or revoke a SOPS task.

    What is so already is success, with a line in the log: revoking a task that has ended, pausing a paused one.

    :param sops_task_id: the SOPS task, an int, a string or an XComArg (templated).
    :param action: ``start``, ``pause``, ``resume`` or ``revoke`` (templated).
    :param bk_biz_id: its business (or project, see ``scope``); by default the connection's (templated).
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's (templated).
    :param sops_conn_id: the connection (templated).
    :raises SopsException: (one of its kinds) SOPS or its gateway refused, in its own words.
    """

    template_fields = ("sops_task_id", "action", "bk_biz_id", "scope", "sops_conn_id")
    operator_extra_links = (SopsTaskLink(),)
    ui_color = "#e1ecff"

    def __init__(
        self,
        *,
        sops_task_id: int | str,
        action: str,
        bk_biz_id: int | str | None = None,
        scope: str | None = None,
        sops_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sops_task_id = sops_task_id
        self.action = action
        self.bk_biz_id = bk_biz_id
        self.scope = scope
        self.sops_conn_id = sops_conn_id

    def execute(self, context: Context) -> None:
        """Do it, once."""
        from airflow_provider_sops.hooks.sops import SopsHook

        hook = SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)
        with airflow_errors():
            task_id = parse_id("sops_task_id", self.sops_task_id)
            check_choice("action", self.action, TASK_ACTIONS)
        _push_page(context, self, hook, task_id)
        log_lines(self.log, hook.run(operate_task(hook.place, task_id, self.action)))


class SopsOperateNodeOperator(BaseOperator):
    """Retry or skip a failed node of a SOPS task, or let a node go on that waits for a callback.

    What is so already is success, with a line in the log: skipping or calling back a node that has finished.

    :param sops_task_id: the SOPS task, an int, a string or an XComArg (templated).
    :param action: ``retry``, ``skip`` or ``callback``, which a pause node waits for (templated).
    :param sops_node_id: the node's id in the SOPS task, which is another one than in its template (templated); or:
    :param sops_node_name: the name of the one node in the SOPS task that is called so (templated).
    :param data: what a callback hands over, a dict (templated).
    :param inputs: what a retry runs with instead of all the node's inputs, a dict (templated).
    :param node_timeout: how long to wait until the node is reached (seconds or ``timedelta``).
    :param bk_biz_id: its business (or project, see ``scope``); by default the connection's (templated).
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's (templated).
    :param sops_conn_id: the connection (templated).
    :raises SopsTaskFailedException: the node was not reached.
    :raises SopsException: (one of its kinds) SOPS or its gateway refused, in its own words.
    :raises SopsConfigException: the SOPS task has no such node, or several.
    """

    template_fields = (
        "sops_task_id",
        "action",
        "sops_node_id",
        "sops_node_name",
        "data",
        "inputs",
        "bk_biz_id",
        "scope",
        "sops_conn_id",
    )
    operator_extra_links = (SopsTaskLink(),)
    ui_color = "#e1ecff"

    def __init__(
        self,
        *,
        sops_task_id: int | str,
        action: str,
        sops_node_id: str | None = None,
        sops_node_name: str | None = None,
        data: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        node_timeout: Duration = 60.0,
        bk_biz_id: int | str | None = None,
        scope: str | None = None,
        sops_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (sops_node_id is None) == (sops_node_name is None):
            raise ValueError("sops_node_id, sops_node_name: give one of them")
        self.sops_task_id = sops_task_id
        self.action = action
        self.sops_node_id = sops_node_id
        self.sops_node_name = sops_node_name
        self.data = data
        self.inputs = inputs
        self.node_timeout = as_seconds("node_timeout", node_timeout)
        self.bk_biz_id = bk_biz_id
        self.scope = scope
        self.sops_conn_id = sops_conn_id

    def execute(self, context: Context) -> None:
        """Wait until the node is reached, and do it, once."""
        from airflow_provider_sops.hooks.sops import SopsHook

        hook = SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)
        with airflow_errors():
            task_id = parse_id("sops_task_id", self.sops_task_id)
            check_choice("action", self.action, NODE_ACTIONS)
            detail = _push_page(context, self, hook, task_id)
            node_id = self.sops_node_id
            if node_id is None:
                node_id = find_node(detail or hook.get_task_detail(task_id), self.sops_node_name or "").id
        params = {"data": self.data, "inputs": self.inputs}
        steps = operate_node(hook.place, task_id, node_id, self.action, params=params, patience=self.node_timeout)
        try:
            log_lines(self.log, hook.run(steps))
        except CannotGoOn as problem:
            raise SopsTaskFailedException(str(problem)) from problem


def _push_page(context: Context, operator: BaseOperator, hook: SopsHook, task_id: int) -> models.TaskDetail | None:
    """Push the address of the SOPS task's page, where its detail may be read."""
    try:
        detail = hook.get_task_detail(task_id)
    except SopsException:
        return None
    push_task_url(context, operator, detail.task_url)
    return detail


def _listed(values: Any) -> Any:
    """Make a list of what may be a tuple, a generator or one text."""
    if values is None:
        return None
    return [values] if isinstance(values, str) else list(values)
