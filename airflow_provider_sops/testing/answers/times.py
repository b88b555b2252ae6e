# SPDX-License-Identifier: Apache-2.0
"""Times as SOPS writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

SERVER_ZONE = timezone(timedelta(hours=8))  # where BlueKing servers usually stand


@lru_cache(maxsize=8192)
def _text(second: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(second, zone).strftime("%Y-%m-%d %H:%M:%S %z")


def local_time(at: float | None) -> str:
    """``2026-11-22 21:03:25 +0800``; empty: no time."""
    return "" if at is None else _text(int(at), SERVER_ZONE)


def iso_time(at: float | None, zone: tzinfo | None) -> str | None:
    """Times of get_task_list: ISO in UTC with ``Z``, or like the others where a time zone is asked for."""
    if at is None:
        return None
    if zone is not None:
        return _text(int(at), zone)
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def elapsed(start: float | None, finish: float | None, now: float) -> int:
    """Seconds from start to end, or until now."""
    return 0 if start is None else round((now if finish is None else finish) - start)
