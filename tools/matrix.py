# SPDX-License-Identifier: Apache-2.0
"""Run all tests with several Airflows, each in an environment of its own, and print a table of what happened.

`matrix.py` alone runs every supported Airflow on one Python, and the newest Airflow on each supported Python but
without a real triggerer; of the tests with one, it leaves out the long ones. `matrix.py 3.0` or `matrix.py
3.3@3.13` runs what is named. `--unit` leaves out the tests with a real triggerer, `--live` all others; what follows
`--` goes to pytest. The environments stay in `.venvs/` for the next time.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
AIRFLOWS = sorted(
    (path.stem.removeprefix("airflow-") for path in Path(ROOT, "constraints").glob("airflow-*.txt")),
    key=lambda version: [int(part) for part in re.findall(r"\d+", version)],  # 3.4.0b2 too
)
PYTHONS = ("3.11", "3.12", "3.13")  # the first that is found serves every Airflow: 2.11 and 3.0 can't use 3.13
EXECUTABLE = "import sys; print(sys.executable)"
#: what pytest is told besides what is asked for
UNIT = ("--numprocesses", "auto", "--dist", "loadfile")
LIVE = ("--show-capture=stdout", "tests/live")
SHORT = ("-m", "not long")
VERSIONS = "import importlib.metadata as m; print(m.version('{}'))"


@dataclass(frozen=True)
class Count:
    """What one run of pytest gave."""

    passed: int = 0
    skipped: int = 0
    failed: int = 0
    end_to_end: str = "not run"
    green: bool = False


@dataclass(frozen=True)
class Row:
    """What one environment gave; `None` is what was not run."""

    airflow: str
    python: str
    common_compat: str = "-"
    unit: Count | None = None
    live: Count | None = None

    @property
    def green(self) -> bool:
        """Whether all that was run passed."""
        counts = [count for count in (self.unit, self.live) if count is not None]
        return bool(counts) and all(count.green for count in counts)

    def __str__(self) -> str:
        unit = self.unit or Count()
        live = "not run" if self.live is None else f"{self.live.passed} passed"
        if self.live is not None and self.live.failed:
            live = f"{self.live.failed} failed"
        cells = (self.airflow, self.python, self.common_compat, unit.passed, unit.skipped, unit.failed, unit.end_to_end)
        return f"| {' | '.join(map(str, cells))} | {live} |"


HEAD = (
    "| Airflow | Python | common-compat | passed | skipped | failed | end to end | in a real triggerer |\n"
    "| --- | --- | --- | ---: | ---: | ---: | --- | --- |"
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


def count(inside: Path, arguments: list[str]) -> Count:
    """Run pytest in an environment, and count."""
    with tempfile.TemporaryDirectory() as home:
        report = Path(home, "report.xml")
        path = f"{inside.parent}{os.pathsep}{os.environ['PATH']}"
        environ = {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PATH": path}
        tests = subprocess.run([inside, "-m", "pytest", *arguments, f"--junitxml={report}"], cwd=ROOT, env=environ)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314 (our own)
    skipped = [case for case in cases if case.find("skipped") is not None]
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    passed = [case for case in cases if case not in skipped and case not in failed]
    end_to_end = [case for case in cases if case.get("classname", "").startswith("tests.e2e")]
    end_to_end_green = all(case in passed for case in end_to_end)
    return Count(
        passed=len(passed),
        skipped=len(skipped),
        failed=len(failed),
        end_to_end=("none" if not end_to_end else f"{len(end_to_end)} passed" if end_to_end_green else "failed"),
        green=bool(passed) and end_to_end_green and tests.returncode == 0,
    )


def run(airflow: str, python: str, asked: argparse.Namespace, *, live: bool) -> Row:
    """Build the environment of one Airflow on one Python, and run the tests in it.

    :param live: those with a real triggerer, too.
    """
    version = ask(python, "import platform; print(platform.python_version())")
    venv = ROOT / ".venvs" / f"airflow-{airflow}-python-{version}"
    print(f"\n== Airflow {airflow} on Python {version}", flush=True)
    made = subprocess.run(["make", "env", f"AIRFLOW={airflow}", f"PYTHON={python}", f"VENV={venv}"], cwd=ROOT)
    inside = venv / "bin" / "python"
    if not made.returncode and live:
        install: list[str | Path] = [venv / "bin" / "uv", "pip", "install", "--quiet", "--python", inside]
        made = subprocess.run([*install, "--requirements", ROOT / "tests" / "live" / "requirements.txt"])
    if made.returncode:
        return Row(airflow, version)
    return Row(
        airflow=ask(inside, VERSIONS.format("apache-airflow")),
        python=version,
        common_compat=ask(inside, VERSIONS.format("apache-airflow-providers-common-compat")),
        unit=None if asked.live else count(inside, [*UNIT, *asked.pytest]),
        live=count(inside, [*LIVE, *([] if asked.live else SHORT), *asked.pytest]) if live else None,
    )


@dataclass(frozen=True)
class Cell:
    """What to run.

    :param python: its path; None: not found.
    :param named: how that Python was named.
    :param live: with a real triggerer, too: what differs there is Airflow, not Python.
    """

    airflow: str
    python: str | None
    named: str
    live: bool = True


def find_airflow(named: str) -> str:
    """Return the supported Airflow that is meant, e.g. by `3.1`."""
    found = [airflow for airflow in AIRFLOWS if airflow == named or airflow.startswith(f"{named}.")]
    if not found:
        sys.exit(f"no Airflow {named} in constraints/; there are {', '.join(AIRFLOWS)}")
    return found[-1]


def cells(named: list[str]) -> list[Cell]:
    """Return what to run: what is named, or all."""
    found = {version: find_python(version) for version in PYTHONS}
    chosen = os.environ.get("PYTHON")
    default = ask(chosen, EXECUTABLE) if chosen else next((path for path in found.values() if path), None)
    if named:
        parts = [argument.partition("@") for argument in named]
        return [
            Cell(find_airflow(airflow), found.get(python) if python else default, python)
            for airflow, _, python in parts
        ]
    on_one = [Cell(airflow, default, chosen or "3.11") for airflow in AIRFLOWS]
    others = [Cell(AIRFLOWS[-1], path, version, live=False) for version, path in found.items() if path != default]
    return on_one + others


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--unit", action="store_true", help="only the tests without a real triggerer")
    only.add_argument("--live", action="store_true", help="only the tests with a real triggerer")
    parser.add_argument("airflows", nargs="*", help="such as 3.0 or 3.3.2@3.13; by default all")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    asked = parser.parse_args(sys.argv[1:end])
    asked.pytest = sys.argv[end + 1 :]
    return asked


def main() -> int:
    """Run the environments one after the other; 0 only if every one was there and green."""
    asked = parse_arguments()
    rows = []
    for cell in cells(asked.airflows):
        live = cell.live and not asked.unit
        rows.append(run(cell.airflow, cell.python, asked, live=live) if cell.python else Row(cell.airflow, cell.named))
        print(f"\n{HEAD}\n{rows[-1]}", flush=True)
    if len(rows) > 1:
        print(f"\n{HEAD}", *rows, sep="\n")
    return 0 if all(row.green for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
