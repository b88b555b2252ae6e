# SPDX-License-Identifier: Apache-2.0
"""The client that a poller's requests share, by a clock that the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.poll.client_lease import CONNECTION_LIFETIME, ClientLease


class Client:
    """Stands for a client."""

    def __init__(self, number: int) -> None:
        self.number, self.closed = number, False

    async def aclose(self) -> None:
        self.closed = True


class World:
    """A lease, its clock, and the clients that its look-ups gave."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clients: list[Client] = []
        self.lookups = 0
        self.failing = False
        self.lease = ClientLease(self.connect, lambda: self.now)

    async def connect(self) -> Any:
        self.lookups += 1
        await asyncio.sleep(0)
        if self.failing:
            raise RuntimeError("no database")
        self.clients.append(Client(len(self.clients)))
        return self.clients[-1]

    async def number(self) -> int:
        """Which client a request gets."""

        async def request(client: Any) -> int:
            await asyncio.sleep(0)
            number: int = client.number
            return number

        return await self.lease.use(request)


def run(test: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(test(World()), 60)

    asyncio.run(main())


def test_requests_share_one_client_and_one_look_up() -> None:
    async def test(world: World) -> None:
        assert await asyncio.gather(*(world.number() for _ in range(5))) == [0] * 5
        world.now += CONNECTION_LIFETIME - 1
        assert await world.number() == 0
        assert world.lookups == 1

    run(test)


def test_a_client_lives_for_a_lifetime_and_its_session_for_one_more() -> None:
    async def test(world: World) -> None:
        for number in range(3):
            assert await world.number() == number
            world.now += CONNECTION_LIFETIME
        assert [client.closed for client in world.clients] == [True, False, False]
        await world.lease.aclose()
        assert [client.closed for client in world.clients] == [True, True, True]

    run(test)


def test_requests_that_share_a_failed_look_up_share_its_error_and_the_next_one_looks_up_again() -> None:
    async def test(world: World) -> None:
        world.failing = True
        results = await asyncio.gather(*(world.number() for _ in range(5)), return_exceptions=True)
        assert {str(error) for error in results} == {"the connection cannot be used: RuntimeError: no database"}
        assert world.lookups == 1
        world.now += 1
        world.failing = False
        assert await world.number() == 0

    run(test)


def test_a_client_that_works_outlives_a_failed_look_up() -> None:
    async def test(world: World) -> None:
        assert await world.number() == 0
        world.failing = True
        world.now += CONNECTION_LIFETIME
        assert await world.number() == 0
        assert await world.number() == 0
        assert world.lookups == 2  # not at each request
        world.failing = False
        world.now += CONNECTION_LIFETIME
        assert await world.number() == 1

    run(test)


def test_after_an_authentication_error_a_request_is_made_once_more_with_a_new_client() -> None:
    async def test(world: World) -> None:
        asked: list[int] = []

        async def rotated(client: Any) -> str:
            asked.append(client.number)
            await asyncio.sleep(0)
            if client.number == 0:
                raise errors.SopsAuthenticationError("wrong secret")
            return "answer"

        assert [*await asyncio.gather(world.lease.use(rotated), world.lease.use(rotated))] == ["answer"] * 2
        assert asked == [0, 0, 1, 1]
        assert world.lookups == 2

    run(test)


def test_secrets_that_are_still_wrong_are_an_error() -> None:
    async def test(world: World) -> None:
        async def wrong(client: Any) -> None:
            raise errors.SopsAuthenticationError(f"wrong secret of {client.number}")

        with pytest.raises(errors.SopsAuthenticationError, match="of 1"):
            await world.lease.use(wrong)
        assert world.lookups == 2

    run(test)


def test_a_client_that_is_refused_is_not_fallen_back_to() -> None:
    async def test(world: World) -> None:
        async def wrong(client: Any) -> None:
            world.failing = True
            raise errors.SopsAuthenticationError("wrong secret")

        with pytest.raises(errors.SopsError, match="no database"):
            await world.lease.use(wrong)

    run(test)
