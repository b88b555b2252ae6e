# SPDX-License-Identifier: Apache-2.0
"""Each example DAG runs as it stands, in a real Airflow, against the fake SOPS."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.compat import HAS_ASSETS
from airflow_provider_sops.compat.required_actions import HAS_REQUIRED_ACTIONS
from airflow_provider_sops.testing import FakeSops, Request
from tests.docs.dag_runs import DagRun, run_dags

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
OUTPUTS = {"IP": "10.0.0.8", "EXIT": "0"}


def _finished_task(fake: FakeSops) -> dict[str, Any]:
    """A SOPS task that has ended, so that nobody has to wait for it."""
    task_id = fake.create_task("Two steps with outputs", constants=OUTPUTS)
    fake.advance(10)
    return {"sops_task_id": task_id}


def _with(**conf: Any) -> Callable[[FakeSops], dict[str, Any]]:
    """Trigger with these parameters, on a fake on which no wait takes long."""

    def prepare(fake: FakeSops) -> dict[str, Any]:
        def let_time_pass(when: str, request: Request) -> None:
            if when == "after" and request.api in ("start_task", "operate_node"):
                fake.advance(10)

        fake.on_request = let_time_pass
        return conf

    return prepare


def _confirmed_in_sops(fake: FakeSops) -> dict[str, Any]:
    """Somebody confirms in SOPS as soon as the task waits: ``dag.test()`` runs one task after the other."""
    prepare = _with()
    conf = prepare(fake)
    let_time_pass = fake.on_request
    assert let_time_pass is not None

    def confirm(when: str, request: Request) -> None:
        let_time_pass(when, request)
        if when == "before" and request.api == "get_tasks_status":
            for task in fake.tasks:
                if task.state == "RUNNING" and task.name.startswith("sops_approve_at_pause"):
                    with suppress(Exception):  # it has not come to the node
                        fake.operate_node(task.id, "confirm", "callback", user="wang")

    fake.on_request = confirm
    return conf


#: what each DAG is triggered with
CONFS: dict[str, Callable[[FakeSops], dict[str, Any]]] = {
    "sops_wait_and_use_outputs": _finished_task,
    "sops_taskflow": _finished_task,
    "sops_run_task": _with(host="10.0.0.8"),
    "sops_run_tasks_in_parallel": _with(hosts=["10.0.0.8", "10.0.0.9", "10.0.0.10"]),
    "sops_continue_at_pause": _with(),
    **({"sops_start_when_task_ends": _with()} if HAS_ASSETS else {}),
    # last, as it adds to what the others have set
    **({"sops_approve_at_pause": _confirmed_in_sops} if HAS_REQUIRED_ACTIONS else {}),
}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeSops]:
    """The SOPS of the examples."""
    with FakeSops() as fake:
        yield fake


@pytest.fixture(scope="module")
def runs(fake: FakeSops, tmp_path_factory: pytest.TempPathFactory) -> dict[str, DagRun]:
    """What came of a run of each example, by DAG id."""
    confs = {EXAMPLES / f"{name}.py": conf(fake) for name, conf in CONFS.items()}
    found = run_dags(fake, tmp_path_factory.mktemp("home"), EXAMPLES, confs)
    return {dag_id: run for dags in found.values() for dag_id, run in dags.items()}


def test_every_example_is_run() -> None:
    needs_newer = set() if HAS_ASSETS else {"sops_start_when_task_ends"}
    needs_newer |= set() if HAS_REQUIRED_ACTIONS else {"sops_approve_at_pause"}
    assert {file.stem for file in EXAMPLES.glob("*.py")} - needs_newer == set(CONFS)


@pytest.mark.parametrize("dag_id", CONFS)
def test_an_example_succeeds(runs: dict[str, DagRun], dag_id: str) -> None:
    run = runs[dag_id]
    assert run.state == "success", run.log
    assert {state for states in run.tasks.values() for state in states} == {"success"}, run.log


def test_outputs_go_through_the_macro_into_the_shell(runs: dict[str, DagRun]) -> None:
    run = runs["sops_wait_and_use_outputs"]
    assert run.xcom("wait")["outputs"] == OUTPUTS
    assert {key: run.xcom("wait", key) for key in ("IP", "${IP}", "EXIT", "${EXIT}")} == {
        "IP": "10.0.0.8",
        "${IP}": "10.0.0.8",
        "EXIT": "0",
        "${EXIT}": "0",
    }
    assert run.rendered["use"]["bash_command"] == "echo the host 10.0.0.8 ended with exit code 0"
    assert run.xcom("use") == "the host 10.0.0.8 ended with exit code 0"


def test_outputs_go_into_taskflow_functions(runs: dict[str, DagRun]) -> None:
    run = runs["sops_taskflow"]
    assert run.xcom("wait")["state"] == "FINISHED"
    assert run.xcom("is_good") is True
    assert run.xcom("report") == "The host 10.0.0.8 ended with exit code 0."


def test_a_template_is_run_once_and_its_outputs_used(runs: dict[str, DagRun], fake: FakeSops) -> None:
    run = runs["sops_run_task"]
    assert run.xcom("run", "IP") == "10.0.0.8"
    assert run.xcom("use") == "the host 10.0.0.8 ended with exit code 0"
    assert len(fake.task(run.xcom("run", "sops_task_id")).starts) == 1


def test_several_tasks_are_run_each_once(runs: dict[str, DagRun], fake: FakeSops) -> None:
    run = runs["sops_run_tasks_in_parallel"]
    ids = run.xcoms["run", "sops_task_id"]
    assert len(set(ids)) == 3
    assert [len(fake.task(task_id).starts) for task_id in ids] == [1, 1, 1]
    assert run.xcom("report") == ["10.0.0.8: 0", "10.0.0.9: 0", "10.0.0.10: 0"]


def test_a_paused_task_goes_on_with_what_the_dag_says(runs: dict[str, DagRun], fake: FakeSops) -> None:
    run = runs["sops_continue_at_pause"]
    task_id = run.xcom("start", "sops_task_id")
    assert len(fake.task(task_id).starts) == 1
    assert run.xcom("outputs", "answer") == {"answer": f"the first half of {task_id} is good"}


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_an_example_needs_nothing_of_the_fake(file: Path) -> None:
    imported = [node.module or "" for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in imported if "testing" in name]


@pytest.mark.skipif(not HAS_REQUIRED_ACTIONS, reason="this Airflow has no Required Actions")
def test_an_approval_beside_a_run(runs: dict[str, DagRun], fake: FakeSops) -> None:
    run = runs["sops_approve_at_pause"]
    assert run.xcom("approve")["answered_by"] == "wang"
    assert run.xcom("report") == "127.0.0.1 went on: Approve in sops"
