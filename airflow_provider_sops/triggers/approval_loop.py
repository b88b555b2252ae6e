# SPDX-License-Identifier: Apache-2.0
"""The loop of one deferred approval: what SOPS says of the node, and Airflow of the answer, whichever comes first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_sops.approval_spec import Found, Phase, make_event
from airflow_provider_sops.compat import required_actions
from airflow_provider_sops.core.approval.answer import (
    APPROVE,
    CLOSED_KEY,
    REJECT,
    Answer,
    answer_of_response,
)
from airflow_provider_sops.core.approval.pause_node import Place, place_of
from airflow_provider_sops.core.approval.prepared_answers import PREPARED
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.trigger_events import Outcome
from airflow_provider_sops.triggers.shared_pollers import subscribe_to_poller, unsubscribe_from_poller
from airflow_provider_sops.triggers.wait_loop import Waiter, make_loop

if TYPE_CHECKING:
    from airflow_provider_sops.approval_spec import ApprovalState

#: Seconds between two looks for an answer: where Airflow does not resume the task by itself, and where it does, but an
#: answer may have come before the deferral.
LOOK_INTERVAL = 5.0
SLOW_LOOK_INTERVAL = 30.0
#: Seconds after which a question that nobody can be asked fails: ``dag.test()`` shows none.
DAG_TEST_PATIENCE = 60.0


class Approver(Waiter, Protocol):
    """Who waits: the trigger."""

    @property
    def state(self) -> ApprovalState:
        """What the approval knows."""


def begin_approval(trigger: Approver, *, in_triggerer: bool) -> ApprovalLoop:
    """Begin to wait as ordered; :meth:`ApprovalLoop.close` ends it."""
    spec = trigger.spec
    subscription = Subscription(spec.sops_task_id, spec.poll_interval, with_nodes=True)
    poller = subscribe_to_poller(spec.sops_conn_id, spec.project, subscription)
    try:
        return ApprovalLoop(trigger, subscription, poller, in_triggerer=in_triggerer)
    except BaseException:
        unsubscribe_from_poller(poller, subscription)
        raise


class ApprovalLoop:
    """One approval in a triggerer. All times are seconds since the epoch.

    :param in_triggerer: a real one, whose supervisor knows the question; else ``dag.test()`` runs it.
    """

    def __init__(self, trigger: Approver, subscription: Subscription, poller: Any, *, in_triggerer: bool) -> None:
        self._log = trigger.log
        self._state: ApprovalState = trigger.state
        self._wait = make_loop(trigger, poller, subscription)
        self._subscription = subscription
        self._in_triggerer = in_triggerer
        self._look_due = 0.0
        self._began = time.time()
        self._look_failed = False

    def close(self) -> None:
        """End the wait."""
        self._wait.close()

    async def run(self) -> dict[str, Any]:
        """Wait; gives the event to fire."""
        while (event := await self._step(time.time())) is None:
            await self._subscription.sleep(self._seconds_to_sleep())
        return event

    async def _step(self, now: float) -> dict[str, Any] | None:
        if self._looks and now >= self._look_due:
            self._look_due = now + (SLOW_LOOK_INTERVAL if required_actions.RESPONSE_RESUMES else LOOK_INTERVAL)
            if (event := await self._look(now)) is not None:
                return event
        if (ended := await self._wait.step(now)) is not None:
            return await self._ended(ended)
        if (event := await self._see_node()) is not None:
            return event
        deadline = self._deadline()
        if self._state.phase is Phase.ANSWER and deadline is not None and now >= deadline and not self._look_failed:
            return await self._time_out(now)
        return None

    @property
    def _looks(self) -> bool:
        return self._state.phase in (Phase.LOOK, Phase.ANSWER)

    def _deadline(self) -> float | None:
        deadline = self._state.deadline
        if self._in_triggerer:
            return deadline
        nobody = self._began + DAG_TEST_PATIENCE
        return nobody if deadline is None else min(deadline, nobody)

    def _seconds_to_sleep(self) -> float:
        moments = [self._look_due] if self._looks else []
        deadline = self._deadline()
        if self._state.phase is Phase.ANSWER and deadline is not None and not self._look_failed:
            moments.append(deadline)
        until = min([moment - time.time() for moment in moments], default=3600.0)
        return max(0.05, min(until, self._wait.seconds_to_sleep()))

    # ---- SOPS ----

    async def _see_node(self) -> dict[str, Any] | None:
        """Return what follows from the newest status, if anything."""
        status, state = self._subscription.status, self._state
        if status is None or self._subscription.error is not None:
            return None
        if state.phase is Phase.SOPS or (state.asked and not state.node_id):
            return make_event(Found.SOPS, state)  # a worker goes on, and finds the node first where it is not known
        if state.phase is Phase.LOOK:
            return None
        place = place_of(status, state.node_id)
        if place is Place.PASSED:
            return await self._closed(Found.CONFIRMED, APPROVE, "confirmed in SOPS")
        if place is Place.WAITS and state.phase is Phase.REACH:
            return make_event(Found.TO_ASK, state)
        return None

    async def _ended(self, ended: dict[str, Any]) -> dict[str, Any]:
        """Return what follows from the SOPS task's end, or from one that cannot be read."""
        if self._state.phase in (Phase.SOPS, Phase.LOOK) or ended["error"] is not None:
            return make_event(Found.ENDED, self._state, ended)
        option = APPROVE if ended["outcome"] == Outcome.SUCCESS else REJECT
        return await self._closed(Found.ENDED, option, f"SOPS task {ended['reason']}", ended)

    # ---- Airflow ----

    async def _look(self, now: float) -> dict[str, Any] | None:
        """Look for an answer; what is found instead is noted."""
        state = self._state
        if not self._in_triggerer:
            return self._take_prepared()
        try:
            response = await required_actions.read_response(state.ti_id)
        except Exception as error:  # whatever the way to Airflow raises; the next look may succeed
            self._note_failed_look(error)
            self._look_due = min(self._look_due, now + LOOK_INTERVAL)
            return None
        self._look_failed = False
        if response is not None and response.received:
            answer = answer_of_response(response.chosen_options, response.params_input, response.user, response.at)
            if answer is not None:
                return make_event(Found.ANSWERED, state.but(answer=answer, asked=True))
        if state.phase is Phase.LOOK:
            if response is None or response.received:  # nothing was asked, or it was closed without an answer
                return make_event(Found.TO_ASK, state.but(phase=Phase.REACH))
            deadline = state.deadline
            if deadline is None and state.response_timeout is not None:
                deadline = now + state.response_timeout
            self._state = state.but(phase=Phase.ANSWER if state.node_id else Phase.LOOK, asked=True, deadline=deadline)
        return None

    def _note_failed_look(self, error: Exception) -> None:
        if not self._look_failed:
            self._log.warning("Airflow could not be asked for an answer, and is asked again: %s", type(error).__name__)
        self._look_failed = True

    def _take_prepared(self) -> dict[str, Any] | None:
        state = self._state
        if state.phase is Phase.LOOK:
            return make_event(Found.TO_ASK, state.but(phase=Phase.REACH))
        answer = PREPARED.take(state.airflow_task_id)
        return None if answer is None else make_event(Found.ANSWERED, state.but(answer=answer))

    async def _time_out(self, now: float) -> dict[str, Any] | None:
        """Return what follows from the end of the time for an answer."""
        state = self._state
        if (event := await self._look(now)) is not None or self._look_failed:  # at the last moment, or not known yet
            return event
        in_time = state.deadline is not None and now >= state.deadline
        if not in_time:
            self._state = state.but(deadline=None)  # it is not that time which is over
        if state.on_timeout == "fail" or not in_time:
            return await self._closed(Found.TIMEOUT, REJECT, "nobody has answered in time")
        option = APPROVE if state.on_timeout == "approve" else REJECT
        answered = state.but(answer=Answer(option, dict(state.defaults)))
        if not self._in_triggerer:
            return make_event(Found.ANSWERED, answered)
        try:
            if not await required_actions.respond(state.ti_id, option, state.defaults):
                return await self._look(now) or make_event(Found.ANSWERED, answered)
        except Exception as error:  # whatever the way to Airflow raises; the timeout holds all the same
            self._note_failed_look(error)
        return make_event(Found.ANSWERED, answered)

    async def _closed(self, found: Found, option: str, why: str, ended: dict[str, Any] | None = None) -> dict[str, Any]:
        """Close the question that nobody has to answer any more, and return the event."""
        if self._state.asked and self._in_triggerer:
            try:
                await required_actions.respond(self._state.ti_id, option, {CLOSED_KEY: why})
            except Exception as error:  # whatever the way to Airflow raises; the task ends all the same
                self._log.warning("The question in Airflow could not be closed: %s", type(error).__name__)
        return make_event(found, self._state, ended)
