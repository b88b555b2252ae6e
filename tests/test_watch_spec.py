# SPDX-License-Identifier: Apache-2.0
"""The arguments of a watch, as they are checked when its DAG is read."""

from __future__ import annotations

import datetime
import json
from inspect import signature
from typing import Any

import pytest

from airflow_provider_sops.triggers.sops import SopsTaskEndedTrigger
from airflow_provider_sops.watch_spec import WatchSpec, make_watch_spec


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": ""}, "name: must be a text of up to 200 characters"),
        ({"name": "x" * 201}, "name: must be a text of up to 200 characters"),
        ({"name": "two\nlines"}, "name: must be a text"),
        ({"name": 7}, "name: must be a text"),
        ({"template_source": "mine"}, "template_source"),
        ({"template_ids": ["x"]}, "template_ids"),
        ({"states": ["FINISHED", "RUNNING"]}, "states: RUNNING cannot be watched for; there are: .*FAILED.*REVOKED"),
        ({"states": []}, "states: must name at least one state"),
        ({"since": "yesterday"}, "since: must be a datetime, or ISO 8601, not 'yesterday'"),
        ({"since": "2026-11-22T13:03:25"}, "since: must have a time zone"),
        ({"bk_biz_id": "x"}, "bk_biz_id"),
        ({"scope": "site"}, "scope"),
        ({"poll_interval": -1}, "poll_interval"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        make_watch_spec(**{"name": "test"} | arguments)


def test_the_trigger_takes_the_arguments_of_an_order() -> None:
    assert signature(SopsTaskEndedTrigger).parameters == signature(make_watch_spec).parameters


def test_equal_orders_are_equal_however_they_are_given() -> None:
    moment = datetime.datetime(2026, 11, 22, 13, 3, 25, tzinfo=datetime.UTC)
    one = make_watch_spec(
        name="test",
        template_ids=101,
        template_names="a",
        states="FINISHED",
        since=moment,
        bk_biz_id="",
        poll_interval=1,
    )
    same = make_watch_spec(name="test", template_ids=["101", 101], template_names=["a", "a"], since=moment.isoformat())
    assert one == same
    assert one.since_moment == moment
    assert one.bk_biz_id is None
    assert one.poll_interval == 10, "SOPS answers from its cache for so long"


def test_a_row_gives_the_order_back() -> None:
    spec = make_watch_spec(name="test", template_ids=[102, 101], states=["REVOKED", "FINISHED"], bk_biz_id=2)
    row = json.loads(json.dumps(spec.kwargs()))
    assert row["template_ids"] == [101, 102]
    assert make_watch_spec(**row) == spec
    assert isinstance(spec, WatchSpec)
