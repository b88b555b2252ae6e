# SPDX-License-Identifier: Apache-2.0
"""Write the files in constraints/: one `name==version` per line, one file for each supported Airflow.

Airflow leaves most of its dependencies open. With today's versions of them, some older releases install and then cannot
run a task. So each release gets the newest set of the days in which it came out, on every supported Python, with
one exception: common-compat, of which the provider needs a newer one than the older releases had. One file serves all
Pythons: what one Python has got, the next one gets too.

Run it after a change of the dependencies (`make constraints`), then `make test-matrix`: installing is no proof.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
#: The supported Airflows, and the day up to which their sets are taken. All else looks at the files that come of it.
CUTOFFS = {
    "2.11.2": "2026-03-16",
    "3.0.6": "2025-08-31",
    "3.1.8": "2026-03-13",
    "3.2.2": "2026-05-31",
    "3.3.2": "2026-09-25",
}
NEWER = {"apache-airflow-providers-common-compat": "2026-11-20"}


def compile_pins(airflow: str, python: str, chosen: set[str]) -> set[str]:
    """Resolve the project with its tools for one Airflow on one Python, with the versions that others have got."""
    newer = [option for name, date in NEWER.items() for option in ("--exclude-newer-package", f"{name}={date}")]
    with tempfile.TemporaryDirectory() as folder:
        wanted, constraints = Path(folder, "wanted.txt"), Path(folder, "constraints.txt")
        wanted.write_text(f"apache-airflow=={airflow}\n")
        constraints.write_text("\n".join(chosen))
        command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-emit-index-url"]
        sources = ["pyproject.toml", "--extra", "testing", "--group", "dev", str(wanted)]
        options = ["--python-version", python, "--exclude-newer", CUTOFFS[airflow], *newer]
        options += ["--constraints", str(constraints)]
        done = subprocess.run([*command, *sources, *options], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return set(done.stdout.split())


def name_of(pin: str) -> str:
    """Return the distribution's name of a `name==version`."""
    return pin.partition("==")[0]


def main() -> None:
    """Write the file of each Airflow named on the command line, or of all."""
    for airflow in sys.argv[1:] or CUTOFFS:
        pins: set[str] = set()
        for python in PYTHONS:
            pins |= compile_pins(airflow, python, pins)
        target = ROOT / "constraints" / f"airflow-{airflow}.txt"
        target.write_text("\n".join(sorted(pins, key=name_of)) + "\n")
        print(f"{target.relative_to(ROOT)}: {len(pins)} pins")


if __name__ == "__main__":
    main()
