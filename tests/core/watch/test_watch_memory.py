# SPDX-License-Identifier: Apache-2.0
"""What a watch remembers, with plain values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_sops.core.watch import watch_memory
from airflow_provider_sops.core.watch.watch_memory import LONGEST_WATCH, SETTLE, WatchMemory, restore_memory

NOW = 1_795_000_000.0


def again(memory: WatchMemory, unstored: dict[int, float] | None = None, failures: Any = ()) -> WatchMemory:
    """Remember, as a restarted triggerer does."""
    restored = restore_memory(json.loads(json.dumps(memory.snapshot(unstored or {}, failures))), NOW)
    assert restored is not None
    return restored


def test_the_horizon_follows_when_no_older_id_can_appear() -> None:
    memory = WatchMemory(horizon=10)
    memory.note_listed([11, 13], NOW)
    assert not memory.is_known(12), "SOPS may commit it a moment later"
    memory.note_listed([12, 14], NOW + SETTLE - 1)
    assert memory.horizon == 10
    memory.note_listed([], NOW + SETTLE)
    assert (memory.horizon, sorted(memory.recent)) == (13, [14])
    assert [one for one in range(9, 16) if not memory.is_known(one)] == [15]


def test_ten_thousand_ends_leave_one_number() -> None:
    memory = WatchMemory()
    for first in range(1, 10_001, 100):
        ids = range(first, first + 100)
        memory.note_listed(ids, NOW + first)
        for task_id in ids:
            memory.watch(task_id, NOW)
            memory.drop(task_id)
    memory.note_listed([], NOW + 20_000)
    assert memory.snapshot({}, [])["horizon"] == 10_000
    assert len(json.dumps(memory.snapshot({}, []))) < 200


def test_it_survives_a_restart() -> None:
    memory = WatchMemory(horizon=10, since=NOW - 5)
    memory.note_listed([11, 12, 13], NOW)
    for task_id in (11, 12, 13):
        memory.watch(task_id, NOW)
    memory.failed.add(11)
    memory.old.add(12)
    memory.drop(13)
    restored = again(memory)
    assert (restored.horizon, set(restored.recent), set(restored.watched)) == (10, {11, 12, 13}, {11, 12})
    assert (restored.failed, restored.old, restored.since) == ({11}, {12}, NOW - 5)
    assert abs(restored.watched[11] - NOW) < 86400


def test_an_end_that_is_perhaps_not_stored_is_watched_again_after_a_restart() -> None:
    memory = WatchMemory(horizon=10)
    memory.watch(11, NOW)
    memory.watch(12, NOW)
    memory.failed.add(12)
    memory.drop(11)
    restored = again(memory, {11: NOW, 12: NOW}, [12])
    assert set(restored.watched) == {11, 12}
    assert restored.failed == set(), "its failure is announced again"


def test_it_forgets_by_age_and_never_grows_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = WatchMemory()
    memory.watch(1, NOW - LONGEST_WATCH - 1)
    memory.watch(2, NOW)
    assert memory.forget_old(NOW) == [1]
    monkeypatch.setattr(watch_memory, "MOST_WATCHED", 3)
    for task_id in range(3, 8):
        memory.watch(task_id, NOW + task_id)
    assert memory.forget_old(NOW + 10) == [2, 3, 4]
    assert sorted(memory.watched) == [5, 6, 7]


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "text",
        [],
        {},
        {"version": 2},
        {"version": 1},
        {"version": 1, "horizon": "x", "recent": [], "watched_since_day": {}, "failed": [], "old": [], "since": 0},
        {"version": 1, "horizon": 1, "recent": [], "watched_since_day": [], "failed": [], "old": [], "since": 0},
    ],
)
def test_what_is_no_memory_is_none(stored: Any) -> None:
    assert restore_memory(stored, NOW) is None
