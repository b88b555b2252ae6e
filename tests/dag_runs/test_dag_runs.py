# SPDX-License-Identifier: Apache-2.0
"""Sensor, operator and macro in real runs of DAGs: XComs, mapping, skips, reschedules, templates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops import testing
from airflow_provider_sops.compat import NONE_IS_PUSHED
from airflow_provider_sops.testing import FakeSops, Request
from tests import secrets
from tests.clients import secret_sops
from tests.docs.dag_runs import DagRun, run_dags
from tests.output import own_words

DAGS = Path(__file__).parent / "dags"
TEMPLATES = Path(testing.__file__).parent / "templates.toml"
DEEP: Any = "as deep as an output may be"
for _ in range(150):
    DEEP = [DEEP]
VALUES: dict[str, Any] = {
    "IP": "10.0.0.1",
    "empty": "",
    "lines": "one\r\ntwo\n",
    "number": 5,
    "digits": "007",
    "float": 1.5,
    "yes": True,
    "none": None,
    "list": [1, "two", [3, None]],
    "nested": {"a": {"b": [{"c": "中"}]}, "big": 1234567890123456789},
    "chinese": "中文值 — ünï",
    "literal": "${literal}",
    "biggest": 2**63 - 1,
    "smallest": -(2**63),
    "deep": DEEP,
}


@dataclass
class Runs:
    """What came of the DAGs, and the fake SOPS that they asked."""

    fake: FakeSops
    ids: dict[str, Any]
    by_id: dict[str, DagRun]
    home: Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Run all DAGs, once for all tests here."""
    home = tmp_path_factory.mktemp("dag-runs")
    templates = home / "templates.toml"
    files = (TEMPLATES, Path(__file__).parent.parent / "numbers.toml")
    templates.write_text("\n".join(file.read_text() for file in files))
    with secret_sops(templates=templates) as fake:
        kinds = fake.create_task()
        mapped = [fake.create_task(constants={"IP": f"10.0.0.{number}"}) for number in range(3)]
        failed, revoked = fake.create_task("Always fails"), fake.create_task("Long sleep")
        fake.advance(30)
        fake.operate(revoked, "revoke")
        fake.task(kinds).outputs = [
            {"key": f"${{{name}}}", "value": value, "name": name} for name, value in VALUES.items()
        ]
        # begins to run when it is asked for first, and has ended when it is asked for again: in `dag.test()` of Airflow
        # 3.0, no rescheduled sensor can be poked for the third time
        running = fake.create_task(start=False)
        fake.on_request = lambda when, request: _go_on(fake, running, when, request)
        ids = {"kinds": kinds, "ids": mapped, "failed": failed, "revoked": revoked, "running": running}
        confs: dict[str, dict[str, Any]] = {
            "kinds.py": {"kinds": kinds, "names": list(VALUES), "key": "${chinese}"},
            "mapped.py": {"ids": mapped},
            "ends.py": {"running": running, "failed": failed, "revoked": revoked},
            "rendered.py": {"kinds": kinds},
        }
        found = run_dags(fake, home, DAGS, {DAGS / name: conf for name, conf in confs.items()})
        by_id = {dag_id: run for dags in found.values() for dag_id, run in dags.items()}
        secrets.FINDER.observation(own_words(by_id["ends"].log), "output of the runs")
        secrets.FINDER.look_at_files(home)
        yield Runs(fake, ids, by_id, home)


def _go_on(fake: FakeSops, task_id: int, when: str, request: Request) -> None:
    if task_id not in request.task_ids:
        return
    if not fake.task(task_id).is_started:
        fake.start_task(task_id)
    elif when == "after" and request.api == "get_task_status" and fake.task(task_id).state == "RUNNING":
        fake.advance(30)


# ---- kinds ----


def test_every_kind_of_value_goes_through_xcoms(runs: Runs) -> None:
    run = runs.by_id["kinds"]
    assert run.state == "success", run.log
    assert run.xcom("outputs") == VALUES
    assert run.xcom("pull") == {name: repr(value) for name, value in VALUES.items()}
    assert run.xcom("by_argument") == [VALUES["IP"], VALUES["nested"], VALUES["chinese"]]
    keys = {key for task_id, key in run.xcoms if task_id == "outputs"}
    names = {name for name, value in VALUES.items() if value is not None or NONE_IS_PUSHED}
    assert keys - {"_link_SopsTaskLink"} == {*names, *map("${{{}}}".format, names), "return_value", "sops_task_url"}


def test_a_key_may_be_a_template(runs: Runs) -> None:
    run = runs.by_id["kinds"]
    assert run.xcom("selected") == {"chinese": VALUES["chinese"]}
    assert run.rendered["selected"]["keys"] == ["${chinese}"]


def test_what_pushes_nothing_pushes_nothing(runs: Runs) -> None:
    own = [key for task_id, key in runs.by_id["kinds"].xcoms if task_id == "silent"]
    assert [key for key in own if not key.startswith("_link")] == []


def test_the_link_is_pushed(runs: Runs) -> None:
    url = runs.by_id["kinds"].xcom("outputs", "sops_task_url")
    assert url == runs.fake.site.task_url(runs.fake.task(runs.ids["kinds"]))
    # Airflow 3 keeps the link itself as an XCom
    assert runs.by_id["kinds"].xcoms.get(("outputs", "_link_SopsTaskLink"), [url]) == [url]


