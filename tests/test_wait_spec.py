# SPDX-License-Identifier: Apache-2.0
"""The order for a deferred wait: rows of every version make the same one, and it gives what a row holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.policy import WaitPolicy
from airflow_provider_sops.triggers.sops import SopsTaskTrigger
from airflow_provider_sops.wait_spec import WaitSpec, flat_fields

#: a row as version 1.0.0 has written it; such rows wait in databases
ROW: dict[str, Any] = {
    "sops_task_id": 7,
    "bk_biz_id": 2,
    "scope": "project",
    "sops_conn_id": "sops_default",
    "poll_interval": 10.0,
    "deadline": 1_800_000_000.0,
    "allowed_states": ["FINISHED", "REVOKED"],
    "on_failed": "wait",
    "failed_grace": 30.0,
    "on_suspended": "fail",
    "max_outage": 60.0,
    "assume_finished": True,
    "revoke_on_kill": True,
    "start_deadline": 1_700_000_000.0,
    "keep_when_cleared": True,
    "task_url": "https://sops.example.com/taskflow/execute/7/?instance_id=7",
    "deferred_at": 1_699_999_000.0,
}
#: what later versions have added
LATER: dict[str, Any] = {
    "end_from_trigger": True,
    "push_outputs": True,
    "keys": ["IP"],
    "do_xcom_push": False,
    "returns_outputs": True,
    "mapped_over": True,
    "timeout": 60.0,
    "execution_timeout": 50.0,
}
REQUIRED = {name: ROW[name] for name in ("sops_task_id", "bk_biz_id", "scope", "sops_conn_id", "poll_interval")}
POLICY = WaitPolicy(
    allowed_states=frozenset({TaskState.FINISHED, TaskState.REVOKED}),
    on_failed="wait",
    failed_grace=30.0,
    on_suspended="fail",
    max_outage=60.0,
    assume_finished=True,
)


def test_a_row_is_read_and_given_again() -> None:
    row = ROW | LATER
    spec = WaitSpec.of_row(**row)
    assert spec.kwargs() == json.loads(json.dumps(spec.kwargs())) == row
    assert spec == WaitSpec.of_row(*row.values())
    assert tuple(row) == WaitSpec._fields


def test_a_row_of_before_is_ended_by_a_worker() -> None:
    spec = WaitSpec.of_row(**ROW)
    assert spec.kwargs() == ROW | {name: getattr(spec, name) for name in LATER}
    assert not spec.end_from_trigger


def test_a_trigger_is_made_of_it() -> None:
    row = ROW | LATER
    for trigger in (SopsTaskTrigger(**row), SopsTaskTrigger(*row.values())):
        assert trigger.spec == WaitSpec.of_row(**row)
        assert trigger.serialize() == ("airflow_provider_sops.triggers.sops.SopsTaskTrigger", row)


def test_what_is_left_out_has_a_default() -> None:
    spec = WaitSpec.of_row(**REQUIRED)
    assert spec.policy == WaitPolicy()
    assert spec.kwargs() == SopsTaskTrigger(**REQUIRED).serialize()[1]
    assert (spec.deadline, spec.deferred_at, spec.revoke_on_kill) == (None, None, False)


@pytest.mark.parametrize("kind", [WaitSpec, SopsTaskTrigger])
def test_what_it_does_not_know_is_refused(kind: type) -> None:
    with pytest.raises(TypeError, match="later_field"):
        kind(**ROW, later_field=1)
    with pytest.raises(TypeError, match="poll_interval"):
        kind(**{name: value for name, value in REQUIRED.items() if name != "poll_interval"})


def test_what_airflow_renders_in_a_trigger_counts() -> None:
    """Where a task starts in the triggerer, Airflow renders the attributes that are arguments of the trigger."""
    trigger: Any = SopsTaskTrigger(**{**ROW, "sops_task_id": "{{ params.id }}"})  # Airflow sets them by their names
    trigger.sops_task_id = 8
    assert trigger.spec == WaitSpec.of_row(**ROW)._replace(sops_task_id=8)
    assert trigger.serialize()[1]["sops_task_id"] == 8


def test_it_knows_its_project_and_policy() -> None:
    spec = WaitSpec.of_row(**ROW)
    assert spec.project == Project(2, "project")
    assert spec.policy == POLICY
    flat = flat_fields(spec.project, POLICY)
    assert {**flat, "allowed_states": list(flat["allowed_states"])} == {name: ROW[name] for name in flat}
    assert spec._replace(**flat_fields(spec.project, spec.policy)) == spec


def test_a_thousand_waits_share_project_and_policy() -> None:
    one, other = WaitSpec.of_row(**ROW), WaitSpec.of_row(**{**ROW, "sops_task_id": 8})
    assert one.project is other.project
    assert one.policy is other.policy


def test_it_cannot_be_changed() -> None:
    spec = WaitSpec.of_row(**ROW)
    with pytest.raises(AttributeError):
        spec.deadline = None  # type: ignore[misc]
    assert hash(spec) == hash(WaitSpec.of_row(**ROW))


def test_a_wrong_row_is_named_when_it_is_used() -> None:
    with pytest.raises(SopsConfigError, match="scope"):
        _ = WaitSpec.of_row(**{**ROW, "scope": "nowhere"}).project
    with pytest.raises(ValueError, match="on_failed"):
        _ = WaitSpec.of_row(**{**ROW, "on_failed": "shrug"}).policy
