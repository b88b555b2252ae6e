# SPDX-License-Identifier: Apache-2.0
"""Every code block of the READMEs and the docs is run, or checked where it cannot be run here.

A block that no rule covers fails. The pages in English are run; those in Chinese must have the same blocks, comments
left out.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from airflow_provider_sops.compat import HAS_ASSETS, HAS_PARTITION_KEYS
from airflow_provider_sops.compat.required_actions import HAS_REQUIRED_ACTIONS
from airflow_provider_sops.connection import EXTRA_FIELDS, Site, parse_connection
from airflow_provider_sops.core.errors import SopsNotFoundError
from airflow_provider_sops.core.http.client import SopsClient
from airflow_provider_sops.testing import FakeSops, Request
from tests.docs.blocks import (
    ARCHITECTURE,
    DESIGN,
    README,
    ROOT,
    Block,
    blocks,
    lead_to,
    pages,
    translated_pages,
    translation,
    without_comments,
)
from tests.docs.dag_runs import DagRun, environ, run_dags

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _is_for_this_airflow(block: Block) -> bool:
    if "PartitionedAssetTimetable" in block.text:
        return HAS_PARTITION_KEYS
    if "SopsApprovalOperator" in block.text or "sops_answers" in block.text:
        return HAS_REQUIRED_ACTIONS
    return HAS_ASSETS or not re.search("^from airflow.sdk import|end_from_trigger=True", block.text, re.MULTILINE)


BLOCKS = [block for page in pages() for block in blocks(page) if _is_for_this_airflow(block)]
OUTPUTS = {"IP": "10.0.0.8", "EXIT": "0"}
#: the id that the pages use: the first task of the fake
TASK_ID = 50001
#: tasks that are started when they are first looked at, so that there is something to wait for
LATER: set[int] = set()
RUN_COMMANDS = ROOT / "tests" / "cli" / "run_commands.py"
_BASH_OF_AIRFLOW_2 = importlib.util.find_spec("airflow.providers.standard") is None


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _only(language: str, kind: Callable[[Block], bool] = lambda block: True) -> list[Any]:
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language == language and kind(block)]


# ---- what a block is ----


def is_dag(block: Block) -> bool:
    return re.search(r"^with DAG\(|^@dag\b", block.text, re.M) is not None


def is_test(block: Block) -> bool:
    return re.search(r"^def test_", block.text, re.M) is not None


def is_script(block: Block) -> bool:
    return not is_dag(block) and not is_test(block)


def is_connection(block: Block) -> bool:
    return "conn_type" in json.loads(block.text)


def is_server(block: Block) -> bool:
    return without_comments("bash", block.text).startswith("python -m airflow_provider_sops.testing")


def is_connection_variable(block: Block) -> bool:
    return without_comments("bash", block.text).startswith("export AIRFLOW_CONN_")


def is_site(block: Block) -> bool:
    return block.language == "bash" and any("airflow standalone" in command for command in block.commands)


def is_for_airflow(block: Block) -> bool:
    known = block.language == "bash" and any(_program(command) == "airflow" for command in block.commands)
    return known and not is_site(block)


# ---- commands that are not run here: they would need the network, or run these very tests, or test_newcomer runs them.
# Why, and what is checked.


def _check_make(command: list[str]) -> None:
    # `make test` runs this; `make demo` is run by itself
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
    assert {word for word in command[1:] if not word.startswith("ARGS=")} <= targets, f"make knows {sorted(targets)}"


def _check_pip(command: list[str]) -> None:
    # would install into the environment of these tests, from the network
    assert command[1] == "install"
    for wanted in command[2:]:
        if wanted.startswith("dist/"):
            assert wanted == "dist/*.whl"
            continue
        name, _, extra = wanted.rstrip("]").partition("[")
        assert name in (".", PROJECT["name"])
        assert not extra or extra in PROJECT["optional-dependencies"]


def _check_git(command: list[str]) -> None:
    # needs the network
    assert command[1:] == ["clone", PROJECT["urls"]["Source"]]


def _check_cd(command: list[str]) -> None:
    # into what git makes of that address
    assert command[1:] == [PROJECT["urls"]["Source"].rpartition("/")[2]]


def _check_mkdir(command: list[str]) -> None:
    # test_newcomer runs it
    assert command[1:] == ["-p", "~/airflow/dags"]


def _check_source(command: list[str]) -> None:
    # the environment of `make env`
    assert command[1:] == [".venv/bin/activate"]


def _check_export(command: list[str]) -> None:
    # test_newcomer sets those of the page Install; test_tests_pass has the like of the others
    names = r"(AIRFLOW_HOME|AIRFLOW__[A-Z]+__[A-Z_]+|PYTHONPATH)"
    assert all(re.fullmatch(rf"{names}=[\w~/-]+", setting) for setting in command[1:])


def _check_python(command: list[str]) -> None:
    # test_tests_pass runs it
    assert command[1:] == ["-m", "pytest", "~/airflow/tests"]


CHECKED_ONLY: dict[str, Callable[[list[str]], None]] = {
    "make": _check_make,
    "pip": _check_pip,
    "git": _check_git,
    "cd": _check_cd,
    "mkdir": _check_mkdir,
    "source": _check_source,
    "export": _check_export,
    "python": _check_python,
}


@pytest.mark.parametrize("block", [pytest.param(block, id=str(block)) for block in BLOCKS])
def test_a_rule_covers_the_block(block: Block) -> None:
    if block.language == "bash":
        known = {*CHECKED_ONLY, "airflow"}
        special = is_connection_variable(block) or is_server(block) or is_site(block)
        assert special or {_program(command) for command in block.commands} <= known
    elif block.language == "mermaid":
        # `make lint` checks that tools/diagrams.py has made those of the code; `make test-docs`, that all are drawn
        assert block.file in (_name(DESIGN), _name(ARCHITECTURE))
    else:
        assert block.language in ("json", "python", "toml"), f"no rule for blocks of {block.language!r}"


@pytest.mark.parametrize("page", translated_pages(), ids=_name)
def test_both_languages_have_the_same_blocks(page: Path) -> None:
    ours = [(block.language, without_comments(block.language, block.text)) for block in blocks(page)]
    theirs = [(block.language, without_comments(block.language, block.text)) for block in blocks(translation(page))]
    assert ours == theirs


def test_the_design_page_names_what_is_there() -> None:
    package = ROOT / "airflow_provider_sops"
    names = {module.name for module in package.rglob("*.py")}
    named = re.findall(r"`([\w/]+(?:\.py|/))`", DESIGN.read_text())
    missing = {path for path in named if path not in names and not any((at / path).exists() for at in (package, ROOT))}
    assert missing == set()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_exception_has_its_entry(language: str) -> None:
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / language / "failures.md").read_text(), re.M)
    defined = ast.parse((ROOT / "airflow_provider_sops" / "exceptions.py").read_text()).body
    classes = {node.name for node in defined if isinstance(node, ast.ClassDef)}
    assert sorted(headings) == sorted(classes | {"AirflowSensorTimeout"})


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_field_of_the_connection_is_named(language: str) -> None:
    page = ROOT / "docs" / language / "connect.md"
    named = re.findall(r"^\| `([a-z_]+)` \|", page.read_text(), re.M)
    assert sorted(named) == sorted(EXTRA_FIELDS)


@pytest.mark.parametrize("page", [README, translation(README)], ids=_name)
def test_the_first_line_says_that_it_is_not_mozilla_sops(page: Path) -> None:
    assert "Mozilla SOPS" in page.read_text().splitlines()[0]


@pytest.mark.parametrize(
    "block", _only("bash", lambda block: not is_connection_variable(block) and not is_server(block))
)
def test_commands_that_are_only_checked(block: Block) -> None:
    for command in block.commands:
        check = CHECKED_ONLY.get(_program(command))
        if check:
            check(shlex.split(command))


def _program(command: str) -> str:
    return next(word for word in command.split() if "=" not in word)


# ---- connections ----


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSops]:
    """A fake SOPS with the pages' own templates too, and a finished task of the pages' id; no wait there takes long."""
    templates = tmp_path_factory.mktemp("templates") / "templates.toml"
    own = [block.text for block in BLOCKS if block.language == "toml"]
    templates.write_text("\n".join([(ROOT / "airflow_provider_sops/testing/templates.toml").read_text(), *own]))
    with FakeSops(templates=templates) as fake:
        assert fake.create_task("Two steps with outputs", constants=OUTPUTS) == TASK_ID
        fake.advance(10)

        def let_time_pass(when: str, request: Request) -> None:
            if when == "after" and request.api in ("start_task", "operate_node"):
                fake.advance(10)
            for task_id in request.task_ids:
                if when == "after" and task_id in LATER and fake.task(task_id).state == "CREATED":
                    fake.start_task(task_id)

        fake.on_request = let_time_pass
        yield fake


@pytest.mark.parametrize("block", _only("json", lambda block: not is_connection(block)))
def test_a_result_in_json_has_the_fields_of_a_real_one(block: Block, runs: dict[Path, dict[str, DagRun]]) -> None:
    real = next(dags["wait"].xcom("wait") for dags in runs.values() if "wait" in dags)
    shown = json.loads(block.text)
    assert {key: type(value) for key, value in shown.items()} == {key: type(value) for key, value in real.items()}


@pytest.mark.parametrize("block", _only("json", is_connection))
def test_a_connection_in_json_works(block: Block, fake: FakeSops) -> None:
    _try_out(json.loads(lead_to(fake, block.text)))


@pytest.mark.parametrize("block", _only("bash", is_connection_variable))
def test_a_connection_in_a_variable_says_the_same_as_in_json(block: Block, fake: FakeSops) -> None:
    shown = 'import os; print(os.environ["AIRFLOW_CONN_SOPS_DEFAULT"])'
    value = subprocess.run(
        ["bash", "-euc", f"{block.text}\n{shlex.quote(sys.executable)} -c {shlex.quote(shown)}"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    in_json = next(json.loads(block.text) for block in BLOCKS if block.language == "json" and is_connection(block))
    if value.startswith("{"):
        _try_out(json.loads(lead_to(fake, value)))
    host = "https://bkapi.example.com/api/bk-sops/prod"
    assert _site_of_variable(value) == _site(in_json | {"host": host})


def _site(connection: dict[str, Any]) -> Site:
    fields = {key: connection.get(key) for key in ("host", "schema", "port", "login", "password", "extra")}
    return parse_connection(**fields)


def _site_of_variable(value: str) -> Site:
    from airflow.models import Connection

    connection = Connection.from_json(value) if value.startswith("{") else Connection(uri=value)
    assert connection.conn_type == "sops"
    fields = {key: getattr(connection, key) for key in ("host", "schema", "port", "login", "password")}
    assert fields["password"] == "my-app-secret" == unquote(fields["password"])
    return parse_connection(**fields, extra=connection.extra_dejson)


def _try_out(connection: dict[str, Any]) -> None:
    assert connection["conn_type"] == "sops"
    site = _site(connection)
    assert site.unknown_fields == ()
    with SopsClient(site.endpoint, bk_biz_id=site.bk_biz_id, scope=site.scope, settings=site.settings) as client:
        assert client.call("get_task_detail", task_id=TASK_ID).data["id"] == TASK_ID
        with pytest.raises(SopsNotFoundError):
            client.call("get_task_detail", task_id=1)


# ---- DAGs ----


@pytest.fixture(scope="module")
def dags_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DAGs of all pages, each in a file."""
    folder = tmp_path_factory.mktemp("dags")
    for block in BLOCKS:
        if block.language == "python" and is_dag(block):
            _dag_file(folder, block).write_text(_for_this_airflow(block.text))
    return folder


