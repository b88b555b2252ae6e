# SPDX-License-Identifier: Apache-2.0
"""Hold the sizes of the package's files, classes and functions: ``make lint`` runs it.

``sizes.py`` fails, naming each that is too long; with ``--print`` it also prints the longest of each kind.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "airflow_provider_sops"
#: Most lines of one, docstrings and comments included.
LIMITS = {"file": 400, "class": 250, "function": 50}
#: What is longer, each with the reason why it stays together.
EXCEPTIONS = {
    "hooks/sops.py:SopsHook": "one short method for each API, half of it docstrings; users look for all here",
    "operators/run_task.py:SopsRunTaskOperator.__init__": "declares and stores its arguments, one line for each",
    "testing/simulated.py:SimulatedSops": "one short method for each thing that a test does; users look for all here",
    "sensors/sops.py:SopsTaskSensor.__init__": "declares and stores its arguments, one line for each",
}
PRINTED = 10


@dataclass(frozen=True, slots=True)
class Size:
    """How many lines something has."""

    kind: str
    #: e.g. ``core/text.py`` or ``core/text.py:storable``
    name: str
    lines: int

    @property
    def is_too_long(self) -> bool:
        """Whether it is over the limit of its kind."""
        return self.lines > LIMITS[self.kind]


def sizes_of(name: str, source: str) -> Iterator[Size]:
    """Measure a file, its classes and its functions, those inside others included.

    :param name: the file's name, as it is to be shown.
    """
    yield Size("file", name, len(source.splitlines()))
    waiting: list[tuple[str, ast.AST]] = [("", ast.parse(source))]
    while waiting:
        prefix, parent = waiting.pop()
        for node in ast.iter_child_nodes(parent):
            inner = prefix
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{prefix}.{node.name}" if prefix else node.name
                kind = "class" if isinstance(node, ast.ClassDef) else "function"
                yield Size(kind, f"{name}:{inner}", (node.end_lineno or node.lineno) - node.lineno + 1)
            waiting.append((inner, node))


def measure() -> list[Size]:
    """Measure the whole package, the longest first."""
    found: list[Size] = []
    for path in PACKAGE.rglob("*.py"):
        found += sizes_of(path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8"))
    return sorted(found, key=lambda size: (-size.lines, size.name))


def main() -> int:
    """Run the check; 1 when something is too long, or an exception is needed no more."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--print", action="store_true", help=f"print the {PRINTED} longest of each kind")
    arguments = parser.parse_args()
    sizes = measure()
    if arguments.print:
        for kind, limit in LIMITS.items():
            print(f"{kind} (at most {limit} lines)")
            for size in [size for size in sizes if size.kind == kind][:PRINTED]:
                print(f"  {size.lines:4} {size.name}")
    too_long = [size for size in sizes if size.is_too_long]
    problems = [
        f"{size.kind} {size.name} has {size.lines} lines; at most {LIMITS[size.kind]} are allowed"
        for size in too_long
        if size.name not in EXCEPTIONS
    ]
    unused = set(EXCEPTIONS) - {size.name for size in too_long}
    problems += [f"{name} is short enough: remove it from EXCEPTIONS" for name in sorted(unused)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
