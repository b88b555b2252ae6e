# SPDX-License-Identifier: Apache-2.0
"""What a worker does of an approval: it asks, and it carries the answer out. All waiting is the trigger's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_sops import trigger_events
from airflow_provider_sops.approval_spec import ApprovalState, Found, Phase, read_event, state_of_fields
from airflow_provider_sops.compat import required_actions
from airflow_provider_sops.core.approval.answer import OPTIONS, answer_of_response
from airflow_provider_sops.core.approval.pause_node import PauseNode, Place, find_pause_node, place_of
from airflow_provider_sops.core.approval.question import read_question
from airflow_provider_sops.core.models import TaskDetail, TaskStatus
from airflow_provider_sops.core.operate.lost_answers import may_have_happened
from airflow_provider_sops.core.status_reading import read_status
from airflow_provider_sops.core.wait.outage import ends_at_once
from airflow_provider_sops.core.wait.task_wait import TaskWait
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.exceptions import (
    SopsConfigException,
    SopsException,
    airflow_errors,
)
from airflow_provider_sops.hooks.sops import SopsHook
from airflow_provider_sops.links.sops import push_task_url
from airflow_provider_sops.operators.approval_outcome import ApprovalOutcome
from airflow_provider_sops.operators.approval_record import ApprovalRecord
from airflow_provider_sops.task_log import log_lines
from airflow_provider_sops.xcom_keys import TASK_ID_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class ApprovalWork:
    """One leg of an approval in a worker."""

    def __init__(self, operator: Any, context: Context) -> None:
        with airflow_errors():
            operator.read_fields()
        self._operator = operator
        self._context = context
        self._log = operator.log
        self._task_id: int = operator.sops_task_id
        self._hook = SopsHook(operator.sops_conn_id, bk_biz_id=operator.bk_biz_id, scope=operator.scope)
        self._record = ApprovalRecord(context, operator)
        self._outcome = ApprovalOutcome(operator, self._hook)
        self._detail: TaskDetail | None = None
        self._node: PauseNode | None = None

    # ---- the legs ----

    def begin(self) -> Any:
        """Begin a try."""
        operator, ti = self._operator, self._context["ti"]
        if operator.do_xcom_push:
            ti.xcom_push(key=TASK_ID_KEY, value=self._task_id)
        state = ApprovalState(
            ti_id=str(getattr(ti, "id", "")),
            airflow_task_id=str(ti.task_id),
            node_name=str(operator.sops_node_name or operator.sops_node_id or ""),
            response_timeout=operator.response_timeout,
            on_timeout=operator.on_timeout,
            defaults=required_actions.defaults_of(operator.params),
        )
        if self._record.may_have_asked:
            self._log.info("An earlier try of this run may have asked already: looking for its answer.")
            return self._go_on(state.but(phase=Phase.LOOK, deadline=self._record.deadline))
        return self._go_on(state)

    def resume(self, event: Any, fields: Any) -> Any:
        """Go on after a deferral."""
        if required_actions.is_response(event):
            return self._resume_by_response(event, state_of_fields(fields))
        found, state, ended = read_event(event)
        if found in (Found.ANSWERED, Found.SOPS):
            return self._go_on(state)
        if found is Found.TO_ASK:
            return self._go_on(state.but(phase=Phase.REACH))
        if found is Found.CONFIRMED:
            return self._outcome.confirmed_in_sops(state)
        if found is Found.TIMEOUT:
            self._outcome.fail_by_time(state)
        observation = trigger_events.read_event(self._task_id, ended).observation
        if state.answer is not None and observation.error is None:
            return self._go_on(state)  # what was answered may be the reason of the end
        return self._outcome.end(state, observation)

    def _resume_by_response(self, event: Mapping[str, Any], state: ApprovalState) -> Any:
        """Go on with the response with which Airflow has resumed this task itself."""
        user = event.get("responded_by_user")
        user = user if isinstance(user, Mapping) or user is None else {"id": user.id, "name": user.name}
        answer = answer_of_response(event["chosen_options"], event.get("params_input"), user, event["responded_at"])
        if answer is None or not (state.asked or state.phase is Phase.LOOK):
            # a question from before a clear was still there to be answered: it was about another pause
            self._log.warning("Airflow gave an answer to a question of an earlier run of this task; it is asked anew.")
            return self._go_on(state.but(phase=Phase.REACH, asked=False))
        return self._go_on(state.but(answer=answer, asked=True))

    def _go_on(self, state: ApprovalState) -> Any:
        """Do the next thing: carry the answer out, or wait for it, or ask."""
        try:
            with airflow_errors():
                state = self._find_node(state)
                if state.answer is not None:
                    return self._outcome.carry_out(state, may_have_been_sent=self._record.may_have_asked)
                if state.asked:
                    self._defer(state.but(phase=Phase.ANSWER))
                if state.phase is Phase.LOOK:
                    self._defer(state)
                return self._ask_or_wait(state)
        except SopsConfigException:
            raise
        except SopsException as error:
            self._wait_for_sops(state, error)

    # ---- SOPS ----

    def _find_node(self, state: ApprovalState) -> ApprovalState:
        """Find the pause node that is meant, once."""
        operator = self._operator
        self._detail = self._hook.get_task_detail(self._task_id)
        push_task_url(self._context, self._detail.task_url, do_xcom_push=operator.do_xcom_push)
        node = find_pause_node(self._detail, node_id=operator.sops_node_id, name=operator.sops_node_name)
        self._node = node
        # an outage in which nobody's answer waits is over
        since = state.outage_since if state.answer else None
        return state.but(node_id=node.id, node_name=node.name, outage_since=since)

    def _ask_or_wait(self, state: ApprovalState) -> Any:
        """Ask, if the SOPS task waits at the node."""
        wait = TaskWait(self._task_id, self._hook.project, self._operator.policy)
        status = self._hook.run(read_status(self._hook.project, self._task_id, wait.permissions, [], fresh=True))
        if not wait.permissions.status:
            raise AirflowFailException(
                "An approval needs the API get_task_status, which alone tells of nodes, and the app may not call it: "
                "apply for the API permission 'get_task_status' of bk-sops."
            )
        observation = self._hook.run(wait.evaluate(status, time.time(), has_nodes=True))
        log_lines(self._log, observation.lines)
        if observation.next is not Next.WAIT:
            return self._outcome.end(state, observation)
        place = place_of(status, state.node_id)
        if place is Place.PASSED:
            return self._outcome.confirmed_in_sops(state)
        if place is Place.AHEAD:
            self._log.info("SOPS task %s has not come to node %r yet.", self._task_id, state.node_name)
            self._defer(state.but(phase=Phase.REACH))
        return self._ask(state, status)

    def _ask(self, state: ApprovalState, status: TaskStatus) -> NoReturn:
        """Ask in Airflow, and wait for the answer."""
        operator = self._operator
        assert self._detail is not None
        assert self._node is not None
        flow = read_question(self._hook.project, self._detail, status, self._node, on_reject=operator.on_reject)
        question = self._hook.run(flow)
        deadline = None if state.response_timeout is None else time.time() + state.response_timeout
        # before it is asked: what is recorded and was not asked is seen by looking
        self._record.note(self._task_id, state.node_id, deadline)
        required_actions.ask(
            self._context["ti"].id,
            subject=question.subject,
            body=question.body,
            options=OPTIONS,
            params=required_actions.form_of(operator.params),
            assigned_users=list(operator.assigned_users),
        )
        self._log.info("%s: asked in Airflow (Required Actions).", question.subject)
        if self._record.was_cleared:
            self._log.info("Airflow still shows the text of the first question, from before this task was cleared.")
        for notifier in operator.notifiers:
            notifier(self._context)
        self._defer(state.but(phase=Phase.ANSWER, asked=True, deadline=deadline))

    # ---- waiting ----

    def _defer(self, state: ApprovalState, *, max_outage: float | None = None) -> NoReturn:
        from airflow_provider_sops.deferral import defer_approval
        from airflow_provider_sops.wait_spec import WaitSpec, flat_fields

        operator = self._operator
        policy = operator.policy if max_outage is None else operator.policy._replace(max_outage=max_outage)
        spec = WaitSpec(
            sops_task_id=self._task_id,
            sops_conn_id=operator.sops_conn_id,
            poll_interval=operator.poll_interval,
            task_url=self._detail.task_url if self._detail else "",
            **flat_fields(self._hook.project, policy),
        )
        defer_approval(operator.defer, spec, state)

    def _wait_for_sops(self, state: ApprovalState, error: SopsException) -> NoReturn:
        """Wait, deferred, until SOPS answers again, unless it is away for too long or waiting does not help.

        :raises SopsException: names who has answered what, if anybody has.
        """
        now, answer = time.time(), state.answer
        said = f"{answer.words(state.node_name, self._task_id)}, but it was not carried out" if answer else ""
        if ends_at_once(error, had_answer=state.asked or answer is not None):
            if said:
                raise _with_words(error, f"{said}: {error}") from error
            raise error
        since = now if state.outage_since is None else state.outage_since
        max_outage = self._operator.policy.max_outage
        if now - since >= max_outage:
            what = said or f"SOPS task {self._task_id} could not be read"
            text = f"{what}: SOPS did not take it for {now - since:.0f} s (max_outage is {max_outage:.0f} s)."
            raise _with_words(error, f"{text} A retry goes on with the same answer. Last error: {error}") from error
        if state.outage_since is None:
            self._log.warning(
                "%s. Waiting for SOPS for up to %.0f s (max_outage). %s",
                said or f"SOPS task {self._task_id} cannot be read",
                max_outage,
                error,
            )
        sent = state.may_have_been_sent or (answer is not None and may_have_happened(error))
        phase = Phase.LOOK if state.phase is Phase.LOOK and answer is None else Phase.SOPS
        self._defer(
            state.but(phase=phase, outage_since=since, may_have_been_sent=sent),
            max_outage=max_outage - (now - since),
        )


def _with_words(error: SopsException, text: str) -> SopsException:
    """Make an error of the same kind with more words."""
    made = type(error)(text)
    made.__dict__.update(error.__dict__)
    return made
