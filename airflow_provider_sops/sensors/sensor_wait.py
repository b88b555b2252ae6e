# SPDX-License-Identifier: Apache-2.0
"""The part of a sensor's wait that one process of a worker does: reading the task, and what follows from its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY, AirflowSkipException, PokeReturnValue

from airflow_provider_sops.asset_events import note_in_outlets
from airflow_provider_sops.compat import asset_outlets, first_reschedule_date
from airflow_provider_sops.core.api.catalogue import STATUS_CACHE_SECONDS
from airflow_provider_sops.core.errors import SopsAuthenticationError
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.task_outputs import TaskOutputs, read_detail
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.task_wait import TaskWait
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.exceptions import SopsException
from airflow_provider_sops.links.sops import push_task_url
from airflow_provider_sops.task_log import log_lines
from airflow_provider_sops.wait_failures import bad_end, read_error, with_page
from airflow_provider_sops.wait_results import has_outputs, result_of, with_outputs
from airflow_provider_sops.xcom_outputs import fetch_outputs, push_outputs

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseSensorOperator, Context

    from airflow_provider_sops.core.wait.policy import WaitPolicy
    from airflow_provider_sops.hooks.sops import SopsHook

#: How much later than asked for a rescheduled sensor may run (seconds).
_SCHEDULING_DELAY = 60.0


def raise_failure(sensor: BaseSensorOperator, hook: SopsHook, observation: Observation) -> NoReturn:
    """Raise what ended the wait; ``soft_fail`` skips on a bad end of the task only."""
    if observation.error is not None:
        error = read_error(observation)
        raise error from error.__cause__
    assert observation.status is not None
    failure = bad_end(hook, hook.project, with_page(hook, observation.status), observation.reason)
    if sensor.soft_fail:
        sensor.log.warning("%s", failure)
        raise AirflowSkipException(str(failure)) from failure
    raise failure


class SensorWait:
    """A sensor's wait in one process.

    :param sensor: whose log, intervals and XComs are used.
    :param sops_task_id: id of the SOPS task.
    :param rescheduled: each poke is a process of its own.
    :param push_outputs: read and push the outputs after a good end.
    :param keys: the outputs to push; ``None``: all.
    """

    def __init__(
        self,
        sensor: BaseSensorOperator,
        hook: SopsHook,
        sops_task_id: int,
        policy: WaitPolicy,
        *,
        rescheduled: bool,
        push_outputs: bool,
        keys: list[str] | None,
    ) -> None:
        self.task_wait = TaskWait(sops_task_id, hook.project, policy)
        self._sensor = sensor
        self._hook = hook
        self._rescheduled = rescheduled
        self._pushes_outputs = push_outputs
        self._keys = keys
        self._pushed_url = ""
        #: kept while its outputs cannot be read
        self._good_end: Observation | None = None

    def begin(self, context: Context) -> None:
        """Begin, or go on after the earlier pokes of a rescheduled sensor."""
        if self._rescheduled and first_reschedule_date(context, self._sensor.retries) is not None:
            self.task_wait.had_answer = True
            self.task_wait.progress_log.logged_until = time.time() - self._sensor.poke_interval - _SCHEDULING_DELAY

    def resume(self, context: Context, observation: Observation) -> dict[str, Any]:
        """Return what the sensor returns after a good end that the triggerer has observed."""
        status = observation.status
        assert status is not None
        self.task_wait.had_answer = True
        self._pushed_url = self.task_wait.task_url = status.task_url
        self._good_end = observation
        while not isinstance(found := self.poke(context), PokeReturnValue):
            time.sleep(min(self._sensor.poke_interval, STATUS_CACHE_SECONDS))
        assert found.xcom_value is not None
        return dict(found.xcom_value)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Read the task once; more often where the next process could not know what this one does."""
        observation, result = self._attempt(context)
        while (
            self._rescheduled
            and observation.next is Next.WAIT
            and self.task_wait.must_be_kept
            and not self._is_overdue(context)
        ):
            time.sleep(self._sensor.poke_interval)
            observation, result = self._attempt(context)
        if observation.next is Next.WAIT:
            return False
        if observation.next is Next.FAILURE:
            raise_failure(self._sensor, self._hook, observation)
        return PokeReturnValue(is_done=True, xcom_value=result)

    def _attempt(self, context: Context) -> tuple[Observation, dict[str, Any] | None]:
        """Read the task; after a good end give what the sensor returns too."""
        observation = self._good_end or self._observe(context)
        if observation.next is not Next.SUCCESS:
            return observation, None
        self._good_end = observation
        return self._conclude(context, observation)

    def _observe(self, context: Context) -> Observation:
        observation = self._logged(self._hook.run(self.task_wait.observe(time.time())))
        if self.task_wait.task_url != self._pushed_url:
            self._pushed_url = self.task_wait.task_url
            push_task_url(context, self.task_wait.task_url, do_xcom_push=self._sensor.do_xcom_push)
        return observation

    def _conclude(self, context: Context, observation: Observation) -> tuple[Observation, dict[str, Any] | None]:
        """Return what the sensor returns after a good end; or, when the outputs cannot be read, what follows from that.

        Nothing else is lost by waiting on then: what is tolerated of the status is tolerated of the outputs.
        """
        status = observation.status
        assert status is not None
        result = result_of(status)
        outlets = asset_outlets(self._sensor)
        try:
            if not self._has_outputs(status):
                if outlets:
                    detail = self._hook.run(read_detail(status.task_id, self._hook.project))
                    note_in_outlets(context, outlets, detail, status.state, {}, self._sensor.log)
                return observation, with_outputs(result, {}) if self._pushes_outputs else result
            if not self._pushes_outputs and not outlets:
                return observation, result
            outputs = self._fetch_outputs(status)
            if self._pushes_outputs:
                result = with_outputs(result, outputs.values)
                self._push_outputs(context, outputs, result)
            note_in_outlets(context, outlets, outputs.detail, TaskState.FINISHED, outputs.values, self._sensor.log)
            return observation, result
        except SopsException as error:
            return self._logged(self.task_wait.failed_read(error, time.time(), what="outputs")), None

    def _has_outputs(self, status: TaskStatus) -> bool:
        return has_outputs(status, assume_finished=self.task_wait.policy.assume_finished)

    def _fetch_outputs(self, status: TaskStatus) -> TaskOutputs:
        return fetch_outputs(
            self._hook,
            status.task_id,
            self._keys,
            log=self._sensor.log,
            do_xcom_push=self._sensor.do_xcom_push and self._pushes_outputs,
            assume_finished=self.task_wait.policy.assume_finished,
        )

    def _push_outputs(self, context: Context, outputs: TaskOutputs, result: dict[str, Any]) -> None:
        do_xcom_push = self._sensor.do_xcom_push
        if self._sensor.start_from_trigger and do_xcom_push:
            # what names the outputs comes first: a trigger that starts the next run deletes them by it
            context["ti"].xcom_push(key=XCOM_RETURN_KEY, value=result)
        links = self._sensor.operator_extra_links
        push_outputs(context, outputs.values, log=self._sensor.log, do_xcom_push=do_xcom_push, extra_links=links)

    def _logged(self, observation: Observation) -> Observation:
        """Log an observation; after a refusal of the credentials they are looked up again."""
        log_lines(self._sensor.log, observation.lines)
        if isinstance(observation.error, SopsAuthenticationError):
            self._hook.forget_connection()
        return observation

    def _is_overdue(self, context: Context) -> bool:
        first_poke = first_reschedule_date(context, self._sensor.retries)
        return first_poke is not None and time.time() - first_poke.timestamp() > self._sensor.timeout
