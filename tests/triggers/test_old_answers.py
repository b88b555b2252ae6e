# SPDX-License-Identifier: Apache-2.0
"""What a wait shows and asks where SOPS is old: names of classes, APIs that only make a log richer, deleted tasks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_sops import exceptions
from tests.old_answers import BARE_ROWS, COUNTS_ALONE, NO_WORD_OF_RETRIES, leave_out, with_class_names
from tests.sensors.test_sops import Run, start  # noqa: F401 (a fixture)
from tests.triggers.test_verdict_cases import busy, defer  # noqa: F401 (fixtures)
from tests.verdict_cases import HOUR, Act, Case, both, delete, fault, later, old, operate, operate_node

Wait = Callable[[Run], None]
INTERVENTION = "get_tasks_manual_intervention_state"


@pytest.fixture(params=["poked", "deferred"])
def wait(request: pytest.FixtureRequest, defer: Callable[..., None]) -> Wait:  # noqa: F811
    """Wait in a worker, or in a triggerer."""
    return Run.poke if request.param == "poked" else defer


def test_names_of_classes_are_shown_nowhere(start: Callable[..., Run], wait: Wait) -> None:  # noqa: F811
    events = ((900.0, operate_node("confirm", "callback")),)
    case = Case("classes", "success", "Pause for a person", before=old(edit=with_class_names), events=events)
    run = start(replace(case, within=HOUR))
    wait(run)
    assert run.result["task_name"] == "Pause for a person"
    assert not [line for line in run.lines if "class '" in line]
    # the start event has no name, so it is no node that is done
    words = "'Pause for a person': RUNNING, 2 (of 4 )?nodes done, now: confirm[.]"
    assert [line for line in run.lines if re.search(words, line)]


def test_what_sops_says_of_its_retries_costs_one_request(start: Callable[..., Run], wait: Wait) -> None:  # noqa: F811
    asked = {}
    for left_out in ((), COUNTS_ALONE):
        run = start(Case("fails", "failure", "Always fails", before=old(*left_out)))
        wait(run)
        assert type(run.error) is exceptions.SopsTaskFailedException
        asked[left_out] = [request.api for request in run.world.fake.requests]
    assert asked[()] == asked[COUNTS_ALONE]
    flagged = [one for one in run.world.fake.requests if "with_auto_retry_status" in one.params]
    assert [{"with_ex_data", "with_failed_node_info"} < set(one.params) for one in flagged] == [True]


def test_a_line_says_how_certain_a_retry_is(start: Callable[..., Run], wait: Wait) -> None:  # noqa: F811
    for left_out, line in (
        ((), "A node failed; SOPS will retry it by itself."),
        (COUNTS_ALONE, "A node failed; SOPS will retry it by itself."),
        (NO_WORD_OF_RETRIES, "A node failed; SOPS may retry it by itself."),
    ):
        run = start(Case("retries", "success", "Retries by itself", before=both(later(2), old(*left_out))))
        wait(run)
        assert run.result["state"] == "FINISHED"
        assert line in run.lines


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        (lambda fake, task_id: fake.remove_api(INTERVENTION), "(SOPS can since 3.6.22)"),
        (fault("redirect", INTERVENTION, times=None, location="/"), "(SOPS can since 3.6.22)"),
        (lambda fake, task_id: fake.deny(INTERVENTION), None),
    ],
    ids=["unknown to the gateway", "redirected", "not granted"],
)
def test_that_it_waits_for_a_person_is_asked_once_where_it_cannot_be_told(
    start: Callable[..., Run],  # noqa: F811
    wait: Wait,
    missing: Act,
    line: str | None,
) -> None:
    pauses = tuple((at, operate(action)) for at, action in ((1000.0, "pause"), (1100.0, "resume")))
    events = (*pauses, (2000.0, operate_node("confirm", "callback")))
    run = start(Case("person", "success", "Pause for a person", before=missing, events=events, within=HOUR))
    wait(run)
    assert run.result["state"] == "FINISHED"
    asked = [request.time for request in run.world.fake.requests if request.api == INTERVENTION]
    assert asked
    assert max(asked) - min(asked) < 60  # tries of one question
    told = [told for told in run.lines if "waits for a person" in told]
    assert len(told) == (0 if line is None else 1)
    assert all(str(line) in one for one in told)


def test_a_deferred_wait_asks_of_a_deletion_as_often_as_of_progress(
    start: Callable[..., Run],  # noqa: F811
    defer: Callable[..., None],  # noqa: F811
) -> None:
    counts = []
    for left_out in ((), BARE_ROWS):
        events = ((2700.0, operate_node("confirm", "callback")),)  # between two reads for the log
        case = Case("person", "success", "Pause for a person", before=old(*left_out), events=events, within=HOUR)
        run = start(case)
        defer(run)
        counts.append(run.world.fake.count("get_task_status"))
    assert counts[1] == counts[0] + 1  # before it is believed that it has finished


def test_a_deleted_task_is_named_in_the_event(start: Callable[..., Run], defer: Callable[..., None]) -> None:  # noqa: F811
    events = ((30.0, delete),)
    run = start(Case("gone", "failure", "Pause for a person", before=old(*BARE_ROWS), events=events, within=HOUR))
    defer(run)
    assert type(run.error) is exceptions.SopsTaskStoppedException
    assert f"SOPS task {run.world.task_id} 'Pause for a person' was deleted in SOPS" in str(run.error)


def test_a_fake_that_leaves_out_nothing_is_as_it_was(start: Callable[..., Run]) -> None:  # noqa: F811
    run = start(Case("fails", "failure", "Always fails"))
    leave_out(run.world.fake)
    run.poke()
    assert type(run.error) is exceptions.SopsTaskFailedException
