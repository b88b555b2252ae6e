# SPDX-License-Identifier: Apache-2.0
"""Run all tests with several Airflows, each in an environment of its own, and print a table of what happened.

`matrix.py` alone runs every supported Airflow on one Python and the newest Airflow on each supported Python;
`matrix.py 3.0.6` or `matrix.py 3.3.2@3.13` runs what is named. The environments stay in `.venvs/` for the next time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
AIRFLOWS = ("2.11.2", "3.0.6", "3.1.8", "3.2.2", "3.3.2")
PYTHONS = ("3.11", "3.12", "3.13")  # the first that is found serves every Airflow: 2.11 and 3.0 can't use 3.13
EXECUTABLE = "import sys; print(sys.executable)"
PARALLEL = ("--numprocesses", "auto", "--dist", "loadfile")
VERSIONS = "import importlib.metadata as m; print(m.version('{}'))"


@dataclass(frozen=True)
class Row:
    """What one environment gave."""

    airflow: str
    python: str
    common_compat: str = "-"
    passed: int = 0
    skipped: int = 0
    failed: int = 0
    end_to_end: str = "not run"
    green: bool = False

    def __str__(self) -> str:
        cells = (self.airflow, self.python, self.common_compat, self.passed, self.skipped, self.failed, self.end_to_end)
        return f"| {' | '.join(map(str, cells))} |"


HEAD = (
    "| Airflow | Python | common-compat | passed | skipped | failed | end to end |\n"
    "| --- | --- | --- | ---: | ---: | ---: | --- |"
)


def find_python(version: str) -> str | None:
    """Return the path of a Python such as `3.12`, or None if this machine has none.

    pyenv's `python3.12` works only while that version is chosen, hence the variable; others do not look at it.
    """
    command = [f"python{version}", "-c", EXECUTABLE]
    try:
        done = subprocess.run(
            command, env={**os.environ, "PYENV_VERSION": version}, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def ask(python: Path | str, code: str) -> str:
    """Run a line of Python and return what it prints."""
    return subprocess.run([python, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def run(airflow: str, python: str) -> Row:
    """Build the environment of one Airflow on one Python, run the tests in it, and count."""
    version = ask(python, "import platform; print(platform.python_version())")
    venv = ROOT / ".venvs" / f"airflow-{airflow}-python-{version}"
    print(f"\n== Airflow {airflow} on Python {version}", flush=True)
    made = subprocess.run(["make", "env", f"AIRFLOW={airflow}", f"PYTHON={python}", f"VENV={venv}"], cwd=ROOT)
    if made.returncode:
        return Row(airflow, version, end_to_end="not installed")
    inside = venv / "bin" / "python"
    with tempfile.TemporaryDirectory() as home:
        report = Path(home, "report.xml")
        path = f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environ = {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PATH": path}
        tests = subprocess.run([inside, "-m", "pytest", *PARALLEL, f"--junitxml={report}"], cwd=ROOT, env=environ)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314 (our own)
    skipped = [case for case in cases if case.find("skipped") is not None]
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    passed = [case for case in cases if case not in skipped and case not in failed]
    end_to_end = [case for case in cases if case.get("classname", "").startswith("tests.e2e")]
    green = bool(end_to_end) and all(case in passed for case in end_to_end)
    return Row(
        airflow=ask(inside, VERSIONS.format("apache-airflow")),
        python=version,
        common_compat=ask(inside, VERSIONS.format("apache-airflow-providers-common-compat")),
        passed=len(passed),
        skipped=len(skipped),
        failed=len(failed),
        end_to_end=f"{len(end_to_end)} passed" if green else "failed" if end_to_end else "none",
        green=green and tests.returncode == 0,
    )


def cells() -> list[tuple[str, str | None, str]]:
    """Return what to run: the Airflow, the path of its Python (None: not found), and how that Python was named."""
    found = {version: find_python(version) for version in PYTHONS}
    chosen = os.environ.get("PYTHON")
    default = ask(chosen, EXECUTABLE) if chosen else next((path for path in found.values() if path), None)
    if sys.argv[1:]:
        named = [argument.partition("@") for argument in sys.argv[1:]]
        return [(airflow, found.get(python) if python else default, python) for airflow, _, python in named]
    on_one = [(airflow, default, chosen or "3.11") for airflow in AIRFLOWS]
    return on_one + [(AIRFLOWS[-1], path, version) for version, path in found.items() if path != default]


def main() -> int:
    """Run the environments one after the other; 0 only if every one was there and green."""
    rows = []
    for airflow, python, name in cells():
        rows.append(run(airflow, python) if python else Row(airflow, name, end_to_end="no such Python here"))
        print(f"\n{HEAD}\n{rows[-1]}", flush=True)
    if len(rows) > 1:
        print(f"\n{HEAD}", *rows, sep="\n")
    return 0 if all(row.green for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
