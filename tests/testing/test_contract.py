# SPDX-License-Identifier: Apache-2.0
"""The fake answers as a real SOPS did: the recorded requests, at the recorded times, give the recorded answers."""

from __future__ import annotations

import fnmatch
import re

import pytest

from airflow_provider_sops.testing import FakeSops
from tests.testing.recorded import HEADERS, SCENARIOS, Player, comparable, differences

_SLOW_ENGINE = "the real engine needs some milliseconds from RUNNING to its first nodes"
_ELSEWHERE = "tasks of other scenarios count too"
_PLUGIN = "the real plugin failed in another way when it missed inputs; the fake's fails as its template says"
#: Differences that are meant: "scenario/sample" -> {path of the field: reason}. Both may hold wildcards.
ALLOWED: dict[str, dict[str, str]] = {
    "01-*/14-get_task_status-RUNNING": {"body.data.children": _SLOW_ENGINE},
    "13a-*/03-status-RUNNING": {"body.data.children": _SLOW_ENGINE},
    "*/*-get_task_node_log*": {
        "body.data": "see test_a_nodes_log_is_written_as_the_recorded_one",
        "headers.Allow": "the order of a set",
    },
    "05a-*/23-get_task_node_detail-after-partial-inputs": {
        "body.data.ex_data": _PLUGIN,
        "body.data.outputs[[][45]].value": _PLUGIN,
    },
    "12d-*/1[345]-*": {"body.count": _ELSEWHERE},
    "20f-*/09-query_task_count-status": {"body.data.total": _ELSEWHERE, "body.data.groups[[][012]].value": _ELSEWHERE},
}


USERS = {"tester": "*", "other_user": "*", "tmpl_owner": "*"}


def _is_allowed(sample: str, place: str) -> bool:
    return any(
        fnmatch.fnmatchcase(sample, samples) and any(fnmatch.fnmatchcase(place, pattern) for pattern in places)
        for samples, places in ALLOWED.items()
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_recorded_scenario(scenario: str) -> None:
    found = []
    with FakeSops(users=USERS, trusted_apps={"bk_bcs"}, start_delay=0.05) as fake:
        player = Player(fake, scenario)
        for exchange in player.exchanges():
            status, headers, answer = player.play(exchange)
            recorded = exchange.response
            pairs = {
                "status": (recorded["http_status"], status),
                "body": (
                    comparable(player.known(recorded.get("json", recorded.get("text", "")))),
                    comparable(answer, url=fake.url),
                ),
                "headers": (
                    comparable({name: recorded["headers"].get(name) for name in HEADERS}),
                    comparable({name: headers.get(name) for name in HEADERS}, url=fake.url),
                ),
            }
            for part, (left, right) in pairs.items():
                for place, text in differences(left, right, part):
                    if not _is_allowed(f"{scenario}/{exchange.name}", place):
                        found.append(f"{exchange.name}: {place}: {text}")
    assert not found, "\n".join(found)


def _written(log: str) -> list[tuple[str, str]]:
    """How the records of a log begin, with their levels; the words of errors are each plugin's own."""
    records = [re.match(r"\[[-0-9: ,]+\]\[(\w+)\] ([^:{<'\"]*)", comparable(line)) for line in log.splitlines()]
    return [(record[1], "" if record[1] == "ERROR" else record[2]) for record in records if record]


def test_a_nodes_log_is_written_as_the_recorded_one() -> None:
    scenario = "20f-misc-apis"
    with FakeSops(users=USERS, start_delay=0.05) as fake:
        player = Player(fake, scenario)
        exchange = next(player.exchanges())
        assert exchange.name == "03-get_task_node_log"
        _, _, answer = player.play(exchange)
    # on the recorded server somebody listened to news of failed nodes
    log = "\n".join(line for line in answer["data"].splitlines() if "event task_failed not found" not in line)
    assert _written(log) == _written(exchange.response["json"]["data"])
