# SPDX-License-Identifier: Apache-2.0
"""Waiting for many tasks, side by side: this provider's trigger, other providers' triggers, and a bare poller.

For each number of waits and each contestant, one after the other: a fresh local server in a process of its own, and a
waiting process that is measured from inside (``worker.py``); memory in another one, since counting it slows it down,
and the start in three, of which the middle one counts, since one interruption by the machine would be the longest (in
one only, where there are more waits than the goals are about). All look at every task about every 10 seconds. Prints
one table for each number of waits, with the ratio to this provider, and what was to be reached. A whole run takes forty
minutes, or an hour on a slow machine; quote ratios, since seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contestants import INTERVAL
from imports import PROVIDERS

HERE = Path(__file__).resolve().parent
SIZES = (100, 1000, 5000)
#: The number of waits that the goals are about; only here the fall-back takes part.
GOALS_AT = 1000
IMPORTS = 9
STARTS = 3
LABELS = {
    "sops": "this provider",
    "bare": "bare poller",
    "dbt": "dbt-cloud",
    "http": "http",
    "fallback": "this provider, no batches",
    "airbyte": "airbyte",
}
Measured = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what it is called, its value, how it is written."""

    label: str
    value: Callable[[Measured], float]
    form: str = "{:,.2f}"


ROWS = (
    Row("requests per task and minute", lambda m: m["requests"] / m["waits"], "{:.3f}"),
    Row("TCP connections", lambda m: m["connections"], "{:,.0f}"),
    Row("new TCP connections a minute, while waiting", lambda m: m["new_connections"], "{:,.0f}"),
    Row("CPU seconds a minute, less an idle process's", lambda m: m["cpu"] - m["idle"]),
    Row("memory per wait, KB (Python's own count)", lambda m: m["memory"] / 1024.0, "{:.1f}"),
    Row("longest stall when all start at once, ms", lambda m: 1000.0 * m["stall_at_start"], "{:,.1f}"),
    Row("longest stall while waiting and ending, ms", lambda m: 1000.0 * m["stall"], "{:,.1f}"),
    Row("end to event, median, s", lambda m: m["p50"], "{:.1f}"),
    Row("end to event, 95th percentile, s", lambda m: m["p95"], "{:.1f}"),
)
REQUESTS, _, NEW_CONNECTIONS, CPU, MEMORY, STALL_AT_START, STALL, _, P95 = (row.value for row in ROWS)


@contextmanager
def serve(*options: str) -> Iterator[tuple[int, Path]]:
    """Run the server; give its port and its certificate's file. It ends when its standard input is closed."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "certificate.pem")
        command = [sys.executable, str(HERE / "server.py"), str(certificate), *options]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield int(process.stdout.readline()), certificate


def wait(name: str, waits: int, seconds: float, *options: str) -> Measured:
    """Run one waiting process against a server of its own, and give what it measured."""
    with serve(*(["--deny-batches"] if name == "fallback" else [])) as (port, certificate):
        trusted = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(certificate))
        command = [sys.executable, str(HERE / "worker.py"), name, str(port), str(waits), str(seconds), *options]
        done = subprocess.run(command, env=os.environ | trusted, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{name} with {waits} waits failed, see above")
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(name: str, waits: int, seconds: float, idle: float) -> Measured:
    """Measure one contestant: time and requests, then the start, then memory."""
    print(f"{waits} waits, {LABELS[name]} …", file=sys.stderr, flush=True)
    measured = wait(name, waits, seconds)
    starts = [wait(name, waits, 0.0, "--start") for _ in range(STARTS if waits <= GOALS_AT else 1)]
    measured |= {key: statistics.median(one[key] for one in starts) for key in starts[0]}
    return measured | wait(name, waits, 0.0, "--memory") | {"waits": waits, "idle": idle}


def time_imports() -> dict[str, float]:
    """Return the median of the seconds that each provider adds to a DAG file, measured in turns."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds: dict[str, list[float]] = {name: [] for name in PROVIDERS}
    for turn in range(IMPORTS + 1):
        for name, values in seconds.items():
            command = [sys.executable, str(HERE / "imports.py"), name]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
            if turn:  # the first one writes the bytecode
                values.append(float(done.stdout.split()[-1]))
    return {name: statistics.median(values) for name, values in seconds.items()}