# ---- mapped ----


def test_mapped_over_ids_that_a_task_gives(runs: Runs) -> None:
    run = runs.by_id["mapped"]
    assert run.state == "success", run.log
    assert sorted(one["sops_task_id"] for one in run.xcoms["wait", "return_value"]) == runs.ids["ids"]
    assert run.xcom("gather") == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]
    assert sorted(run.xcoms["outputs", "${IP}"]) == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]


def test_an_id_as_an_argument(runs: Runs) -> None:
    assert runs.by_id["mapped"].xcom("one")["IP"] == "10.0.0.0"


# ---- ends ----


def test_a_rescheduled_sensor_gives_its_slot_back_and_ends(runs: Runs) -> None:
    run = runs.by_id["ends"]
    assert run.tasks["rescheduled"] == {"success"}, run.log
    asked = [one for one in runs.fake.requests if one.api == "get_task_status" and runs.ids["running"] in one.task_ids]
    assert len({one.connection for one in asked}) >= 3  # each poke is a new process, with a connection of its own
    assert run.xcom("rescheduled")["state"] == "FINISHED"


def test_a_template_is_filled_with_outputs(runs: Runs) -> None:
    run = runs.by_id["ends"]
    assert run.xcom("says") == "ping 127.0.0.1; exit 0"
    assert run.tasks["says_unknown"] == {"failed"}
    assert "$<HOST> is not among the SOPS task's outputs; there are: EXIT, IP, job_script_type" in run.log


@pytest.mark.parametrize(
    ("task_id", "state", "after"),
    [("skipped", "skipped", "skipped"), ("failed", "failed", "upstream_failed"), ("revoked", "failed", None)],
)
def test_a_bad_end(runs: Runs, task_id: str, state: str, after: str | None) -> None:
    run = runs.by_id["ends"]
    assert run.tasks[task_id] == {state}, run.log
    if after:
        assert run.tasks[f"after_{task_id}"] == {after}


def test_a_bad_end_is_explained_in_the_log(runs: Runs) -> None:
    log = runs.by_id["ends"].log
    assert "Node 'call' (plugin bk_http_request" in log
    assert "请求异常，详细信息: Connection refused" in log
    assert "has ended as REVOKED, which is not one of the allowed states" in log


def test_an_absent_key_pushes_nothing(runs: Runs) -> None:
    run = runs.by_id["ends"]
    assert run.tasks["absent"] == {"failed"}
    words = " ".join(run.log.split())  # Airflow 3.0 breaks a message into lines
    assert "has no output ${HOST}; there are: ${EXIT}, ${IP}, ${job_script_type}" in words
    own = {key for task_id, key in run.xcoms if task_id == "absent" and not key.startswith("_link")}
    assert own == {"sops_task_url"}


def test_what_cannot_be_read_is_not_skipped(runs: Runs) -> None:
    run = runs.by_id["ends"]
    assert run.tasks["unreadable"] == {"failed"}
    assert "bk_biz_id=4242" in run.log


def test_out_of_time_in_a_deferral_it_is_revoked(runs: Runs) -> None:
    """By the trigger, or where Airflow is faster, by what Airflow calls then."""
    run = runs.by_id["ends"]
    assert run.tasks["out_of_time"] == {"failed"}, run.log
    (task,) = [one for one in runs.fake.tasks if "out_of_time" in one.name]
    assert (task.state, len(task.starts)) == ("REVOKED", 1), run.log
    assert "(execution_timeout): it is RUNNING; it was revoked." in run.log or "was killed: revoked SOPS" in run.log


# ---- rendered ----


def test_numbers_are_taken_as_text(runs: Runs) -> None:
    """Of a template that looks like a number, Jinja's native types make one."""
    run = runs.by_id["rendered"]
    assert [run.tasks[task] for task in ("by_number", "confirm", "confirmed")] == [{"success"}] * 3, run.log
    (sops_task,) = [one for one in runs.fake.tasks if one.name.startswith("20261128 ")]
    assert (sops_task.state, run.xcom("by_number", "sops_task_id")) == ("FINISHED", sops_task.id)
    assert run.xcom("confirmed")["outputs"] == {"1": 5}
    assert run.xcom("confirmed", "${1}") == 5


@pytest.mark.parametrize(
    ("task_id", "says"),
    [
        ("none_keys", "keys: was given, but what it was to come from gave None"),
        ("none_business", "bk_biz_id: was given, but what it was to come from gave None"),
        ("none_template", "template_id: was given, but what it was to come from gave None"),
        ("no_constants", "constants: must be a dict, not []"),
        ("no_nodes", "execute_task_nodes_id: must name at least one, not be an empty list"),
        ("no_business", "bk_biz_id: must be a positive whole number, not ''"),
    ],
)
def test_nothing_is_no_value(runs: Runs, task_id: str, says: str) -> None:
    run = runs.by_id["rendered"]
    assert run.tasks[task_id] == {"failed"}
    assert says in " ".join(run.log.split())
    assert [key for task, key in run.xcoms if task == task_id and not key.startswith("_link")] == []


def test_nothing_in_one_of_several_mapped(runs: Runs) -> None:
    run = runs.by_id["rendered"]
    assert run.tasks["mapped_keys"] == {"failed", "success"}
    assert run.xcoms["mapped_keys", "return_value"] == [{"IP": VALUES["IP"]}]
