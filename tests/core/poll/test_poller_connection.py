# SPDX-License-Identifier: Apache-2.0
"""The connection of a poller: looked up, changed, or of no use."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.http.async_client import AsyncSopsClient
from airflow_provider_sops.core.poll import client_lease
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.core.poll.subscription import Subscription
from airflow_provider_sops.testing import FakeSops
from tests.core.poll.site import INTERVAL, Site, ended, run, until


def test_changed_secrets_are_looked_up_again(either_site: Site) -> None:
    async def test() -> None:
        async with either_site.waiting(either_site.fake.create_task("Long sleep")) as (subscription,):
            await until(lambda: subscription.status is not None)
            either_site.fake.apps[either_site.fake.app_code] = "rotated-secret"
            either_site.fake.app_secret = "rotated-secret"
            either_site.fake.clear_requests()
            await until(lambda: any(request.result for request in either_site.fake.requests))
            assert subscription.error is None  # nobody noticed
            assert either_site.lookups == 2

    run(test)


def test_secrets_that_are_wrong_reach_the_waits(site: Site) -> None:
    async def test() -> None:
        async with site.waiting(site.fake.create_task("Long sleep")) as (subscription,):
            await until(lambda: subscription.status is not None)
            site.fake.apps[site.fake.app_code] = "another"
            await until(lambda: subscription.error is not None)
            assert isinstance(subscription.error, errors.SopsAuthenticationError)

    run(test)


def test_the_connection_is_looked_up_again_after_a_while(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_lease, "CONNECTION_LIFETIME", 0.5)

    async def test() -> None:
        async with site.waiting(site.fake.create_task("Long sleep")) as (subscription,):
            await until(lambda: site.lookups >= 3)
            await until(lambda: subscription.status is not None)
            assert subscription.error is None

    run(test)


def test_a_look_up_that_fails_later_does_no_harm(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_lease, "CONNECTION_LIFETIME", 0.5)

    async def test() -> None:
        async with site.waiting(site.fake.create_task("Long sleep")) as (subscription,):
            await until(lambda: subscription.status is not None)
            failed = []

            async def no_database() -> AsyncSopsClient:
                failed.append(1)
                raise RuntimeError("the metadata database is away")

            site.poller._lease._connect = no_database
            site.fake.clear_requests()
            await until(lambda: len(failed) >= 2 and site.fake.count() >= 3)
            assert subscription.error is None

    run(test)


def test_a_look_up_that_hangs_is_an_error_of_the_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_lease, "CONNECT_TIMEOUT", 0.3)
    lookups = 0

    async def test() -> None:
        async def hang() -> AsyncSopsClient:
            nonlocal lookups
            lookups += 1
            await asyncio.Event().wait()
            raise AssertionError("it hangs")

        shared = Poller(hang, Project(2), min_interval=INTERVAL)
        subscriptions = [Subscription(number, INTERVAL) for number in range(1, 301)]
        for subscription in subscriptions:
            shared.subscribe(subscription)
        await until(lambda: all(subscription.error is not None for subscription in subscriptions))
        assert "looking the connection up took longer than" in str(subscriptions[0].error)
        assert lookups <= 3  # those who waited for it share its end
        for subscription in subscriptions:
            shared.unsubscribe(subscription)
        await ended(shared)

    run(test)


def test_a_connection_that_cannot_be_used_is_everyones_error(sops: FakeSops) -> None:
    async def test() -> None:
        async def nothing() -> AsyncSopsClient:
            raise errors.SopsConfigError("host", "is empty")

        shared = Poller(nothing, Project(2), min_interval=INTERVAL)
        subscription = Subscription(1, INTERVAL)
        shared.subscribe(subscription)
        await until(lambda: subscription.error is not None)
        assert "host: is empty" in str(subscription.error)
        shared.unsubscribe(subscription)
        await ended(shared)

    run(test)
