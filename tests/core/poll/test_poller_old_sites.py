# SPDX-License-Identifier: Apache-2.0
"""The poller before an old SOPS: batches that are not there, that crash for a moment, or that IAM denies."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.poll import polled_task
from airflow_provider_sops.core.poll.permissions import MISSING_BATCH_NOTICE
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.testing import FakeSops
from tests.core.api.test_refusals import ENGINE_ID, UNKNOWN_NODE
from tests.core.poll.site import CRASHED, Site, batches, run, states, until
from tests.old_sites import DENIALS, deny_users, lack

BATCH, STATUS, DETAIL = "get_tasks_status", "get_task_status", "get_task_detail"


@pytest.fixture
def site(sops: FakeSops, api_type: str) -> Site:
    return Site(sops, api_type)


@pytest.mark.parametrize("tasks", [1, 4])
def test_a_site_without_batches(site: Site, tasks: int) -> None:
    async def test() -> None:
        lack(site.fake, BATCH)
        ids = [site.fake.create_task("Long sleep") for _ in range(tasks)]
        async with site.waiting(*ids) as subscriptions:
            await until(
                lambda: states(subscriptions) == {TaskState.RUNNING} and all(one.notices for one in subscriptions)
            )
            await until(lambda: site.fake.count(STATUS) >= 4 * tasks)
            assert site.fake.count(BATCH) == 2  # once more when another API had answered
            for subscription in subscriptions:
                (notice,) = subscription.notices
                assert notice.startswith(MISSING_BATCH_NOTICE)
                assert "This SOPS does not have get_tasks_status (SOPS has it since 3.5.5), so each" in notice
                assert subscription.error is None
            (late,) = site.wait_for(ids[0])
            assert late.notices == (MISSING_BATCH_NOTICE,)
            site.poller.unsubscribe(late)

    run(test)


def test_one_redirect_of_a_batch_is_not_believed(site: Site) -> None:
    async def test() -> None:
        lack(site.fake, BATCH, times=1)
        ids = [site.fake.create_task("Long sleep") for _ in range(4)]
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            await until(lambda: len(batches(site)) >= 4)
            assert site.fake.count(STATUS) == 4
            assert [one.notices for one in subscriptions] == [()] * 4

    run(test)


@pytest.mark.parametrize("before", [True, False], ids=["after it has answered", "from the first read on"])
def test_a_site_that_redirects_all_is_away(site: Site, before: bool) -> None:
    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(4)]
        if not before:
            lack(site.fake)
        async with site.waiting(*ids) as subscriptions:
            if before:
                await until(lambda: states(subscriptions) == {TaskState.RUNNING})
                lack(site.fake)
            await until(lambda: all(one.error is not None for one in subscriptions))
            site.fake.clear_requests()
            await until(lambda: site.fake.count() >= 3)
            if before:  # where it is known to be there, nothing else is asked in its place
                assert site.fake.count(BATCH) == site.fake.count()
            site.fake.faults.clear()
            await until(lambda: all(one.error is None for one in subscriptions))
            assert states(subscriptions) == {TaskState.RUNNING}
            site.fake.clear_requests()
            await until(lambda: site.fake.count() >= 3)
            assert {request.api for request in site.fake.requests} == {BATCH}
            assert [one.notices for one in subscriptions] == [()] * 4

    run(test)


def test_a_site_with_details_alone(site: Site) -> None:
    async def test() -> None:
        lack(site.fake, BATCH, STATUS)
        task_id = site.fake.create_task()
        site.fake.advance(60)
        async with site.waiting(task_id) as (subscription,):
            await until(lambda: subscription.status is not None and len(subscription.notices) == 2)
            assert states([subscription]) == {TaskState.FINISHED}
            assert any("get_task_detail alone" in notice for notice in subscription.notices)
            assert not site.poller.permissions.status

    run(test)


@pytest.mark.parametrize("page", [True, False], ids=["a page", "a code"])
def test_a_task_just_started_makes_batches_crash_for_some_moments(
    site: Site, page: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled_task, "STARTED_RETRY", 1.0)

    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(50)]
        starting = {ids[17], ids[33]}

        def old_sops(request: Any) -> tuple[int, Any] | None:
            if not starting.intersection(request.task_ids):
                return None
            if request.api == STATUS:
                message = UNKNOWN_NODE.format(task=request.task_ids[0], node=ENGINE_ID)
                code = {"code": 1306000} if request.endpoint == "esb" else {}
                return 200, {"result": False, "message": message, **code}
            if request.endpoint == "esb":
                said = "Request third-party interface error: Status Code: 500, Error Message: x"
                return 200, {"result": False, "code": 1306201, "message": said}
            return (500, "<h1>Server Error (500)</h1>") if page else (500, CRASHED)

        site.fake.faults.add(kind="function", times=None, function=old_sops)
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: all(one.status is not None for one in subscriptions))
            assert {
                one.task_id for one in subscriptions if one.status and one.status.state is TaskState.READY
            } == starting
            assert {one.error for one in subscriptions} == {None}
            starting.clear()
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            site.fake.clear_requests()
            # soon they are read with the others again
            await until(lambda: bool(batches(site)) and set(batches(site)[-1].task_ids) == set(ids))

    run(test)


def test_another_culprit_stays_alone_for_long(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polled_task, "STARTED_RETRY", 0.1)

    async def test() -> None:
        ids = [site.fake.create_task("Long sleep") for _ in range(10)]
        site.fake.faults.add(kind="poison", api=BATCH, task_id=ids[3], times=None)
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            (task,) = (task for task in site.poller._queue if task.id == ids[3])
            assert task.single_until > time.monotonic() + 1000

    run(test)


@pytest.mark.parametrize("release", DENIALS)
def test_a_denial_of_iam_is_no_outage_and_splits_nothing(site: Site, release: str) -> None:
    async def test() -> None:
        deny_users(site.fake, release, BATCH)
        ids = [site.fake.create_task("Long sleep") for _ in range(8)]
        async with site.waiting(*ids) as subscriptions:
            await until(lambda: states(subscriptions) == {TaskState.RUNNING})
            await until(lambda: site.fake.count(STATUS) >= 24)
            assert site.fake.count(BATCH) == 1  # the rights for a batch are more than those for one task
            deny_users(site.fake, release)
            await until(lambda: all(one.error is not None for one in subscriptions))
            assert {type(one.error) for one in subscriptions} == {errors.SopsIamDeniedError}

    run(test)
