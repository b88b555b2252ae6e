# SPDX-License-Identifier: Apache-2.0
"""The client of a poller: made from the connection as it is now, and replaced when its secrets may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.http.async_client import AsyncSopsClient

T = TypeVar("T")

#: Seconds after which the connection is looked up again, for secrets that were changed meanwhile.
CONNECTION_LIFETIME = 600.0
#: Seconds that looking the connection up may take: a wait's deadline and outage budget do not stand still meanwhile.
CONNECT_TIMEOUT = 60.0


class ClientLease:
    """One client that many requests share.

    :param connect: looks the connection up and makes a client of it.
    :param clock: gives seconds that only grow.
    """

    def __init__(self, connect: Callable[[], Awaitable[AsyncSopsClient]], clock: Callable[[], float]) -> None:
        self._connect = connect
        self._clock = clock
        self._client: AsyncSopsClient | None = None
        self._connected_at = float("-inf")
        #: the client before this one: requests under way may still use its session
        self._retired: AsyncSopsClient | None = None
        #: one look-up at a time
        self._connecting = asyncio.Lock()
        #: when the last failed look-up ended, and how
        self._failure: tuple[float, errors.SopsError] | None = None

    async def use(self, request: Callable[[AsyncSopsClient], Awaitable[T]]) -> T:
        """Make a request with the client; after an authentication error once more, with a new one.

        :raises errors.SopsError: the request failed, or there is no usable connection.
        """
        client = await self._get()
        try:
            return await request(client)
        except errors.SopsAuthenticationError:
            # the secrets may have been changed since the connection was looked up
            client = await self._get(stale=client)
            return await request(client)

    async def aclose(self) -> None:
        """Close the sessions."""
        for client in (self._client, self._retired):
            if client is not None:
                await client.aclose()

    async def _get(self, stale: AsyncSopsClient | None = None) -> AsyncSopsClient:
        """Return the client, a new one when there is none, when it is ``stale``, or when it is too old."""
        began = self._clock()
        if self._client is not None and self._is_fresh(self._client, stale):
            return self._client
        async with self._connecting:
            client = self._client
            if client is not None and self._is_fresh(client, stale):  # another request has looked it up
                return client
            if self._failure is not None and self._failure[0] >= began:
                raise self._failure[1]  # of the look-up that was waited for
            self._connected_at = self._clock()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    made = self._client = await self._connect()
            except Exception as error:
                if client is not None and client is not stale:
                    return client  # it still works; the look-up is tried again a lifetime later
                self._failure = (self._clock(), _unusable_connection(error))
                raise self._failure[1] from error
            await self._retire(client)
            return made

    def _is_fresh(self, client: AsyncSopsClient, stale: AsyncSopsClient | None) -> bool:
        return client is not stale and self._clock() - self._connected_at < CONNECTION_LIFETIME

    async def _retire(self, client: AsyncSopsClient | None) -> None:
        """Put a client aside, and close the one before, which no request uses any more."""
        if self._retired is not None:
            await self._retired.aclose()
        self._retired = client


def _unusable_connection(error: Exception) -> errors.SopsError:
    if isinstance(error, errors.SopsConfigError):
        return errors.SopsUnusableConnectionError(str(error))
    if isinstance(error, TimeoutError):
        return errors.SopsError(f"looking the connection up took longer than {CONNECT_TIMEOUT:.0f} s")
    return errors.SopsError(f"the connection cannot be used: {type(error).__name__}: {error}")
