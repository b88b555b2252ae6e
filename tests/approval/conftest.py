# SPDX-License-Identifier: Apache-2.0
"""Approvals in the time of a world, with Airflow's questions beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sops.compat import ask_airflow
from airflow_provider_sops.compat.required_actions import HAS_REQUIRED_ACTIONS
from tests.operators.conftest import make_world, world  # noqa: F401 (fixtures)
from tests.triggers.test_verdict_cases import busy  # noqa: F401 (a fixture)

if HAS_REQUIRED_ACTIONS:
    # loaded, so that their time is moved too
    from airflow_provider_sops import deferral
    from airflow_provider_sops.compat import required_actions
    from airflow_provider_sops.operators import approval_outcome, approval_work
    from airflow_provider_sops.triggers import approval_loop
    from tests.approval.airflow_task import Approval
    from tests.approval.required_actions import RequiredActions

    assert deferral
    assert approval_outcome
    assert approval_work
    assert approval_loop

PAUSES = "Pause for a person"


def pytest_ignore_collect(collection_path: Any) -> bool | None:
    """Before Airflow 3.1 there is nothing to be asked but why."""
    return True if not HAS_REQUIRED_ACTIONS and collection_path.name != "test_airflow_without.py" else None


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch, busy: list[int]) -> RequiredActions:  # noqa: F811
    """Airflow's questions."""
    from airflow.sdk.execution_time import task_runner

    made = RequiredActions()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", made, raising=False)

    async def counted(*args: Any, **kwargs: Any) -> Any:
        busy[0] += 1
        try:
            return await ask_airflow(*args, **kwargs)
        finally:
            busy[0] -= 1

    monkeypatch.setattr(required_actions, "ask_airflow", counted)
    return made


@pytest.fixture(params=[True, False], ids=["resumed", "looked for"])
def resumes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether Airflow resumes a deferred task with a response (3.3), or it has to be looked for (3.1, 3.2)."""
    monkeypatch.setattr(required_actions, "RESPONSE_RESUMES", request.param)
    return bool(request.param)


@pytest.fixture
def approval(
    world: Any,  # noqa: F811
    busy: list[int],  # noqa: F811
    actions: RequiredActions,
    resumes: bool,
) -> Callable[..., Approval]:
    """Make an approval of a new SOPS task, which runs and has come to its pause node after ten seconds."""

    def make(template: str | int = PAUSES, seconds: float = 10.0, **arguments: Any) -> Approval:
        own = {name: arguments.pop(name) for name in ("retries", "store", "max_tries") if name in arguments}
        if "sops_task_id" not in arguments:
            arguments["sops_task_id"] = world.fake.create_task(template)
        world.fake.advance(seconds)
        return Approval(world, actions, busy, arguments, resumes, **own)

    return make
