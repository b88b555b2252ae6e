# SPDX-License-Identifier: Apache-2.0
"""The search for secrets finds a planted one, wherever it shows, and is silent where none does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import secrets

ROOT = Path(__file__).parents[1]
TESTS = """
import logging, sqlite3, sys, urllib.parse
import pytest
from tests.secrets import APP_SECRET, BK_TOKEN, look_at_xcom

def test_message():
    logging.getLogger("urllib3.connectionpool").debug("GET /?bk_app_secret=%s", urllib.parse.quote(APP_SECRET))

def test_unused_level():
    logging.getLogger("airflow_provider_sops").debug(repr(APP_SECRET))

def test_exception_in_a_log():
    try:
        raise ValueError(APP_SECRET)
    except ValueError:
        logging.getLogger("x").exception("it failed")

def test_expected_error():
    with pytest.raises(ValueError):
        raise ValueError(f"cannot use {APP_SECRET}")

def test_cause_of_an_expected_error():
    with pytest.raises(ValueError):
        try:
            raise KeyError(BK_TOKEN)
        except KeyError as error:
            raise ValueError("no") from None

class Request:
    def __init__(self):
        self.url = f"http://x/?bk_token={BK_TOKEN}"

def test_what_hangs_on_an_error():
    error = ValueError("no")
    error.request = Request()
    with pytest.raises(ValueError):
        raise error

def test_output():
    print(f"password {APP_SECRET}")

def test_error_output():
    print(f"password {APP_SECRET}", file=sys.stderr)

def test_xcom():
    look_at_xcom("return_value", {"a": [APP_SECRET]})

def test_output_of_another_process():
    import subprocess
    subprocess.run([sys.executable, "-c", f"print({APP_SECRET!r})"])

def test_clean():
    logging.getLogger("urllib3").debug("GET /?bk_app_secret=***")
    with pytest.raises(ValueError):
        raise ValueError("***")
    print("***")
"""


def run(folder: Path, tests: str) -> str:
    """Run tests with the plugin alone, and give what pytest says."""
    (folder / "test_planted.py").write_text(tests)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.secrets", "-p", "no:cacheprovider", "-rA", folder],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "AIRFLOW_HOME": str(home), "PYTHONPATH": str(ROOT)},
    )
    return f"{done.stdout}\nexit code {done.returncode}"


def test_a_planted_secret_is_found_wherever_it_shows(tmp_path: Path) -> None:
    said = run(tmp_path, TESTS)
    outcomes = {name: outcome for outcome, name in re.findall(r"^(PASSED|FAILED|ERROR) \S*::(test_\w+)", said, re.M)}
    names = re.findall(r"def (test_\w+)", TESTS)
    assert outcomes == {name: "PASSED" if name == "test_clean" else "FAILED" for name in names}, said
    assert "exit code 1" in said


@pytest.mark.parametrize("file", ["logs/dag/task.log", "airflow.db"])
def test_a_planted_secret_is_found_in_airflows_files(tmp_path: Path, file: str) -> None:
    planted = tmp_path / "home" / file
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"\0\1 SQLite " + secrets.ACCESS_TOKEN.encode() + b"\xff")
    said = run(tmp_path, "def test_clean(): pass")
    assert "1 passed" in said
    assert "A secret shows" in said
    assert file in said
    assert "exit code 1" in said


def test_where_none_shows_all_is_well(tmp_path: Path) -> None:
    said = run(tmp_path, TESTS[TESTS.index("def test_clean") :].join(["import logging, pytest\n", ""]))
    assert "exit code 0" in said


@pytest.mark.parametrize("name", ["APP_SECRET", "BK_TOKEN", "ACCESS_TOKEN", "HEADER_SECRET", "PROXY_PASSWORD"])
def test_every_secret_holds_a_mark(name: str) -> None:
    finder = secrets.Finder()
    finder.observation(getattr(secrets, name), "here")
    assert finder.take()
    assert finder.take() == []