def ratio(value: float) -> str:
    """Write a ratio with two digits that count."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}×" if rounded >= 10.0 else f"{rounded:g}×"


def table(head: str, names: Sequence[str], rows: Sequence[tuple[str, str, Sequence[float]]]) -> str:
    """Write a table in Markdown: in each cell the value, and how many times the first column's it is."""
    lines = [f"| {head} | {' | '.join(LABELS[name] for name in names)} |", f"| --- |{' ---: |' * len(names)}"]
    for label, form, values in rows:
        cells = [form.format(values[0])]
        for value in values[1:]:
            cells.append(form.format(value) + (f" ({ratio(value / values[0])})" if values[0] > 0.0 else ""))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def waiting_table(waits: int, measured: dict[str, Measured]) -> str:
    """Write the table of one number of waits."""
    rows = [(row.label, row.form, [row.value(one) for one in measured.values()]) for row in ROWS]
    return table(f"{waits:,} waiting tasks", list(measured), rows)


def goals(measured: dict[str, Measured], imports: dict[str, float]) -> str:
    """Write what was to be reached, what was measured, and whether that is enough."""
    sops, bare, dbt, fallback = (measured[name] for name in ("sops", "bare", "dbt", "fallback"))
    lightest = min(value for name, value in imports.items() if name != "sops")
    rows: list[tuple[str, float, float, str]] = [
        ("HTTP requests / dbt-cloud's", REQUESTS(sops) / REQUESTS(dbt), 1 / 40, "1/40"),
        ("TCP connections, all in all", sops["connections"], 10.0, "a handful"),
        ("… of these opened while waiting, a minute", NEW_CONNECTIONS(sops), 1.0, "reused"),
        ("CPU / dbt-cloud's", CPU(sops) / CPU(dbt), 1 / 10, "1/10"),
        ("CPU / the bare poller's", CPU(sops) / CPU(bare), 2.0, "2"),
        ("memory per wait / dbt-cloud's", MEMORY(sops) / MEMORY(dbt), 1 / 2, "1/2"),
        ("longest stall at the start / the bare poller's", STALL_AT_START(sops) / STALL_AT_START(bare), 2.0, "2"),
        ("longest stall later / the bare poller's", STALL(sops) / STALL(bare), 2.0, "2"),
        ("CPU without batches / dbt-cloud's", CPU(fallback) / CPU(dbt), 1 / 2, "1/2"),
        ("end seen, 95th percentile / the interval", P95(sops) / INTERVAL, 1.0, "1"),
        ("import / the lightest peer's", imports["sops"] / lightest, 1 / 4, "1/4"),
    ]
    lines = [f"| at {GOALS_AT:,} waits | measured | goal: at most | |", "| --- | ---: | ---: | --- |"]
    for label, value, most, goal in rows:
        lines.append(f"| {label} | {value:.3g} | {goal} | {'reached' if value <= most else 'MISSED'} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waits", type=int, nargs="+", default=SIZES, help="numbers of waits (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of waiting that are measured (%(default)s)")
    parser.add_argument("--json", type=Path, help="write all that was measured into this file too")
    args = parser.parse_args()

    imports = time_imports()
    rows = [("import added to a DAG file, ms", "{:,.0f}", [1000.0 * value for value in imports.values()])]
    print(table("", list(imports), rows), end="\n\n", flush=True)
    idle = wait("idle", 1, args.seconds)["cpu"]
    results: dict[int, dict[str, Measured]] = {}
    for waits in args.waits:
        names = ("sops", "bare", "dbt", "http", *(["fallback"] if waits == GOALS_AT else []))
        results[waits] = {name: measure(name, waits, args.seconds, idle) for name in names}
        print(waiting_table(waits, results[waits]), end="\n\n", flush=True)
        if waits == GOALS_AT:
            print(goals(results[waits], imports), end="\n\n", flush=True)
        if args.json:
            args.json.write_text(json.dumps({"imports": imports, "idle": idle, "waits": results}, indent=1))


if __name__ == "__main__":
    main()
