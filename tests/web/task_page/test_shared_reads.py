# SPDX-License-Identifier: Apache-2.0
"""Reads that many pages share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from airflow_provider_sops.web.task_page_reader import SharedReads


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """What is read: counts, and answers when it is let."""

    def __init__(self) -> None:
        self.count = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def read(self) -> int:
        """Read."""
        self.count += 1
        number = self.count
        await self.go.wait()
        if self.error:
            raise self.error
        return number


def run(test: Callable[[SharedReads, Source, Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = Clock()
        await test(SharedReads(clock), Source(), clock)

    asyncio.run(main())


def get(reads: SharedReads, source: Source, key: str = "key") -> Awaitable[int]:
    return reads.get(key, source.read, lambda _: 10.0, 5.0)


def test_who_wants_the_same_waits_for_one_read() -> None:
    async def test(reads: SharedReads, source: Source, clock: Clock) -> None:
        waiting = [asyncio.ensure_future(get(reads, source)) for _ in range(100)]
        other = asyncio.ensure_future(get(reads, source, "another"))
        await asyncio.sleep(0)
        clock.now += 1000  # however long it takes
        late = asyncio.ensure_future(get(reads, source))
        await asyncio.sleep(0)
        source.go.set()
        assert set(await asyncio.gather(*waiting, late)) == {1}
        assert await other == 2

    run(test)


def test_a_result_is_kept_for_its_time() -> None:
    async def test(reads: SharedReads, source: Source, clock: Clock) -> None:
        source.go.set()
        for seconds, number in ((0.0, 1), (9.9, 1), (0.1, 2), (9.9, 2)):
            clock.now += seconds
            assert await get(reads, source) == number

    run(test)


def test_an_error_is_kept_too() -> None:
    async def test(reads: SharedReads, source: Source, clock: Clock) -> None:
        source.go.set()
        source.error = ValueError("no")
        for seconds, count in ((0.0, 1), (4.9, 1), (0.1, 2)):
            clock.now += seconds
            with pytest.raises(ValueError, match="no"):
                await get(reads, source)
            assert source.count == count

    run(test)


def test_who_goes_away_does_not_end_the_read_for_others() -> None:
    async def test(reads: SharedReads, source: Source, clock: Clock) -> None:
        first, second = (asyncio.ensure_future(get(reads, source)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        source.go.set()
        assert await second == 1
        assert first.cancelled()

    run(test)


def test_no_more_than_some_are_kept() -> None:
    async def test(reads: SharedReads, source: Source, clock: Clock) -> None:
        source.go.set()
        for number in range(1200):
            await get(reads, source, str(number))
        assert source.count == 1200
        await get(reads, source, "1199")
        assert source.count == 1200
        await get(reads, source, "0")
        assert source.count == 1201

    run(test)
