# SPDX-License-Identifier: Apache-2.0
"""The sensor that waits until a SOPS task has ended."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseOperator,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_sops.arguments import Duration, make_policy, policy_fields
from airflow_provider_sops.compat import TaskDeferralError, first_reschedule_date, is_trigger_timeout
from airflow_provider_sops.connection import DEFAULT_CONN_ID
from airflow_provider_sops.links.sops import SopsTaskLink, push_task_url
from airflow_provider_sops.sops.calls import DETAIL_CACHE_SECONDS, STATUS_CACHE_SECONDS, parse_id
from airflow_provider_sops.sops.errors import SopsAuthenticationError
from airflow_provider_sops.sops.states import TaskState

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.sops.watch import Look, Watch

#: A rescheduled sensor costs the scheduler work, so it is poked less often by default (seconds).
RESCHEDULE_INTERVAL = 60.0
#: How much later than asked for a rescheduled sensor may run (seconds).
_SCHEDULING_DELAY = 60.0


class SopsTaskSensor(BaseSensorOperator):
    """Wait until a SOPS task has ended.

    It ends well only when the task is in an allowed state and its end time is known (a revoked or expired task never
    gets one). It never succeeds on a state it does not know, and a status that cannot be read is not a failed task.

    :param sops_task_id: the SOPS task, an int, a string or an XComArg (templated).
    :param bk_biz_id: its business (or project, see ``scope``); by default the connection's (templated).
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's (templated).
    :param sops_conn_id: the connection (templated).
    :param allowed_states: final states that count as success: FINISHED, REVOKED, EXPIRED.
    :param on_failed: ``fail`` as soon as a node failed and SOPS will not retry it by itself, or ``wait`` for a person
        to retry or skip it.
    :param failed_grace: how long the task may stay FAILED before the sensor fails (seconds or ``timedelta``); by
        default not at all for ``fail`` and for ever for ``wait``.
    :param on_suspended: ``wait`` for a person to resume a paused task, or ``fail``.
    :param max_outage: how long failed reads of the status are tolerated (seconds or ``timedelta``).
    :param assume_finished: where only ``get_task_detail`` may be called, an end without outputs may be a finish or a
        revoke; take it for a finish.
    :param poke_interval: seconds or ``timedelta`` between two reads; by default 10 seconds, for which SOPS answers from
        its cache, and 60 seconds for ``mode="reschedule"``.
    :param deferrable: wait in the triggerer, without a worker slot; by default as ``[operators] default_deferrable``
        says. ``mode`` and ``exponential_backoff`` then mean nothing: all waits of a connection and business share one
        poll.
    :param soft_fail: skip, instead of fail, on a timeout and on a bad end; never on an outage, wrong credentials or a
        bad answer.
    :return: ``{sops_task_id, state, start_time, end_time, elapsed_time, task_url, task_name}``; times in ISO 8601
        with offset, ``elapsed_time`` in seconds.
    :raises SopsTaskFailedException: the task failed or ended in a state that is not allowed.
    :raises SopsOutageException: the status could not be read for ``max_outage``.
    :raises SopsException: (one of its kinds) SOPS or its gateway refused in a way that waiting does not mend.
    :raises AirflowSensorTimeout: the task has not ended within ``timeout``.
    """

    template_fields = ("sops_task_id", "bk_biz_id", "scope", "sops_conn_id")
    operator_extra_links = (SopsTaskLink(),)
    ui_color = "#e1ecff"

    def __init__(
        self,
        *,
        sops_task_id: int | str,
        bk_biz_id: int | str | None = None,
        scope: str | None = None,
        sops_conn_id: str = DEFAULT_CONN_ID,
        allowed_states: Iterable[str] = (TaskState.FINISHED.value,),
        on_failed: str = "fail",
        failed_grace: Duration | None = None,
        on_suspended: str = "wait",
        max_outage: Duration = 600.0,
        assume_finished: bool = False,
        deferrable: bool | None = None,
        poke_interval: Duration | None = None,
        **kwargs: Any,
    ) -> None:
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self._own_interval = poke_interval is None
        if poke_interval is None:
            rescheduled = kwargs.get("mode") == "reschedule" and not deferrable
            poke_interval = RESCHEDULE_INTERVAL if rescheduled else STATUS_CACHE_SECONDS
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.sops_task_id = sops_task_id
        self.bk_biz_id = bk_biz_id
        self.scope = scope
        self.sops_conn_id = sops_conn_id
        self.deferrable = deferrable
        self.policy = make_policy(
            allowed_states=allowed_states,
            on_failed=on_failed,
            failed_grace=failed_grace,
            on_suspended=on_suspended,
            max_outage=max_outage,
            assume_finished=assume_finished,
        )
        self._hook: SopsHook | None = None
        self._watch: Watch | None = None
        self._pushed_url = ""

    @property
    def hook(self) -> SopsHook:
        """The hook of the sensor's connection and business."""
        if self._hook is None:
            from airflow_provider_sops.hooks.sops import SopsHook

            self._hook = SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)
        return self._hook

    def execute(self, context: Context) -> Any:
        """Wait in the worker, or look once and then wait in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        deadline = time.time() + self.timeout
        try:
            found = self.poke(context)
        except AirflowSkipException:
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise
        if isinstance(found, PokeReturnValue):
            return found.xcom_value
        self._defer(deadline)

    def _defer(self, deadline: float) -> NoReturn:
        from airflow_provider_sops.configuration import deferral_hold
        from airflow_provider_sops.triggers.sops import SopsTaskTrigger
        from airflow_provider_sops.waiting import TRIGGER_TIMEOUT_MARGIN

        assert self._watch is not None
        trigger = SopsTaskTrigger(
            sops_task_id=self._watch.task_id,
            bk_biz_id=self._watch.place.bk_biz_id,
            scope=self._watch.place.scope,
            sops_conn_id=self.sops_conn_id,
            poll_interval=self.poke_interval,
            deadline=deadline,
            task_url=self._watch.task_url,
            deferred_at=time.time(),
            **policy_fields(self.policy),
        )
        # the trigger ends the wait in time by itself; Airflow's own timeout is for when no triggerer runs
        margin = TRIGGER_TIMEOUT_MARGIN + deferral_hold()
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, deadline - time.time()) + margin),
        )

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """Go on after the wait in the triggerer.

        :param event: what the trigger has sent.
        """
        from airflow_provider_sops.exceptions import SopsTriggerEventException, airflow_errors
        from airflow_provider_sops.waiting import Outcome, read_event, result_of

        with airflow_errors():
            task_id = parse_id("sops_task_id", self.sops_task_id)
        ended = read_event(task_id, event)
        status = ended.look.status
        if status is not None:
            push_task_url(context, self, status.task_url)
        if ended.outcome is Outcome.SUCCESS:
            assert status is not None
            self.log.info("SOPS task %s %r %s.", task_id, status.name, ended.look.reason)
            return result_of(status)
        if ended.outcome is Outcome.TIMEOUT:
            state = f"it is {status.state}" if status else "its state could not be read"
            self._time_out(f"SOPS task {task_id} has not ended within {self.timeout:.0f} s: {state}.")
        if ended.outcome is Outcome.FAILURE:
            self._fail(ended.look)
        raise SopsTriggerEventException(
            f"The trigger waiting for SOPS task {task_id} has sent {ended.outcome.value!r}, which no sensor asks for, "
            "so the task's state is not known. If the provider was upgraded while the task waited, clear the task."
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral.

        The base class lets ``soft_fail`` skip on every error here; poked, it skips on a timeout and a bad end only.
        """
        try:
            return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
        except AirflowSkipException:
            raise
        except (AirflowException, TaskDeferralError) as error:
            if is_trigger_timeout(error):
                self._time_out(
                    f"SOPS task {self.sops_task_id} was not seen to end in time: no triggerer ran its trigger."
                )
            if self.never_fail:
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise

    def _time_out(self, message: str) -> NoReturn:
        if self.soft_fail or self.never_fail:
            raise AirflowSkipException(message)
        raise AirflowSensorTimeout(message)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look at the task once."""
        from airflow_provider_sops.sops.verdict import Next
        from airflow_provider_sops.waiting import result_of

        watch = self._watch or self._open_watch(context)
        look = self._look(context, watch)
        while self._is_rescheduled and look.next is Next.WAIT and watch.must_be_kept and not self._is_overdue(context):
            # the next poke would be another process, which knows nothing of what this one remembers
            time.sleep(self.poke_interval)
            look = self._look(context, watch)
        if look.next is Next.WAIT:
            return False
        if look.next is Next.FAILURE:
            self._fail(look)
        assert look.status is not None
        return PokeReturnValue(is_done=True, xcom_value=result_of(look.status))

    @property
    def _is_rescheduled(self) -> bool:
        return bool(self.reschedule) and not self.deferrable

    def _open_watch(self, context: Context) -> Watch:
        from airflow_provider_sops.exceptions import airflow_errors
        from airflow_provider_sops.sops.watch import Watch

        with airflow_errors():
            task_id = parse_id("sops_task_id", self.sops_task_id)
        earlier_poke = self._first_poke_date(context) if self._is_rescheduled else None
        self._watch = watch = Watch(task_id, self.hook.place, self.policy, had_answer=earlier_poke is not None)
        if earlier_poke is not None:
            watch.told_until = time.time() - self.poke_interval - _SCHEDULING_DELAY
        return watch

    def _look(self, context: Context, watch: Watch) -> Look:
        from airflow_provider_sops.waiting import log_lines

        look = self.hook.run(watch.look(time.time()))
        log_lines(self.log, look.lines)
        if watch.task_url != self._pushed_url:
            self._pushed_url = watch.task_url
            push_task_url(context, self, watch.task_url)
        if isinstance(look.error, SopsAuthenticationError):
            self.hook.forget_connection()
        return look

    def _fail(self, look: Look) -> NoReturn:
        """Raise what ended the wait; ``soft_fail`` skips on a bad end of the task only."""
        from airflow_provider_sops.waiting import bad_end, read_error, with_page

        if look.error is not None:
            error = read_error(look)
            raise error from error.__cause__
        assert look.status is not None
        failure = bad_end(self.hook, self.hook.place, with_page(self.hook, look.status), look.reason)
        if self.soft_fail:
            self.log.warning("%s", failure)
            raise AirflowSkipException(str(failure)) from failure
        raise failure

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        interval: float = super()._get_next_poke_interval(*args, **kwargs)
        if self._own_interval and self._watch is not None and not self._watch.grants.status:
            return max(interval, float(DETAIL_CACHE_SECONDS))
        return interval

    def _first_poke_date(self, context: Context) -> Any:
        return first_reschedule_date(context, self.retries)

    def _is_overdue(self, context: Context) -> bool:
        first = self._first_poke_date(context)
        return first is not None and time.time() - first.timestamp() > self.timeout