def _dag_file(folder: Path, block: Block) -> Path:
    return folder / (block.filename or f"{re.sub('[^a-z0-9]+', '_', block.file.lower())}_{block.line}.py")


def _for_this_airflow(text: str) -> str:
    # as the comment in the block says
    return text.replace("airflow.providers.standard.operators", "airflow.operators") if _BASH_OF_AIRFLOW_2 else text


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's home for the pages' DAGs and commands."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def runs(fake: FakeSops, dags_folder: Path, airflow_home: Path) -> dict[Path, dict[str, DagRun]]:
    """What came of the DAGs of all pages."""
    confs = {}
    for block in BLOCKS:
        if block.language == "python" and is_dag(block):
            confs[_dag_file(dags_folder, block)] = _conf(block, fake)
    runs = run_dags(fake, airflow_home, dags_folder, confs)
    dag_ids = [dag_id for dags in runs.values() for dag_id in dags]
    assert len(dag_ids) == len(set(dag_ids))  # Airflow reads all of them as one folder
    return runs


def _conf(block: Block, fake: FakeSops) -> dict[str, Any]:
    if 'sops_node_name="confirm"' in block.text:
        task_id = fake.create_task("Pause for a person")
        fake.advance(10)
        if "SopsApprovalOperator" in block.text:  # nobody can be asked
            fake.operate_node(task_id, "confirm", "callback")
        return {"sops_task_id": task_id}
    if not re.search("""["']sops_task_id["']""", block.text):
        return {}
    if '"wait_deferred"' not in block.text:
        return {"sops_task_id": TASK_ID}
    task_id = fake.create_task("Two steps with outputs", constants=OUTPUTS, start=False)
    LATER.add(task_id)
    return {"sops_task_id": task_id}


