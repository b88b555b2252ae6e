# SPDX-License-Identifier: Apache-2.0
"""Answers in Airflow, and what comes of them in SOPS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_sops.core.approval.prepared_answers import PreparedAnswers
from airflow_provider_sops.exceptions import SopsApprovalRejectedException, SopsApprovalTimeoutException
from tests.approval.airflow_task import Approval
from tests.approval.required_actions import RequiredActions
from tests.operators.conftest import Died, World, die

Make = Callable[..., Approval]


def test_an_approval_confirms_the_node_once(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval(sops_node_name="confirm")
    task_id = task.arguments["sops_task_id"]
    world.later(60, lambda: actions.answer("Approve"))
    result = task.run().outcome
    assert result == {
        "sops_task_id": task_id,
        "sops_node_id": result["sops_node_id"],
        "sops_node_name": "confirm",
        "answer": "Approve",
        "answered_in": "airflow",
        "answered_by": "alice",
        "answered_at": result["answered_at"],
        "params": {},
    }
    assert task.sent() == 1
    assert world.fake.task(task_id).state == "FINISHED"
    assert f"alice has approved node 'confirm' of SOPS task {task_id} in Airflow." in task.log
    assert actions.asked == 1
    assert task.xcoms["sops_task_id"] == task_id
    assert str(task_id) in task.xcoms["sops_task_url"]


def test_it_waits_deferred_until_the_node_is_reached(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval(seconds=0.0, sops_node_name="confirm")
    actions.on_ask = lambda: world.later(30, lambda: actions.answer("Approve"))
    task.run().outcome  # noqa: B018
    assert task.phases == ["reach", "answer"]
    assert task.sent() == 1


def test_nothing_is_revoked_when_airflow_lets_go_of_the_trigger(
    world: World, approval: Make, actions: RequiredActions, resumes: bool
) -> None:
    task = approval()
    world.later(60, lambda: actions.answer("Approve"))
    task.run().outcome  # noqa: B018
    assert task.on_kills == int(resumes)
    assert not [request for request in world.fake.requests if request.api == "operate_task"]


def test_an_answer_given_before_the_deferral_is_found(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval()
    actions.on_ask = lambda: actions.answer("Approve")
    assert task.run().outcome["answered_by"] == "alice"
    assert task.sent() == 1


@pytest.mark.parametrize(
    ("on_reject", "error"), [("fail", SopsApprovalRejectedException), ("skip", AirflowSkipException)]
)
def test_a_rejection_touches_nothing_in_sops(
    world: World, approval: Make, actions: RequiredActions, on_reject: str, error: type[Exception]
) -> None:
    task = approval(on_reject=on_reject)
    world.later(60, lambda: actions.answer("Reject", user="bob"))
    with pytest.raises(error, match="bob has rejected node 'confirm'"):
        task.run().outcome  # noqa: B018
    assert task.sent() == 0
    assert world.fake.task(task.arguments["sops_task_id"]).state == "RUNNING"


def test_a_rejection_that_revokes(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval(on_reject="revoke")
    world.later(60, lambda: actions.answer("Reject"))
    with pytest.raises(SopsApprovalRejectedException, match="was revoked"):
        task.run().outcome  # noqa: B018
    assert world.fake.task(task.arguments["sops_task_id"]).state == "REVOKED"


def test_a_rejection_is_not_retried() -> None:
    assert issubclass(SopsApprovalRejectedException, AirflowFailException)


def test_the_form_goes_along_as_the_callbacks_data(world: World, approval: Make, actions: RequiredActions) -> None:
    from airflow.sdk import Param

    task = approval(params={"reason": Param("none", type="string"), "count": Param(1, type="integer")})
    world.later(60, lambda: actions.answer("Approve", {"reason": "it is fine", "count": 3}))
    assert task.run().outcome["params"] == {"reason": "it is fine", "count": 3}
    (request,) = [request for request in world.fake.requests if request.api == "operate_node"]
    assert request.params["data"] == {"reason": "it is fine", "count": 3}
    assert set(actions.detail.params) == {"reason", "count"}
    world.fake.advance(10)
    outputs = {output["key"]: output["value"] for output in world.fake.task(task.arguments["sops_task_id"]).outputs}
    assert outputs["${answer}"] == {"reason": "it is fine", "count": 3}


def test_a_value_that_the_form_does_not_allow_confirms_nothing(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    from airflow.sdk import Param

    task = approval(params={"count": Param(1, type="integer")})
    world.later(60, lambda: actions.answer("Approve", {"count": "many"}))
    with pytest.raises(AirflowFailException, match="value for 'count' that cannot be"):
        task.run().outcome  # noqa: B018
    assert task.sent() == 0


def test_assigned_users_go_to_airflow(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval(assigned_users={"id": "1", "name": "alice"})
    world.later(60, lambda: actions.answer("Approve"))
    task.run().outcome  # noqa: B018
    assert actions.detail.assigned_users == [{"id": "1", "name": "alice"}]
    assert actions.detail.options == ["Approve", "Reject"]


def test_notifiers_are_called_once_it_was_asked(world: World, approval: Make, actions: RequiredActions) -> None:
    calls: list[tuple[str, int]] = []
    task = approval(notifiers=lambda context: calls.append((context["ti"].task_id, actions.asked)))
    world.later(60, lambda: actions.answer("Approve"))
    task.run().outcome  # noqa: B018
    assert calls == [("approve", 1)]


@pytest.mark.parametrize("on_timeout", ["approve", "reject", "fail"])
def test_nobody_answers_in_time(world: World, approval: Make, actions: RequiredActions, on_timeout: str) -> None:
    from airflow.sdk import Param

    task = approval(response_timeout=300, on_timeout=on_timeout, params={"reason": Param("by default", type="string")})
    task.run()
    state = world.fake.task(task.arguments["sops_task_id"]).state
    if on_timeout == "approve":
        assert task.outcome["answered_in"] == "timeout"
        assert task.outcome["params"] == {"reason": "by default"}
        assert (task.sent(), state) == (1, "FINISHED")
        assert actions.detail.response is not None
        assert actions.detail.response["chosen_options"] == ["Approve"]
    elif on_timeout == "reject":
        assert type(task.error) is SopsApprovalRejectedException
        assert "Nobody has answered in time, so node 'confirm'" in str(task.error)
        assert (task.sent(), state) == (0, "RUNNING")
    else:
        assert type(task.error) is SopsApprovalTimeoutException
        assert "within 300 s" in str(task.error)
        assert (task.sent(), state) == (0, "RUNNING")
        assert actions.closed


def test_an_answer_at_the_last_moment_counts(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval(response_timeout=300, on_timeout="fail")
    task.resumes = False
    world.later(299.9, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"


@pytest.mark.parametrize("answer", ["Reject", None])
def test_an_answer_between_the_last_look_and_the_end_of_the_time_counts(
    world: World, approval: Make, actions: RequiredActions, answer: str | None
) -> None:
    task = approval(response_timeout=303, on_timeout="approve")
    task.resumes = False
    end = world.now + 303  # when no other look is due

    def answer_now() -> None:
        if world.now >= end and answer and actions.detail.response is None:
            actions.answer(answer)
        elif world.now >= end and not answer:
            actions.details.clear()  # as of a task instance that is not there any more

    actions.on_look = answer_now
    task.run()
    if answer:
        assert type(task.error) is SopsApprovalRejectedException
        assert "alice has rejected" in str(task.error)
    else:
        assert task.outcome["answered_in"] == "timeout"
    assert "could not be asked" not in task.log


def test_a_time_that_is_over_holds_though_airflow_does_not_take_the_response(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval(response_timeout=303, on_timeout="approve")
    end = world.now + 303  # when no other look is due
    actions.on_look = lambda: setattr(actions, "away", world.now >= end)
    assert task.run().outcome["answered_in"] == "timeout"
    assert task.log.count("Airflow could not be asked for an answer") == 1
    assert actions.detail.response is None
    assert task.sent() == 1


@pytest.mark.parametrize("phase", ["first try", "retry"])
@pytest.mark.parametrize(
    ("arguments", "seconds", "said"),
    [
        ({}, 60, r"dag.test\(\) can ask nobody"),
        ({"response_timeout": 30, "on_timeout": "approve"}, 30, None),
        ({"response_timeout": 300, "on_timeout": "approve"}, 60, r"dag.test\(\) can ask nobody"),
    ],
    ids=["any time", "a short time", "a long time"],
)
def test_in_dag_test_nobody_can_be_asked_for_long(
    world: World,
    approval: Make,
    actions: RequiredActions,
    arguments: dict[str, Any],
    seconds: float,
    said: str | None,
    phase: str,
) -> None:
    task = approval(**arguments)
    task.in_dag_test = True
    if phase == "retry":
        actions.on_ask = lambda: (setattr(actions, "on_ask", lambda: None), die())
        assert type(task.run().error) is Died
    began = world.now
    task.run()
    # a retry looks first for half a minute whether the call of an earlier try takes effect
    assert seconds <= world.now - began < seconds + (45 if phase == "retry" else 15)
    if said is None:
        assert task.outcome["answered_in"] == "timeout"
    else:
        with pytest.raises(SopsApprovalTimeoutException, match=said):
            task.outcome  # noqa: B018
    assert actions.detail.response is None, "dag.test() has no supervisor that could be told"


def test_an_answer_that_was_prepared_for_dag_test_is_taken(
    world: World, approval: Make, sops_answers: PreparedAnswers
) -> None:
    sops_answers.reject(by="the test")
    task = approval()
    task.in_dag_test = True
    assert type(task.run().error) is SopsApprovalRejectedException
    assert "the test has rejected" in str(task.error)


def test_a_question_is_open_when_airflow_does_not_answer_for_a_time(
    world: World, approval: Make, actions: RequiredActions, resumes: bool
) -> None:
    task = approval()
    actions.on_ask = lambda: setattr(actions, "away", True)
    world.later(100, lambda: setattr(actions, "away", False))
    world.later(200, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"
    assert task.log.count("Airflow could not be asked for an answer") == 1


def test_no_time_is_over_while_airflow_does_not_say_whether_somebody_has_answered(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval(response_timeout=300, on_timeout="approve")
    task.resumes = False
    world.later(290, lambda: actions.answer("Reject"))
    world.later(250, lambda: setattr(actions, "away", True))
    world.later(500, lambda: setattr(actions, "away", False))
    assert type(task.run().error) is SopsApprovalRejectedException
    assert "alice has rejected" in str(task.error)
    assert task.sent() == 0
