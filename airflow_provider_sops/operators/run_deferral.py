# SPDX-License-Identifier: Apache-2.0
"""Deferring a try: until when it waits, and what the triggerer and the resumed try are given."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_sops.compat import KILLS_REACH_TRIGGERS
from airflow_provider_sops.deferral import defer_wait
from airflow_provider_sops.trigger_end import is_end_from_trigger_asked, trigger_end_fields
from airflow_provider_sops.wait_spec import WaitSpec, flat_fields

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.operators.run_context import RunContext
    from airflow_provider_sops.operators.run_kill import Running

#: Longest time (seconds) by which the trigger's deadline comes before the end of ``execution_timeout``.
_DEADLINE_MARGIN = 10.0


def trigger_deadline(run_context: RunContext) -> float | None:
    """Return when the trigger ends the wait: before Airflow does, which counts from the start of the try.

    :return: seconds since the epoch; ``None``: never.
    """
    seconds = run_context.spec.execution_timeout
    if seconds is None:
        return None
    start = getattr(run_context.ti, "start_date", None)
    began = start.timestamp() if start else time.time()
    return float(began + seconds - min(_DEADLINE_MARGIN, seconds / 10))


#: Gives the fields of a wait's order with which its trigger ends the task; none where a worker does.
TriggerEnd = Callable[[], dict[str, Any]]


def run_trigger_end(operator: Any, context: Context) -> TriggerEnd:
    """Read whether the trigger is to end the task, before anything is started.

    :raises SopsConfigException: the site's configuration is wrong.
    """
    if not (operator.deferrable and operator.wait_for_completion and is_end_from_trigger_asked(operator)):
        return dict
    ti, push_outputs = context["ti"], operator.push_outputs
    return lambda: trigger_end_fields(operator, ti, push_outputs=push_outputs, returns_outputs=True)


def defer_run(
    run_context: RunContext,
    running: Running,
    *,
    deadline: float | None,
    start_by: float | None,
    hold: float,
    defer: Callable[..., NoReturn],
    trigger_end: TriggerEnd,
) -> NoReturn:
    """Hand the wait over to the triggerer.

    :param deadline: seconds since the epoch at which the wait ends.
    :param start_by: seconds since the epoch by which the SOPS task must have started; ``None``: any time.
    :param hold: seconds for which the trigger holds its event back.
    :param defer: the operator's ``defer``.
    :param trigger_end: says whether the trigger ends the task.
    """
    spec = run_context.spec
    run_context.guard.stop_if_killed()
    end_fields = trigger_end()
    if end_fields and not run_context.leave_end_to_trigger(running):
        end_fields = {}
    wait_spec = WaitSpec(
        sops_task_id=running.task_id,
        sops_conn_id=spec.sops_conn_id,
        poll_interval=spec.poll_interval,
        deadline=deadline,
        revoke_on_kill=spec.revoke_on_kill,
        start_deadline=start_by,
        keep_when_cleared=spec.reattach,
        task_url=running.task_url,
        **flat_fields(running.run.project, spec.policy),
        **end_fields,
    )
    if spec.revoke_on_kill and not KILLS_REACH_TRIGGERS:
        run_context.log.info(
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
    defer_wait(defer, wait_spec, hold=hold, kwargs=kwargs)
