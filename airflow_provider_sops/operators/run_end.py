# SPDX-License-Identifier: Apache-2.0
"""The end of a try: outputs, or the error that it fails with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_sops.asset_events import note_in_outlets
from airflow_provider_sops.compat import KILLS_REACH_TRIGGERS
from airflow_provider_sops.core.operate.revoke import revoke
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.task_outputs import read_detail
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.exceptions import SopsException, SopsTimedOutException
from airflow_provider_sops.operators.run_identity import retry_is_left
from airflow_provider_sops.operators.run_kill import leave_successor
from airflow_provider_sops.wait_failures import bad_end, read_error, with_page
from airflow_provider_sops.xcom_keys import WAIT_ENDED_KEY
from airflow_provider_sops.xcom_outputs import fetch_outputs, push_outputs

if TYPE_CHECKING:
    from airflow_provider_sops.core.models import TaskStatus
    from airflow_provider_sops.core.wait.observation import Observation
    from airflow_provider_sops.operators.run_context import RunContext
    from airflow_provider_sops.operators.run_kill import Running

#: What helps when an output cannot be pushed: this operator takes all or none.
_OUTPUTS_ADVICE = (
    "Let the template put it out as a text that XComs hold; or say wait_for_completion=False, and take the outputs you "
    "need with SopsTaskSensor(push_outputs=True, keys=[...])."
)


def end(run_context: RunContext, observation: Observation) -> dict[str, Any]:
    """Turn the end of a wait into outputs or an error.

    :return: the outputs by bare name; empty after an allowed end other than FINISHED.
    :raises SopsTaskFailedException: (or one of its kinds) a bad end.
    :raises SopsException: (one of its kinds) the status or the outputs cannot be read.
    """
    run_context.guard.stop_if_killed()
    status = observation.status
    if status is None or observation.error is not None:
        error = read_error(observation)
        raise error from error.__cause__
    running = run_context.guard.running
    if status.state.is_final:
        run_context.guard.running = None
    if observation.next is Next.FAILURE:
        status = with_page(run_context.hook, status)
        run_context.push(status.task_id, status.task_url)
        raise bad_end(run_context.hook, run_context.hook.project, status, observation.reason)
    run_context.log.info("SOPS task %s %r %s.", status.task_id, status.name, observation.reason)
    outputs = _take_outputs(run_context, status)
    if running is not None:
        run_context.record(running, done=True)
    return outputs


def _take_outputs(run_context: RunContext, status: TaskStatus) -> dict[str, Any]:
    """Push the outputs, which ends other than FINISHED do not have, and put the end into the asset events."""
    spec, task_id = run_context.spec, status.task_id
    if status.state is not TaskState.FINISHED:
        if spec.outlets:
            detail = run_context.hook.run(read_detail(task_id, run_context.hook.project))
            note_in_outlets(run_context.context, spec.outlets, detail, status.state, {}, run_context.log)
        return {}
    outputs = fetch_outputs(
        run_context.hook,
        task_id,
        log=run_context.log,
        do_xcom_push=spec.do_xcom_push,
        assume_finished=spec.policy.assume_finished,
        advice=_OUTPUTS_ADVICE,
    )
    run_context.push(task_id, outputs.detail.task_url)
    if spec.push_outputs:
        push_outputs(
            run_context.context,
            outputs.values,
            log=run_context.log,
            do_xcom_push=spec.do_xcom_push,
            extra_links=spec.extra_links,
        )
    note_in_outlets(run_context.context, spec.outlets, outputs.detail, status.state, outputs.values, run_context.log)
    return dict(outputs.values)


def time_out(run_context: RunContext, running: Running, state: str) -> NoReturn:
    """Revoke the SOPS task, which has not ended in time, and fail.

    :param state: what is known of the SOPS task, as a part of a sentence.
    :raises SopsTimedOutException: always.
    """
    spec = run_context.spec
    assert spec.execution_timeout is not None
    task_id, fate = running.task_id, "it was left running, as revoke_on_kill is off"
    if spec.revoke_on_kill:
        try:
            revocation = run_context.carry_out(revoke(running.run.project, task_id, started=running.started))
        except SopsException as failed:
            fate = f"it could not be revoked and may still run ({failed})"
        else:
            fate = revocation.text + ("; it may still start" if revocation.may_start else "")
            if revocation.done and retry_is_left(run_context.ti):
                run_context.report(
                    leave_successor(
                        running, lambda flow: run_context.hook.run(flow, run_context.report), run_context.records
                    )
                )
    run_context.guard.running = None
    error = SopsTimedOutException(
        f"SOPS task {task_id} has not ended within {spec.execution_timeout:.0f} s (execution_timeout): {state}; {fate}."
    )
    error.sops_task_id = task_id
    raise error


def note_bad_end(run_context: RunContext, task_id: int) -> None:
    """Let a trigger that has stood still meanwhile know that it was no user who has ended the wait.

    :param task_id: the SOPS task that was waited for.
    """
    if not KILLS_REACH_TRIGGERS or not run_context.spec.do_xcom_push:
        return
    try:
        run_context.ti.xcom_push(key=WAIT_ENDED_KEY, value=task_id)
    except Exception as error:  # whatever the XCom backend raises; the task's own error is what counts
        run_context.log.warning("XCom %r could not be pushed: %s", WAIT_ENDED_KEY, error)
