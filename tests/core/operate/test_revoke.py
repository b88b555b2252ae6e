# SPDX-License-Identifier: Apache-2.0
"""Revoking: never what is CREATED, which SOPS before 3.7.12 would spoil."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.operate.revoke import Revocation, revoke
from airflow_provider_sops.testing import FakeSops, Request
from tests.clients import connect_to, secret_sops


@pytest.fixture(params=["apigw", "esb"])
def endpoint(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sops() -> Iterator[FakeSops]:
    with secret_sops() as fake:
        fake.clock.stop()
        yield fake


def revoked(sops: FakeSops, task_id: int, endpoint: str, **arguments: Any) -> Revocation:
    with connect_to(sops, endpoint) as client:
        return client.run(revoke(Project(sops.bk_biz_id), task_id, **arguments))


def running(sops: FakeSops) -> int:
    task_id = sops.create_task("Long sleep")
    sops.advance(10)
    return task_id


def apis(sops: FakeSops) -> list[str]:
    return [request.api for request in sops.requests]


def say(sops: FakeSops, answer: dict[str, Any]) -> None:
    sops.faults.add("operate_task", kind="function", function=lambda request: (200, {"result": False, **answer}))


def test_what_runs(sops: FakeSops, endpoint: str) -> None:
    task_id = running(sops)
    assert revoked(sops, task_id, endpoint) == Revocation(True, "it was revoked")
    assert apis(sops) == ["get_task_status", "operate_task"]
    assert sops.task(task_id).state == "REVOKED"


def test_what_is_known_to_have_started_is_not_looked_at(sops: FakeSops, endpoint: str) -> None:
    assert revoked(sops, running(sops), endpoint, started=True).done
    assert apis(sops) == ["operate_task"]


def test_what_is_created_is_left_alone(sops: FakeSops, endpoint: str) -> None:
    task_id = sops.create_task("Long sleep", start=False)
    revocation = revoked(sops, task_id, endpoint)
    assert revocation == Revocation(False, "SOPS does not revoke what has not started", may_start=True)
    assert "operate_task" not in apis(sops)


def test_so_it_is_where_only_the_detail_may_be_read(sops: FakeSops, endpoint: str) -> None:
    sops.deny("get_task_status")
    assert revoked(sops, sops.create_task("Long sleep", start=False), endpoint).may_start
    assert revoked(sops, running(sops), endpoint).done


@pytest.mark.parametrize("fault", ["drop", "redirect", "html"])
def test_what_cannot_be_read_is_revoked(sops: FakeSops, endpoint: str, fault: str) -> None:
    """Revoking is for what runs."""
    task_id = running(sops)
    for api in ("get_task_status", "get_task_detail"):
        sops.faults.add(api, kind=fault, times=None)
    assert revoked(sops, task_id, endpoint).done
    assert sops.task(task_id).state == "REVOKED"


@pytest.mark.parametrize("code", [{"code": 3545000}, {}], ids=["a code", "no code"])
def test_what_has_ended(sops: FakeSops, code: dict[str, Any]) -> None:
    say(sops, {"message": "task with current_flow:finished cannot be revokeed", **code})
    assert revoked(sops, running(sops), "apigw") == Revocation(False, "it had ended already")


def test_what_an_old_engine_does_not_have_yet(sops: FakeSops) -> None:
    """Its state could not be read, and it had not started."""
    sops.deny("get_task_status", "get_task_detail")
    task_id = sops.create_task("Long sleep", start=False)
    said = f"task[id={task_id}] action failed: PipelineModel matching query does not exist."
    say(sops, {"message": said})
    revocation = revoked(sops, task_id, "apigw")
    assert revocation == Revocation(False, f"SOPS does not revoke what has not started ({said})", may_start=True)


def test_one_that_starts_between_is_revoked_by_the_next_attempt(sops: FakeSops) -> None:
    task_id = sops.create_task("Long sleep", start=False)

    def start(when: str, request: Request) -> None:
        if (when, request.api) == ("after", "get_task_status"):
            sops.on_request = None
            sops.start_task(task_id)
            sops.advance(1)

    sops.on_request = start
    assert revoked(sops, task_id, "apigw").may_start
    assert revoked(sops, task_id, "apigw").done


def test_what_is_not_there(sops: FakeSops, endpoint: str) -> None:
    with pytest.raises(errors.SopsNotFoundError):
        revoked(sops, 999, endpoint)
