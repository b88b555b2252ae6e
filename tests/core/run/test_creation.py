# SPDX-License-Identifier: Apache-2.0
"""A task that was created is started only when it is found under the tag that counts, without any I/O."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.run.creation import create_and_find
from tests.core.run.test_search import BEFORE, TAG, run
from tests.samples_of_sops import answer_with

OWN = {"id": 9, "name": TAG.name("Release", 1), "create_method": "api"}
OF_THE_RUN_BEFORE = {"id": 5, "name": BEFORE.name("Release", 2), "create_method": "api"}


def carry_out(flow: Flow[Any], *lists: list[dict[str, Any]]) -> Any:
    """Carry a flow out; each list of tasks is the answer to one search, the last one to all that follow."""
    remaining = list(lists)
    sent: Any = None
    while True:
        try:
            asked = flow.send(sent)
        except StopIteration as stop:
            return stop.value
        sent = None
        if isinstance(asked, Call) and asked.name == "create_task":
            sent = answer_with("create_task", {"task_id": 9, "task_url": "", "pipeline_tree": {}})
        elif isinstance(asked, Call):
            sent = answer_with(asked.name, remaining.pop(0) if len(remaining) > 1 else remaining[0])


def test_it_is_searched_for_until_it_is_listed() -> None:
    found = carry_out(create_and_find(run(), 1), [], [OWN])
    assert (found.tag, dict(found.tasks)) == (TAG, {1: 9})


def test_one_of_the_run_before_a_clear_that_comes_to_light_meanwhile_counts() -> None:
    cleared = run(cleared=True)
    flow = create_and_find(cleared, 1)
    with pytest.raises(errors.SopsInvalidAnswerError, match="under its tag 'afc"):
        carry_out(flow, [OF_THE_RUN_BEFORE], [OF_THE_RUN_BEFORE, OWN])
