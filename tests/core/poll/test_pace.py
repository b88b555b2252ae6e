# SPDX-License-Identifier: Apache-2.0
"""When a poller may read, by a clock that the test holds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.poll.pace import LONGEST_RETRY_AFTER, Pace

NOW = 1000.0
ERROR = errors.SopsError("no answer")


def refused(retry_after: float) -> errors.SopsError:
    error = errors.SopsError("too many")
    error.retry_after = retry_after
    return error


@dataclass
class Asked:
    """Intervals that waits ask for, and the one that follows."""

    intervals: list[float]
    interval: float
    details_alone: bool = False


@pytest.mark.parametrize(
    "asked",
    [
        Asked([], 10.0),
        Asked([60.0, 30.0, 90.0], 30.0),
        Asked([1.0, 30.0], 10.0),  # the cache of statuses
        Asked([1.0, 30.0], 60.0, details_alone=True),  # the cache of details
        Asked([90.0], 90.0, details_alone=True),
    ],
)
def test_the_interval_is_the_shortest_that_gains_something(asked: Asked) -> None:
    pace = Pace(10.0)
    for interval in asked.intervals:
        pace.add_interval(interval)
    pace.details_alone = asked.details_alone
    assert pace.interval == asked.interval


def test_an_interval_counts_until_the_last_wait_that_asked_for_it_ends() -> None:
    pace = Pace(10.0)
    for interval in (20.0, 20.0, 50.0):
        pace.add_interval(interval)
    pace.remove_interval(20.0)
    assert pace.interval == 20.0
    pace.remove_interval(20.0)
    assert pace.interval == 50.0


def test_chunks_are_spread_over_the_interval() -> None:
    assert Pace(10.0).spacing(NOW, 1000, 50) == pytest.approx(9.0 / 20)
    assert Pace(10.0).spacing(NOW, 101, 50) == pytest.approx(9.0 / 3)
    assert Pace(10.0).spacing(NOW, 0, 50) == pytest.approx(9.0)


def test_the_spacing_follows_at_once_when_tasks_join_and_late_when_they_end() -> None:
    pace = Pace(10.0)
    assert pace.spacing(NOW, 50, 50) == pytest.approx(9.0)
    assert pace.spacing(NOW + 1, 1000, 50) == pytest.approx(0.45)
    assert pace.spacing(NOW + 9, 50, 50) == pytest.approx(0.45)
    assert pace.spacing(NOW + 10, 50, 50) == pytest.approx(0.45)  # those of the interval before still count
    assert pace.spacing(NOW + 19, 50, 50) == pytest.approx(0.45)
    assert pace.spacing(NOW + 20, 50, 50) == pytest.approx(9.0)


def test_a_chunk_keeps_its_distance_unless_there_was_an_error() -> None:
    pace = Pace(10.0)
    pace.note_chunk(NOW)
    assert pace.next_chunk_at(NOW, 50, 50) == pytest.approx(NOW + 9.0)
    delay = pace.note_failure(NOW, ERROR)
    assert delay < 9.0
    assert pace.next_chunk_at(NOW, 50, 50) == NOW + delay


def test_errors_in_a_row_slow_it_down_to_one_read_an_interval() -> None:
    pace = Pace(10.0)
    delays = [pace.note_failure(NOW, ERROR) for _ in range(10)]
    for delay, longest in zip(delays, [1.0, 2.0, 4.0, 8.0, *[10.0] * 6], strict=True):
        assert 0.8 * longest <= delay <= longest
    pace.note_success()
    assert pace.note_failure(NOW, ERROR) <= 1.0


def test_retry_after_is_honoured_up_to_a_limit_and_not_cut_short() -> None:
    pace = Pace(10.0)
    assert pace.note_failure(NOW, refused(120.0)) == 120.0
    pace.note_failure(NOW + 1, ERROR)
    assert pace.next_chunk_at(NOW + 1, 50, 50) == NOW + 120.0
    assert pace.slow_down(NOW, refused(86400.0)) == LONGEST_RETRY_AFTER


def test_an_error_of_what_a_batch_leaves_out_is_no_failure_of_all() -> None:
    pace = Pace(10.0)
    pace.slow_down(NOW, ERROR)
    assert pace.failures == 0
    assert pace.next_chunk_at(NOW, 50, 50) > NOW


def test_a_task_is_read_again_a_little_later_than_its_cache_lives() -> None:
    reads = [Pace(10.0).next_read_of_task(NOW) for _ in range(100)]
    assert NOW + 10.0 <= min(reads) < max(reads) <= NOW + 10.2