@pytest.mark.parametrize("block", _only("python", is_dag))
def test_a_dag_succeeds(block: Block, dags_folder: Path, runs: dict[Path, dict[str, DagRun]]) -> None:
    for run in runs[_dag_file(dags_folder, block)].values():
        assert run.state == "success", run.log
        assert {state for states in run.tasks.values() for state in states} == {"success"}, run.log
        if ("use", "return_value") in run.xcoms:
            assert run.xcom("use") == "10.0.0.8 ended with 0"
        if ("deploy", "sops_task_id") in run.xcoms:
            assert set(run.xcoms["deploy", "VERSION"]) == {"1.2.3"}


# ---- tests, scripts and files ----


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of all pages that are no DAGs."""
    folder = tmp_path_factory.mktemp("files")
    for block in BLOCKS:
        if block.filename and not (block.language == "python" and is_dag(block)):
            (folder / block.filename).write_text(block.text)
    return folder


@pytest.mark.parametrize("block", _only("python", is_test))
def test_tests_pass(
    block: Block, fake: FakeSops, folder: Path, dags_folder: Path, airflow_home: Path, runs: object
) -> None:
    known = environ(fake, airflow_home, dags_folder) | {"PYTHONPATH": str(dags_folder)}
    del known["AIRFLOW_CONN_SOPS_DEFAULT"]  # comes from the fixture
    assert block.filename
    done = _run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", block.filename], known, folder)
    assert f"{block.text.count('def test_')} passed" in done


@pytest.mark.parametrize("block", _only("python", is_script))
def test_a_script_runs(
    block: Block, fake: FakeSops, folder: Path, dags_folder: Path, airflow_home: Path, runs: object
) -> None:
    text = lead_to(fake, block.text)
    assert _run([sys.executable, "-c", text], environ(fake, airflow_home, dags_folder), folder).strip()


@pytest.mark.parametrize("block", _only("toml"))
def test_templates_make_tasks(block: Block, folder: Path) -> None:
    assert block.filename
    with FakeSops(templates=folder / block.filename) as own:
        task_id = own.create_task(next(iter(own.site.templates)))
        own.advance(60)
        assert own.task(task_id).state == "FINISHED"
        assert {output["name"] for output in own.task(task_id).outputs} == {"IP", "VERSION"}


@pytest.mark.parametrize("block", _only("bash", is_server))
def test_the_server_starts(block: Block) -> None:
    (command,) = block.commands
    words = shlex.split(command)
    assert words[0] == "python"
    words[words.index("--port") + 1] = "0"
    process = subprocess.Popen([sys.executable, *words[1:]], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
    finally:
        process.terminate()
        process.wait(10)
    assert lines[0].startswith("http://127.0.0.1:")
    assert json.loads(lines[1])["conn_type"] == "sops"
    assert lines[2].startswith("AIRFLOW_CONN_SOPS_DEFAULT=sops://")
    assert lines[3] == f"task {TASK_ID}: Two steps with outputs\n"


def _run(command: list[str], known: dict[str, str], folder: Path | None = None) -> str:
    done = subprocess.run(
        command, env=known, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


# ---- commands of Airflow ----


def test_the_commands_of_the_pages_work_one_after_the_other(
    fake: FakeSops, dags_folder: Path, airflow_home: Path, runs: object
) -> None:
    known = environ(fake, airflow_home, dags_folder) | {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
    del known["AIRFLOW_CONN_SOPS_DEFAULT"]  # the pages' commands make it
    written = [command for block in BLOCKS if is_for_airflow(block) for command in block.commands]
    # the same on several pages is run once; no word before `airflow` but the variable that is set here too
    commands = []
    for command in dict.fromkeys(written):
        variables, words = command.split("airflow ", 1)
        assert variables.strip() in ("", "AIRFLOW__CORE__TEST_CONNECTION=Enabled")
        commands.append(shlex.split(lead_to(fake, words)))
    _run([sys.executable, str(RUN_COMMANDS), json.dumps(commands), str(airflow_home / "printed.json")], known)
    assert len(json.loads((airflow_home / "printed.json").read_text())) == len(commands) >= 5
