# SPDX-License-Identifier: Apache-2.0
"""The arguments of the approval, when a DAG is read; and its trigger's row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_sops.approval_spec import ApprovalState, Found, Phase, make_event, read_event, state_of_fields
from airflow_provider_sops.core.approval.answer import Answer, answer_of_response
from airflow_provider_sops.exceptions import SopsTriggerEventException
from airflow_provider_sops.operators.sops import SopsApprovalOperator
from airflow_provider_sops.triggers.sops import SopsApprovalTrigger
from airflow_provider_sops.wait_spec import WaitSpec


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"on_reject": "cry"}, "on_reject"),
        ({"on_timeout": "cry"}, "on_timeout"),
        ({"response_timeout": -1}, "response_timeout"),
        ({"sops_node_name": "a", "sops_node_id": "b"}, "sops_node_id, sops_node_name"),
        ({"assigned_users": "alice"}, "assigned_users"),
        ({"assigned_users": [{"id": "1"}]}, "assigned_users"),
        ({"params": {"_options": 1}}, "params"),
        ({"allowed_states": ["GONE"]}, "allowed_states"),
        ({"on_failed": "cry"}, "on_failed"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SopsApprovalOperator(task_id="approve", sops_task_id=1, **arguments)


def test_mapped_over_sops_tasks() -> None:
    from airflow.sdk import DAG

    with DAG("mapped", schedule=None):
        mapped = SopsApprovalOperator.partial(task_id="approve", params={"reason": "x"}).expand(sops_task_id=[1, 2])
    one = mapped.unmap({"sops_task_id": 2})
    assert one.sops_task_id == 2
    assert list(one.params) == ["reason"]


def test_the_trigger_is_made_again_from_its_row() -> None:
    state = ApprovalState(
        "0191f5a2-0000-7000-8000-000000000000",
        phase=Phase.SOPS,
        node_id="n1",
        answer=Answer("Approve", {"reason": "x"}, "alice", "1", "2026-01-01T00:00:00+00:00"),
        defaults={"reason": ""},
    )
    spec = WaitSpec(1, 2, "cmdb_biz", "sops_default", 10.0)
    path, row = SopsApprovalTrigger(spec.kwargs(), state.fields()).serialize()
    again = SopsApprovalTrigger(**json.loads(json.dumps(row)))
    assert path == "airflow_provider_sops.triggers.sops.SopsApprovalTrigger"
    assert (again.state, again.spec) == (state, spec)


def test_an_event_of_another_version_is_refused() -> None:
    event = make_event(Found.SOPS, ApprovalState("x"))
    assert read_event(event)[0] is Found.SOPS
    for bad in (None, {}, {**event, "version": 2}, {**event, "found": "x"}, {**event, "state": {"phase": "x"}}):
        with pytest.raises(SopsTriggerEventException, match="a retry finds the question"):
            read_event(bad)
    with pytest.raises(SopsTriggerEventException):
        state_of_fields({"phase": "reach", "ti_id": "x", "answer": {"option": "perhaps"}})


def test_what_closes_a_question_is_no_answer() -> None:
    assert answer_of_response(["Approve"], {"_closed": "why"}, None, None) is None
    assert answer_of_response([], {}, None, None) is None
    answer = answer_of_response(["Approve"], {}, {"id": "1", "name": ""}, None)
    assert answer is not None
    assert answer.by == "1"
