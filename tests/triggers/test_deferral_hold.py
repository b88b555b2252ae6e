# SPDX-License-Identifier: Apache-2.0
"""An event is held back until Airflow's scheduler has surely taken in that the task was deferred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_sops.configuration import deferral_hold
from airflow_provider_sops.exceptions import SopsConfigException
from airflow_provider_sops.wait_spec import TRIGGER_TIMEOUT_MARGIN
from tests.operators.airflow_task import AirflowTask
from tests.operators.conftest import World, make_world, world  # noqa: F401 (fixtures)
from tests.sensors.test_sops import Run, start  # noqa: F401 (a fixture)
from tests.triggers.test_verdict_cases import busy, in_triggerer  # noqa: F401 (a fixture)
from tests.verdict_cases import HOUR, Case, operate

HOLD = "AIRFLOW__SOPS__DEFERRAL_HOLD"


def seconds_until_fired(
    run: Run,
    busy: list[int],  # noqa: F811
    *,
    trigger_id: int | None = 1,
    asleep: float = 0.0,
    **kwargs: Any,
) -> float:
    """Defer, and give the seconds from then until the trigger fires.

    :param asleep: seconds until a triggerer takes the trigger up.
    :param kwargs: of the trigger, other than the sensor has given.
    """
    with pytest.raises(TaskDeferred) as deferral:
        run.sensor(deferrable=True, timeout=HOUR).execute(run.ti.context)
    run.world.sleep(asleep)
    path, arguments = deferral.value.trigger.serialize()
    in_triggerer(run, (path, {**arguments, **kwargs}), busy, trigger_id)
    return run.world.elapsed


def revoked(at: float) -> Case:
    """A task that somebody revokes so many seconds after it was deferred."""
    return Case("revoked", "failure", "Long sleep", events=((at, operate("revoke")),), within=HOUR)


@pytest.mark.parametrize(("hold", "least", "most"), [("0", 10, 15), ("5", 10, 15), ("25", 25, 26), ("55", 55, 56)])
def test_an_end_is_held_back(
    start: Callable[..., Run],  # noqa: F811
    busy: list[int],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    hold: str,
    least: float,
    most: float,
) -> None:
    monkeypatch.setenv(HOLD, hold)
    assert least <= seconds_until_fired(start(revoked(5.0)), busy) <= most


def test_it_counts_from_when_the_triggerer_took_it_up(
    start: Callable[..., Run],  # noqa: F811
    busy: list[int],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clocks of worker and triggerer may be apart."""
    monkeypatch.setenv(HOLD, "25")
    assert 45 <= seconds_until_fired(start(revoked(5.0)), busy, asleep=20) <= 46
    run = start(revoked(5.0))
    assert 25 <= seconds_until_fired(run, busy, deferred_at=run.world.now + 600) <= 26


@pytest.mark.parametrize("kwargs", [{}, {"deferred_at": None}])
def test_an_old_deferral_is_not_held(
    start: Callable[..., Run],  # noqa: F811
    busy: list[int],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    kwargs: dict[str, Any],
) -> None:
    """As after a restart of the triggerer; a row of an older version says nothing of its age, but has one."""
    monkeypatch.setenv(HOLD, "55")
    run = start(revoked(5.0))
    assert seconds_until_fired(run, busy, asleep=0 if kwargs else 70, **kwargs) <= 90


def test_what_ends_later_is_not_held(
    start: Callable[..., Run],  # noqa: F811
    busy: list[int],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(HOLD, "1000")
    assert 100 <= seconds_until_fired(start(revoked(100.0)), busy) <= 115


def test_the_end_of_a_deadline_is_held_too(
    start: Callable[..., Run],  # noqa: F811
    busy: list[int],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(HOLD, "40")
    run = start(Case("long", "wait", "Long sleep", within=HOUR))
    assert 40 <= seconds_until_fired(run, busy, deadline=run.world.now + 12) <= 41


def test_dag_test_has_no_scheduler_to_wait_for(
    start: Callable[..., Run],  # noqa: F811
    busy: list[int],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(HOLD, "50")
    assert seconds_until_fired(start(revoked(5.0)), busy, trigger_id=None) <= 15


@pytest.mark.parametrize("wrong", ["soon", "-1", "inf", "nan"])
def test_a_wrong_setting_is_named_before_anything_is_started(
    world: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    monkeypatch.setenv(HOLD, wrong)
    with pytest.raises(SopsConfigException, match=r"\[sops\] deferral_hold: must be seconds, not negative, not '"):
        deferral_hold()
    one = AirflowTask({"template_id": 103}).run(deferrable=True)
    assert isinstance(one.error, SopsConfigException)
    assert world.fake.tasks == []


def test_a_triggerer_where_it_is_set_wrong_goes_on_with_the_default(
    start: Callable[..., Run],  # noqa: F811
    busy: list[int],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = start(revoked(2.0))
    with pytest.raises(TaskDeferred) as deferral:
        run.sensor(deferrable=True).execute(run.ti.context)
    monkeypatch.setenv(HOLD, "soon")
    in_triggerer(run, deferral.value.trigger.serialize(), busy, 1)
    assert run.world.elapsed <= 15


def test_airflow_s_own_timeout_leaves_room_for_it(
    start: Callable[..., Run],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(HOLD, "300")
    run = start(revoked(5.0))
    with pytest.raises(TaskDeferred) as deferral:
        run.sensor(deferrable=True, timeout=60).execute(run.ti.context)
    assert deferral.value.timeout is not None
    assert deferral.value.timeout.total_seconds() == pytest.approx(60 + 300 + TRIGGER_TIMEOUT_MARGIN, abs=5)


@pytest.mark.parametrize(("given", "seconds"), [("", 10.0), ("0", 0.0), (" 20 ", 20.0), ("2.5", 2.5)])
def test_how_it_is_read(monkeypatch: pytest.MonkeyPatch, given: str, seconds: float) -> None:
    monkeypatch.setenv(HOLD, given)
    assert deferral_hold() == seconds
