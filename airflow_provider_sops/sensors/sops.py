# SPDX-License-Identifier: Apache-2.0
"""The sensor that waits until a SOPS task has ended."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseOperator,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_sops.compat import TaskDeferralError, is_trigger_timeout
from airflow_provider_sops.connection import DEFAULT_CONN_ID
from airflow_provider_sops.core.api.catalogue import DETAIL_CACHE_SECONDS, STATUS_CACHE_SECONDS
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.links.sops import SopsTaskLink, push_task_url
from airflow_provider_sops.operator_arguments import WAIT, Duration, Field, Templated, listed, make_policy

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context, XComArg

    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.sensors.sensor_wait import SensorWait

__all__ = ["SopsTaskSensor"]

#: A rescheduled sensor costs the scheduler work, so it is poked less often by default (seconds).
RESCHEDULE_INTERVAL = 60.0


class SopsTaskSensor(Templated, BaseSensorOperator):
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
    :param max_outage: how long failed reads of the status, or of the outputs, are tolerated (seconds or
        ``timedelta``).
    :param assume_finished: where only ``get_task_detail`` may be called, an end without outputs may be a finish or a
        revoke; take it for a finish.
    :param poke_interval: seconds or ``timedelta`` between two reads; by default 10 seconds, for which SOPS answers from
        its cache, and 60 seconds for ``mode="reschedule"``.
    :param deferrable: wait in the triggerer, without a worker slot; by default as ``[operators] default_deferrable``
        says. ``mode`` and ``exponential_backoff`` then mean nothing: all waits of a connection and business share one
        poll.
    :param push_outputs: after a good end read the outputs, and push each as an XCom of its own, as
        :class:`~airflow_provider_sops.operators.sops.SopsGetTaskOutputsOperator` does. Ends other than FINISHED, where
        they are allowed, have none.
    :param keys: the outputs to push, in either spelling; by default all. Only with ``push_outputs`` (templated).
    :param end_from_trigger: after a good end the trigger pushes the XComs and ends the Airflow task, without another
        worker process; only with ``deferrable``, Airflow 3.0 or newer. By default as ``[sops] end_from_trigger`` says,
        wherever nothing is lost by it. All else than a good end goes on in a worker.
    :param start_from_trigger: Airflow's scheduler hands the wait to the triggerer, without a worker process; only with
        ``deferrable``, and not in a mapped task. Before Airflow 3.3 a worker starts it, and the log says so. Fields are
        then rendered without the DAG's own macros and filters, and the wait passes by ``pool``, ``max_active_tasks``,
        ``pre_execute`` and ``on_execute_callback``.
    :param soft_fail: skip, instead of fail, on a timeout and on a bad end; never on an outage, wrong credentials, a bad
        answer, or outputs that are absent or cannot be pushed.
    :return: ``{sops_task_id, state, start_time, end_time, elapsed_time, task_url, task_name}``; times in ISO 8601
        with offset, ``elapsed_time`` in seconds. With ``push_outputs`` also ``outputs``, by bare name.
    :raises SopsTaskFailedException: the task failed or ended in a state that is not allowed.
    :raises SopsOutageException: the status, or the outputs, could not be read for ``max_outage``.
    :raises SopsOutputsException: a key is absent, or an output cannot be pushed.
    :raises SopsException: (one of its kinds) SOPS or its gateway refused in a way that waiting does not mend.
    :raises AirflowSensorTimeout: the task has not ended within ``timeout``.
    """

    fields_read: ClassVar[Mapping[str, Field]] = WAIT
    template_fields = tuple(fields_read)
    operator_extra_links: Collection[BaseOperatorLink] = (SopsTaskLink(),)
    ui_color = "#e1ecff"

    def __init__(
        self,
        *,
        sops_task_id: int | str | XComArg,
        bk_biz_id: int | str | XComArg | None = None,
        scope: str | XComArg | None = None,
        sops_conn_id: str | XComArg = DEFAULT_CONN_ID,
        allowed_states: Iterable[str] = (TaskState.FINISHED.value,),
        on_failed: str = "fail",
        failed_grace: Duration | None = None,
        on_suspended: str = "wait",
        max_outage: Duration = 600.0,
        assume_finished: bool = False,
        deferrable: bool | None = None,
        poke_interval: Duration | None = None,
        push_outputs: bool = False,
        keys: Iterable[str] | XComArg | None = None,
        end_from_trigger: bool | None = None,
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        if keys is not None and not push_outputs:
            raise ValueError("keys: no outputs are read without push_outputs=True")
        self._own_interval = poke_interval is None
        super().__init__(poke_interval=STATUS_CACHE_SECONDS if poke_interval is None else poke_interval, **kwargs)
        # now it is known, wherever it was said: here, or in the default_args of the DAG or a group
        if self._own_interval and self.mode == "reschedule" and not deferrable:
            self.poke_interval = RESCHEDULE_INTERVAL
        self.sops_task_id: Any = sops_task_id
        self.push_outputs = push_outputs
        self.keys = listed(keys)
        self.bk_biz_id: Any = bk_biz_id
        self.scope: Any = scope
        self.sops_conn_id: Any = sops_conn_id
        self.deferrable = deferrable
        # as it was given: Airflow refuses one that is true where it has listeners
        self.end_from_trigger = end_from_trigger
        self.policy = make_policy(
            allowed_states=allowed_states,
            on_failed=on_failed,
            failed_grace=failed_grace,
            on_suspended=on_suspended,
            max_outage=max_outage,
            assume_finished=assume_finished,
        )
        self._wait: SensorWait | None = None
        self.note_given()
        if end_from_trigger:
            from airflow_provider_sops.trigger_end import check_end_from_trigger

            check_end_from_trigger(self, defers=deferrable)
        self._is_start_asked = start_from_trigger
        if start_from_trigger:
            from airflow_provider_sops.trigger_start import set_start_from_trigger

            set_start_from_trigger(self)

    @cached_property
    def hook(self) -> SopsHook:
        """The hook of the sensor's connection and project."""
        from airflow_provider_sops.hooks.sops import SopsHook

        return SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Read the task's status once."""
        if self._wait is None:
            self._read_fields()
            self._wait = self._make_wait()
            self._wait.begin(context)
        return self._wait.poke(context)

    def execute(self, context: Context) -> Any:
        """Wait in the worker, or read the status once and then wait in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        deadline = time.time() + self.timeout
        if self._is_start_asked:
            from airflow_provider_sops.trigger_start import log_why_worker_starts

            log_why_worker_starts(self)
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
        self._defer(context, deadline)

    def _defer(self, context: Context, deadline: float) -> NoReturn:
        from airflow_provider_sops.configuration import deferral_hold
        from airflow_provider_sops.deferral import defer_wait
        from airflow_provider_sops.wait_spec import WaitSpec, flat_fields

        assert self._wait is not None
        task_wait = self._wait.task_wait
        spec = WaitSpec(
            sops_task_id=task_wait.task_id,
            sops_conn_id=self.sops_conn_id,
            poll_interval=self.poke_interval,
            deadline=deadline,
            task_url=task_wait.task_url,
            **flat_fields(task_wait.project, self.policy),
            **self._trigger_end(context),
        )
        defer_wait(self.defer, spec, hold=deferral_hold())

    def _trigger_end(self, context: Context) -> dict[str, Any]:
        from airflow_provider_sops.trigger_end import trigger_end_fields

        return trigger_end_fields(self, context["ti"], push_outputs=self.push_outputs, keys=self.keys)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on after the wait in the triggerer.

        :param event: what the trigger has sent.
        """
        from airflow_provider_sops.exceptions import SopsTriggerEventException
        from airflow_provider_sops.sensors.sensor_wait import raise_failure
        from airflow_provider_sops.trigger_events import Outcome, read_event, start_in_worker

        if event == start_in_worker():
            return self.execute(context)
        self._read_fields()
        task_id: int = self.sops_task_id
        ended = read_event(task_id, event)
        status = ended.observation.status
        if status is not None:
            push_task_url(context, status.task_url, do_xcom_push=self.do_xcom_push)
        if ended.outcome is Outcome.SUCCESS:
            assert status is not None
            self.log.info("SOPS task %s %r %s.", task_id, status.name, ended.observation.reason)
            if self.start_from_trigger:
                self._trigger_end(context)  # nothing has said yet why a worker ends it
            return self._make_wait().resume(context, ended.observation)
        if ended.outcome is Outcome.TIMEOUT:
            state = f"it is {status.state}" if status else "its state could not be read"
            self._time_out(f"SOPS task {task_id} has not ended within {self.timeout:.0f} s: {state}.")
        if ended.outcome is Outcome.FAILURE:
            raise_failure(self, self.hook, ended.observation)
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

    def _read_fields(self) -> None:
        from airflow_provider_sops.exceptions import airflow_errors

        with airflow_errors():
            self.read_fields()

    def _make_wait(self) -> SensorWait:
        from airflow_provider_sops.sensors.sensor_wait import SensorWait

        return SensorWait(
            self,
            self.hook,
            self.sops_task_id,
            self.policy,
            rescheduled=bool(self.reschedule) and not self.deferrable,
            push_outputs=self.push_outputs,
            keys=self.keys,
        )

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        interval: float = super()._get_next_poke_interval(*args, **kwargs)
        if self._own_interval and self._wait is not None and not self._wait.task_wait.permissions.status:
            return max(interval, float(DETAIL_CACHE_SECONDS))
        return interval
