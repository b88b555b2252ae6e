# SPDX-License-Identifier: Apache-2.0
"""The budget of log-only reads, by a clock that the test holds."""

from __future__ import annotations

from airflow_provider_sops.core.poll.log_read_budget import LogReadBudget
from airflow_provider_sops.core.poll.subscription import Subscription

NOW = 1000.0


def subscriptions(number: int) -> list[Subscription]:
    return [Subscription(task_id, 10.0) for task_id in range(number)]


def slots(waits: list[Subscription]) -> list[float]:
    return [round((wait.log_read_at or NOW) - NOW, 2) for wait in waits]


def test_a_few_are_read_soon_and_the_others_one_every_five_seconds() -> None:
    budget, waits = LogReadBudget(), subscriptions(13)
    assert [budget.may_read(wait, NOW) for wait in waits] == [True] + [False] * 12
    assert slots(waits) == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 5.0, 10.0, 15.0]


def test_a_wait_keeps_its_slot_until_it_has_read() -> None:
    budget, (first, second) = LogReadBudget(), subscriptions(2)
    assert budget.may_read(first, NOW)
    assert not budget.may_read(second, NOW)
    assert not budget.may_read(second, NOW + 0.2)
    assert slots([second]) == [0.25]
    assert budget.may_read(second, NOW + 0.25)
    assert second.log_read_at is None


def test_a_slot_that_is_given_back_goes_to_another_wait_unless_it_is_over() -> None:
    budget, waits = LogReadBudget(), subscriptions(12)
    for wait in waits:
        budget.may_read(wait, NOW)
    last = waits[-1].log_read_at
    for wait in waits[1:3]:  # slots at 0.25 and 0.5
        budget.give_back(wait)
    (late,) = subscriptions(1)
    assert not budget.may_read(late, NOW + 0.3)
    assert slots([late]) == [0.5]
    (later,) = subscriptions(1)
    assert not budget.may_read(later, NOW + 0.3)
    assert last is not None
    assert later.log_read_at == last + 5.0  # a new one


def test_a_wait_without_a_slot_gives_nothing_back() -> None:
    budget, (first, second) = LogReadBudget(), subscriptions(2)
    assert budget.may_read(first, NOW)
    budget.give_back(first)
    assert not budget.may_read(second, NOW)
