# SPDX-License-Identifier: Apache-2.0
"""What tells an API that SOPS lacks from a site that is away, in both clients and for a status that is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.errors import nobody_answers, perhaps_missing
from airflow_provider_sops.core.http.api_availability import WITHIN, ApiAvailability
from airflow_provider_sops.core.http.async_client import AsyncSopsClient
from airflow_provider_sops.core.http.retry import RetryPolicy
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import ApiPermissions, is_denied, read_status
from airflow_provider_sops.core.wait.policy import WaitPolicy
from airflow_provider_sops.core.wait.task_wait import TaskWait
from airflow_provider_sops.core.wait.verdict import Next
from airflow_provider_sops.testing import FakeSops
from tests.clients import connect_to, site_of
from tests.core.api.test_refusals import ENGINE_ID, UNKNOWN_NODE
from tests.old_sites import DENIALS, deny_users, lack
from tests.times import MovedTime, move_time

PROJECT = Project(2)
LIST, STATUS, DETAIL = "get_task_list", "get_task_status", "get_task_detail"
Ask = Callable[..., errors.SopsError | None]


def failure(error: Exception) -> errors.SopsError:
    assert isinstance(error, errors.SopsError)
    return error


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, sops: FakeSops, api_type: str) -> Any:
    """Ask with one client of either kind; gives the error, or None for a good answer."""
    client: Any
    params = {"limit": 1, "task_id": sops.create_task("Long sleep")}

    def call_of(name: str) -> Call:
        wanted = {"limit": 1} if name == LIST else {"task_id": params["task_id"]}
        return PROJECT.call(name, **wanted)

    if request.param == "sync":
        with connect_to(sops, api_type) as client:

            def ask(name: str) -> errors.SopsError | None:
                try:
                    client.send(call_of(name))
                except errors.SopsError as error:
                    return error
                return None

            yield ask
        return
    with asyncio.Runner() as runner:
        site = site_of(sops, api_type)
        client = AsyncSopsClient(site.endpoint, settings=site.settings)

        def ask_async(name: str) -> errors.SopsError | None:
            try:
                runner.run(client.send(call_of(name)))
            except errors.SopsError as error:
                return error
            return None

        yield ask_async
        runner.run(client.aclose())


def test_an_api_is_missing_when_another_answers_between_two_redirects(sops: FakeSops, ask: Ask) -> None:
    lack(sops, LIST)
    assert ask(STATUS) is None  # before: this says nothing of what is away now
    for _ in range(3):
        error = ask(LIST)
        assert error is not None
        assert perhaps_missing(error)
        assert not is_denied(error)
    assert ask(STATUS) is None
    error = ask(LIST)
    assert isinstance(error, errors.SopsApiNotFoundError)
    assert is_denied(error)
    assert not nobody_answers(error)
    assert "this SOPS does not have get_task_list (SOPS has it since 3.6.22)" in str(error)
    assert "do without it, or have SOPS upgraded." in str(error)
    assert "302" in str(error.__cause__)
    sops.faults.clear()
    assert ask(LIST) is None


def test_a_no_of_sops_is_an_answer_too(sops: FakeSops, ask: Ask) -> None:
    lack(sops, LIST)
    ask(LIST)
    sops.faults.add(
        STATUS, kind="function", function=lambda request: (200, {"result": False, "code": 3540400, "message": "no"})
    )
    assert isinstance(ask(STATUS), errors.SopsNotFoundError)
    error = ask(LIST)
    assert error is not None
    assert is_denied(error)


@pytest.mark.parametrize(
    "fault",
    [{"kind": "html"}, {"kind": "status", "status": 502}, {"kind": "status", "status": 403}, {"kind": "drop"}],
    ids=["login page", "502", "gateway", "reset"],
)
def test_what_is_no_answer_of_sops_proves_nothing(sops: FakeSops, ask: Ask, fault: dict[str, Any]) -> None:
    lack(sops, LIST)
    ask(LIST)
    sops.faults.add(STATUS, **fault)
    assert ask(STATUS) is not None
    error = ask(LIST)
    assert error is not None
    assert not is_denied(error)


def test_a_site_that_is_away_after_it_has_answered_misses_nothing(sops: FakeSops, ask: Ask) -> None:
    for name in (LIST, STATUS):
        assert ask(name) is None
    for _ in range(2):
        (fault,) = lack(sops)
        assert not is_denied(failure(ask(LIST) or AssertionError()))
        sops.faults.remove(fault)
        assert ask(STATUS) is None
    lack(sops)
    assert not is_denied(failure(ask(LIST) or AssertionError()))


CALL, OTHER = PROJECT.call(LIST), PROJECT.call(DETAIL, task_id=1)


def away() -> errors.SopsError:
    return errors.make_error(errors.SopsInvalidAnswerError, CALL, "redirects (HTTP 302)", status=302)


def test_what_lies_far_apart_may_be_two_maintenances() -> None:
    now = 0.0
    availability = ApiAvailability(lambda: now)
    assert not is_denied(availability.note_failure(CALL, away()))
    availability.note_answer(OTHER)
    now += WITHIN + 1
    assert not is_denied(availability.note_failure(CALL, away()))
    now += 1
    assert not is_denied(availability.note_failure(CALL, away()))
    availability.note_answer(OTHER)
    now += WITHIN - 2
    assert is_denied(availability.note_failure(CALL, away()))


def test_refused_by_405_is_not_missing() -> None:
    refused = errors.make_error(errors.SopsApiNotFoundError, CALL, "refused", remote_message="x: Status Code: 405, y")
    availability = ApiAvailability()
    for _ in range(3):
        assert availability.note_failure(CALL, refused) is refused
        availability.note_answer(OTHER)


def test_the_error_keeps_what_was_met() -> None:
    availability = ApiAvailability()
    met = away()
    met.request_id = "r-1"
    availability.note_failure(CALL, met)
    availability.note_answer(OTHER)
    error = availability.note_failure(CALL, met)
    assert (error.api, error.http_status, error.request_id, error.__cause__) == (LIST, 302, "r-1", met)
    # what no release is known of
    unlisted = PROJECT.call("get_my_own")
    for _ in range(2):
        error = availability.note_failure(unlisted, met)
        availability.note_answer(OTHER)
    assert "this SOPS does not have get_my_own (HTTP 302)" in str(error)


def test_a_missing_api_is_not_asked_for_again_and_again(
    sops: FakeSops, api_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = MovedTime()
    move_time(monkeypatch, moved)
    lack(sops, LIST)
    task_id = sops.create_task("Long sleep")
    with connect_to(sops, api_type, RetryPolicy()) as client:
        with pytest.raises(errors.SopsError) as caught:
            client.call(LIST)
        assert perhaps_missing(caught.value)
        assert sops.count(LIST) == 4  # as of a site that is away
        client.call(STATUS, task_id=task_id)
        with pytest.raises(errors.SopsApiNotFoundError):
            client.call(LIST)
        assert sops.count(LIST) == 5


# ---- a status that is told by another API ----


def read(
    sops: FakeSops, api_type: str, task_id: int, permissions: ApiPermissions | None = None
) -> tuple[TaskStatus, list[str], ApiPermissions]:
    permissions, notices = permissions or ApiPermissions(), list[str]()
    with connect_to(sops, api_type) as client:
        status = client.run(read_status(PROJECT, task_id, permissions, notices))
    return status, notices, permissions


def test_a_status_is_read_from_the_detail_where_it_is_missing(sops: FakeSops, api_type: str) -> None:
    task_id = sops.create_task("Long sleep")
    sops.advance(5)
    lack(sops, STATUS)
    status, notices, permissions = read(sops, api_type, task_id)
    assert status.state is TaskState.RUNNING
    assert not permissions.status
    assert len(notices) == 1
    assert "this SOPS does not have get_task_status" in notices[0]
    assert [request.api for request in sops.requests] == [STATUS, DETAIL, STATUS]


def test_one_redirect_of_the_status_is_not_believed(sops: FakeSops, api_type: str) -> None:
    task_id = sops.create_task("Always fails")
    sops.advance(60)
    lack(sops, STATUS, times=1)
    status, notices, permissions = read(sops, api_type, task_id)
    assert status.state is TaskState.FAILED  # which no detail tells
    assert permissions.status
    assert notices == []


def test_a_site_that_redirects_all_is_away(sops: FakeSops, api_type: str) -> None:
    task_id = sops.create_task("Long sleep")
    lack(sops)
    permissions = ApiPermissions()
    with pytest.raises(errors.SopsError) as caught:
        read(sops, api_type, task_id, permissions)
    assert perhaps_missing(caught.value)
    assert permissions.status
    sops.faults.clear()
    read(sops, api_type, task_id, permissions)
    sops.clear_requests()
    lack(sops)
    with pytest.raises(errors.SopsError) as caught:
        read(sops, api_type, task_id, permissions)
    assert perhaps_missing(caught.value)
    # it has answered before, so no other API is asked in its place
    assert [request.api for request in sops.requests] == [STATUS]


@pytest.mark.parametrize("code", [3599999, None])
@pytest.mark.parametrize("of_the_task", [False, True])
def test_the_moment_after_a_start(sops: FakeSops, api_type: str, code: int | None, of_the_task: bool) -> None:
    task_id = sops.create_task("Long sleep")
    node = task_id if of_the_task else ENGINE_ID
    body = {"result": False, "message": UNKNOWN_NODE.format(task=task_id, node=node)}
    if code is not None or api_type == "esb":
        body["code"] = code or 1306000
    sops.faults.add(STATUS, kind="function", times=None, function=lambda request: (200, body))
    status, notices, _ = read(sops, api_type, task_id)
    assert notices == []
    if of_the_task:  # whose detail still answers: deleted
        assert status.is_deleted
    else:
        assert (status.state, status.is_deleted) == (TaskState.READY, False)
        with connect_to(sops, api_type) as client:
            observation = client.run(TaskWait(task_id, PROJECT, WaitPolicy()).observe(1000.0))
        assert observation.next is Next.WAIT
        assert observation.error is None
        assert not any(line.warning for line in observation.lines)


def test_a_task_that_never_was(sops: FakeSops, api_type: str) -> None:
    body = {"result": False, "message": UNKNOWN_NODE.format(task=999, node=999), "code": 1306000}
    sops.faults.add(STATUS, kind="function", times=None, function=lambda request: (200, body))
    with pytest.raises(errors.SopsNotFoundError):
        read(sops, api_type, 999)


@pytest.mark.parametrize("release", DENIALS)
def test_a_denial_of_iam_ends_a_wait_at_once(sops: FakeSops, api_type: str, release: str) -> None:
    task_id = sops.create_task("Long sleep")
    deny_users(sops, release)
    for had_answer in (False, True):
        with connect_to(sops, api_type) as client:
            observation = client.run(TaskWait(task_id, PROJECT, WaitPolicy(), had_answer=had_answer).observe(1000.0))
        assert observation.next is Next.FAILURE
        assert not observation.outage
        assert isinstance(observation.error, errors.SopsIamDeniedError)
