# SPDX-License-Identifier: Apache-2.0
"""A wait's sleep, and its notices."""

from __future__ import annotations

import asyncio

from airflow_provider_sops.core.poll.subscription import Subscription


def test_what_is_told_before_the_sleep_is_not_slept_through() -> None:
    async def test() -> None:
        subscription = Subscription(1, 10.0)
        subscription.notify()
        await subscription.sleep(1000)
        assert not subscription.sleep(1000).done()  # once
        subscription.cancel_timer()

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_sleep_ends_by_itself() -> None:
    async def test() -> None:
        await Subscription(1, 10.0).sleep(0.01)

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_notice_of_each_kind_is_added_once() -> None:
    subscription = Subscription(1, 10.0)
    assert subscription.add_notice("a kind", "first")
    subscription.notices = subscription.notices[:0]  # the wait has logged it
    assert not subscription.add_notice("a kind", "again")
    assert subscription.add_notice("another kind", "second")
    assert subscription.notices == ("second",)
