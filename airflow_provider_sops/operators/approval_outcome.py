# SPDX-License-Identifier: Apache-2.0
"""What comes of an approval: the answer carried out, or an end that somebody has made in SOPS."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_sops.core.approval.answer import APPROVE
from airflow_provider_sops.core.approval.confirm import Confirmation, confirm, read_operator
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.operate.errors import RunAborted
from airflow_provider_sops.core.operate.operate_task import operate_task
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.task_wait import TaskWait
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.exceptions import (
    SopsApprovalRejectedException,
    SopsApprovalTimeoutException,
    SopsOutageException,
    SopsTaskFailedException,
)
from airflow_provider_sops.task_log import log_lines
from airflow_provider_sops.wait_failures import bad_end, read_error, with_page

if TYPE_CHECKING:
    from airflow_provider_sops.approval_spec import ApprovalState
    from airflow_provider_sops.hooks.sops import SopsHook


class ApprovalOutcome:
    """What comes of an approval.

    :param operator: the operator, whose arguments say it.
    """

    def __init__(self, operator: Any, hook: SopsHook) -> None:
        self._operator = operator
        self._hook = hook
        self._log = operator.log
        self._task_id: int = operator.sops_task_id

    def carry_out(self, state: ApprovalState, *, may_have_been_sent: bool) -> Any:
        """Do what was answered.

        :param may_have_been_sent: an earlier try may have begun with it.
        :raises SopsException: SOPS does not take it.
        """
        answer = state.answer
        assert answer is not None
        words = answer.words(state.node_name, self._task_id)
        self._log.info("%s.", words)
        if not answer.approves:
            return self._reject(state, words)
        self._check_params(answer.params, words)
        # an earlier leg or try may have been killed after it had sent it
        flow = confirm(
            self._hook.project,
            self._task_id,
            state.node_id,
            answer.params,
            may_have_been_sent=state.may_have_been_sent or may_have_been_sent,
        )
        try:
            confirmation: Confirmation = self._hook.run(flow)
        except RunAborted as problem:
            raise SopsTaskFailedException(f"{words}. {problem}") from problem
        log_lines(self._log, confirmation.lines)
        if not confirmation.done or (not confirmation.lines and self._read_operator(state)):
            return self._was_quicker(state, confirmation.status, words)
        return self._result(state, APPROVE, "airflow" if answer.by else "timeout", answer.by)

    def _was_quicker(self, state: ApprovalState, status: TaskStatus, words: str) -> Any:
        """Return what follows when SOPS was quicker than an approval: no error, unless the task was stopped."""
        wait = TaskWait(self._task_id, self._hook.project, self._operator.policy)
        observation = self._hook.run(wait.evaluate(status, time.time(), has_nodes=True))
        if observation.next is Next.FAILURE and status.has_ended:
            self._log.warning("%s, but SOPS was quicker.", words)
            return self.end(state, observation)
        self._log.info("SOPS was quicker: node %r is confirmed already.", state.node_name)
        return self.confirmed_in_sops(state)

    def _reject(self, state: ApprovalState, words: str) -> NoReturn:
        """Do what a rejection is to do."""
        if self._operator.on_reject == "skip":
            raise AirflowSkipException(f"{words}.")
        if self._operator.on_reject == "revoke":
            log_lines(self._log, self._hook.run(operate_task(self._hook.project, self._task_id, "revoke")))
            raise SopsApprovalRejectedException(f"{words}, and the SOPS task was revoked.")
        raise SopsApprovalRejectedException(
            f"{words}. The SOPS task was not touched (on_reject is 'fail'): it still waits, unless somebody has "
            "confirmed it in SOPS. Clear this task to be asked anew, or revoke the SOPS task."
        )

    def _check_params(self, params: Mapping[str, Any], words: str) -> None:
        """Check the form's values as Airflow's own operators do.

        :raises AirflowFailException: names what is wrong; the same answer would be wrong in every retry.
        """
        own = self._operator.params
        for name, value in params.items():
            try:
                own[name] = value
            except Exception as error:  # of jsonschema, or Airflow's own
                raise AirflowFailException(
                    f"{words}, but with a value for {name!r} that cannot be. Clear this task to be asked anew."
                ) from error

    def end(self, state: ApprovalState, observation: Observation) -> Any:
        """Return or raise what follows from the end of the SOPS task, or from one that cannot be read."""
        if observation.error is not None:
            error = read_error(observation)
            if state.answer is not None:
                words = state.answer.words(state.node_name, self._task_id)
                said = f"{words}, but it was not carried out. A retry goes on with this answer."
                raise SopsOutageException(f"{said} {error}") from error
            raise error from error.__cause__
        if observation.next is Next.SUCCESS:
            self._log.info("SOPS task %s %s.", self._task_id, observation.reason)
            return self.confirmed_in_sops(state)
        assert observation.status is not None
        raise bad_end(self._hook, self._hook.project, with_page(self._hook, observation.status), observation.reason)

    def confirmed_in_sops(self, state: ApprovalState) -> dict[str, Any]:
        """Return that the node was confirmed in SOPS, and by whom, where SOPS says so."""
        operator = self._read_operator(state)
        by = f" by {operator}" if operator else ""
        self._log.info("Node %r of SOPS task %s was confirmed in SOPS%s.", state.node_name, self._task_id, by)
        return self._result(state, APPROVE, "sops", operator)

    def _read_operator(self, state: ApprovalState) -> str:
        """Return who has confirmed the node on SOPS' page, where SOPS says so; it says nothing of what we do."""
        if not state.node_id:
            return ""
        return self._hook.run(read_operator(self._hook.project, self._task_id, state.node_id))

    def fail_by_time(self, state: ApprovalState) -> NoReturn:
        """Fail, as nobody has answered in time."""
        if state.deadline is None:
            raise SopsApprovalTimeoutException(
                "dag.test() can ask nobody, and nobody has confirmed the node in SOPS: prepare the answer with the "
                "fixture sops_answers, or confirm the node of the fake SOPS."
            )
        raise SopsApprovalTimeoutException(
            f"Nobody has answered within {state.response_timeout or 0:.0f} s whether SOPS task {self._task_id} may go "
            f"on at node {state.node_name!r}. It still waits there."
        )

    def _result(self, state: ApprovalState, option: str, where: str, by: str) -> dict[str, Any]:
        answer = state.answer if where != "sops" else None
        return {
            "sops_task_id": self._task_id,
            "sops_node_id": state.node_id,
            "sops_node_name": state.node_name,
            "answer": option,
            "answered_in": where,
            "answered_by": by,
            "answered_at": answer.at if answer else "",
            "params": dict(answer.params) if answer else {},
        }
