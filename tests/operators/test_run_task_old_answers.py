# SPDX-License-Identifier: Apache-2.0
"""A further try that finds a FAILED task which SOPS may yet retry by itself, where it does not say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sops.exceptions import SopsTaskFailedException
from tests.old_answers import COUNTS_ALONE, NO_WORD_OF_RETRIES, leave_out, without_end_times
from tests.operators.airflow_task import AirflowTask
from tests.operators.conftest import World
from tests.operators.test_run_task_again import FAILS, airflow, dies  # noqa: F401 (a fixture)
from tests.verdict_cases import RETRIES_IN_VAIN

RETRIES_BY_ITSELF = {"template_id": 117}


def nothing_more(api: str, data: Any) -> None:
    """Leave nothing else out."""


@pytest.fixture(
    params=[(COUNTS_ALONE, nothing_more), (NO_WORD_OF_RETRIES, nothing_more), (NO_WORD_OF_RETRIES, without_end_times)],
    ids=["the counts alone", "nothing", "nothing, nor when it failed"],
)
def old_world(world: World, request: pytest.FixtureRequest) -> World:
    """A fake SOPS that says of its own retries what the release of that time does."""
    left_out, edit = request.param
    leave_out(world.fake, *left_out, edit=edit)
    return world


def test_a_task_that_sops_retries_by_itself_is_neither_revoked_nor_run_anew(
    old_world: World,
    airflow: dict[str, Any],  # noqa: F811
) -> None:
    task = AirflowTask(RETRIES_BY_ITSELF, **airflow)
    first = dies(old_world, task, after=2.0)
    assert old_world.states()[first] == "FAILED"
    assert task.run().error is None
    assert old_world.states() == {first: "FINISHED"}
    assert old_world.started() == [first]


def test_a_task_that_nobody_retries_is_run_anew_at_once(old_world: World, airflow: dict[str, Any]) -> None:  # noqa: F811
    task = AirflowTask(FAILS, **airflow)
    assert isinstance(task.run().error, SopsTaskFailedException)
    begin = old_world.now
    assert isinstance(task.run().error, SopsTaskFailedException)
    assert list(old_world.states().values()) == ["REVOKED", "FAILED"]
    assert old_world.now - begin < 60


def test_a_first_try_waits_for_the_retries_too(old_world: World, airflow: dict[str, Any]) -> None:  # noqa: F811
    assert AirflowTask(RETRIES_BY_ITSELF, **airflow).run().error is None
    assert list(old_world.states().values()) == ["FINISHED"]


@pytest.mark.parametrize("release", ["3.28", "3.20"])
def test_a_task_in_the_middle_of_retries_is_waited_for_by_release(
    make_world: Callable[..., World], release: str
) -> None:
    world = make_world(release=release)
    task = AirflowTask(RETRIES_BY_ITSELF)
    first = dies(world, task, after=2.0)
    assert task.run().error is None
    assert world.states() == {first: "FINISHED"}


@pytest.mark.parametrize("left_out", [COUNTS_ALONE, NO_WORD_OF_RETRIES])
def test_a_task_whose_retries_are_over_is_run_anew(make_world: Callable[..., World], left_out: tuple[str, ...]) -> None:
    world = make_world(templates=RETRIES_IN_VAIN)
    leave_out(world.fake, *left_out)
    task = AirflowTask({"template_id": 102})
    begin = world.now
    assert isinstance(task.run().error, SopsTaskFailedException)
    assert world.now - begin >= 20  # two retries, ten seconds after a failure each
    assert isinstance(task.run().error, SopsTaskFailedException)
    assert list(world.states().values()) == ["REVOKED", "FAILED"]
