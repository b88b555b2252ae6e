# SPDX-License-Identifier: Apache-2.0
"""What a deferred wait costs all of a real Airflow: this provider's, in each of its ways, and other providers'.

One ``airflow standalone`` on PostgreSQL, with its own scheduler, triggerer, API server and workers. In turns, each
contestant waits for a hundred jobs of a local server, ten in a DAG run; once all are deferred, they end one after the
other over a minute. The CPU of all processes of Airflow is counted, less what the same Airflow takes while nothing
runs. Prints a table for unmapped and one for mapped waits, with the ratio to the first column, and what was to be
reached. It takes half an hour; quote ratios, since seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import requests
from bench import ratio, serve

from tests.live.airflow import Standalone
from tests.live.postgres import Postgres
from tests.live.processes import wait_until

HERE = Path(__file__).resolve().parent
#: Waits in one DAG run, see ``dags/waits.py``.
IN_A_RUN = 10
#: Seconds over which the jobs end.
ENDING = 60.0
#: Seconds after which what a run has begun is over, and for which an idle Airflow is measured.
SETTLE, IDLE = 15.0, 60.0
UNMAPPED = ("dbt", "http", "sops", "ended", "started")
MAPPED = ("dbt_mapped", "http_mapped", "sops_mapped", "ended_mapped")
LABELS = {
    "dbt": "dbt-cloud",
    "http": "http",
    "sops": "this provider, by workers",
    "ended": "ended by the trigger",
    "started": "started and ended by it",
}
TICKS = os.sysconf("SC_CLK_TCK")
#: What Airflow's supervisor says of each process that has run a part of a task.
PROCESS_ENDED = "Workload finished"


@dataclass
class Measured:
    """What some waits have cost, and how soon their ends were seen."""

    waits: int = 0
    cpu: float = 0.0
    processes: int = 0
    requests: int = 0
    #: seconds from the end of a job to the start of the task after it
    lags: list[float] = field(default_factory=list)

    def add(self, other: Measured) -> None:
        """Add what another turn has measured."""
        self.waits += other.waits
        self.cpu += other.cpu
        self.processes += other.processes
        self.requests += other.requests
        self.lags += other.lags


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    label: str
    value: Callable[[Measured], float]
    form: str = "{:.3f}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


CPU = Row("CPU seconds per wait, all of Airflow, less an idle one's", lambda m: m.cpu / m.waits)
PROCESSES = Row("worker processes per wait", lambda m: m.processes / m.waits, "{:.2f}")
REQUESTS = Row("requests per wait", lambda m: m.requests / m.waits, "{:.2f}")
P50 = Row("end of the job to start of the next task, median, s", lambda m: statistics.median(m.lags), "{:.1f}")
P95 = Row("the same, 95th percentile, s", lambda m: percentile(m.lags, 0.95), "{:.1f}")
ROWS = (CPU, PROCESSES, REQUESTS, P50, P95)


def cpu_seconds(site: Standalone) -> float:
    """Return the CPU that all processes of an Airflow have taken, with those that have ended."""
    ticks = 0
    for member in site.members():
        try:
            text = Path(f"/proc/{member.pid}/stat").read_text()
        except OSError:  # it has just ended; its parent counts it
            continue
        ticks += sum(int(one) for one in text.rpartition(")")[2].split()[11:15])
    return ticks / TICKS


class Bench:
    """A real Airflow, the server, and the turns of the contestants."""

    def __init__(self, site: Standalone, port: int, certificate: Path) -> None:
        self.site, self.url, self.certificate = site, f"https://127.0.0.1:{port}/bench", certificate
        self.first = 1000
        self.idle = 0.0

    def processes(self) -> int:
        """Return how many processes have run a part of a task."""
        return sum(path.read_text(errors="replace").count(PROCESS_ENDED) for path in self.site.home.glob("*.out"))

    def requests(self) -> int:
        """Return how many requests the server has answered."""
        return sum(Counter(self.control("counts")["requests"]).values())

    def control(self, path: str, body: Any = None) -> Any:
        """Tell the server something, and get what it has counted."""
        return requests.post(f"{self.url}/{path}", json=body, verify=str(self.certificate), timeout=30).json()

    def measure_idle(self) -> None:
        """Measure what an idle Airflow takes each second."""
        before, began = cpu_seconds(self.site), time.monotonic()
        time.sleep(IDLE)
        self.idle = (cpu_seconds(self.site) - before) / (time.monotonic() - began)

    def turn(self, dag_id: str, waits: int) -> Measured:
        """Let one contestant wait for some jobs."""
        firsts = [self.first + start for start in range(0, waits, IN_A_RUN)]
        ids = range(self.first, self.first + waits)
        self.first += waits
        counts = (self.processes(), self.requests())
        cpu, began = cpu_seconds(self.site), time.monotonic()
        runs = {self.site.api.trigger(dag_id, {"first": first}): first for first in firsts}
        self.wait_for(dag_id, runs, "deferred", waits)
        time.sleep(SETTLE)
        # those of one run end far from each other
        begin = time.time() + 2.0
        ends = {one: begin + ENDING * (number * 37 % waits) / waits for number, one in enumerate(ids)}
        self.control("ends", ends)
        self.wait_for(dag_id, runs, "success", waits)
        wait_until("all runs are over", lambda: self.over(dag_id, runs), seconds=300)
        time.sleep(SETTLE)
        seconds = time.monotonic() - began
        return Measured(
            waits=waits,
            cpu=cpu_seconds(self.site) - cpu - self.idle * seconds,
            processes=self.processes() - counts[0],
            requests=self.requests() - counts[1],
            lags=self.lags(dag_id, runs, ends),
        )

    def wait_for(self, dag_id: str, runs: dict[str, int], state: str, waits: int) -> None:
        """Wait until all waits are in a state."""
        query = (
            "SELECT state, count(*) FROM task_instance"
            " WHERE dag_id = :dag AND run_id = ANY(:runs) AND task_id LIKE 'wait%' GROUP BY state"
        )

        def found() -> bool:
            states = dict(self.site.sql(query, dag=dag_id, runs=list(runs)))
            if {"failed", "up_for_retry"} & set(states):
                raise SystemExit(f"{dag_id}: {states}")
            return states == {state: waits}

        wait_until(f"all waits of {dag_id} are {state}", found, seconds=600, every=1.0)

    def over(self, dag_id: str, runs: dict[str, int]) -> bool:
        """Return whether all runs have ended well."""
        query = "SELECT count(*) FROM dag_run WHERE dag_id = :dag AND run_id = ANY(:runs) AND state = 'success'"
        return bool(self.site.sql(query, dag=dag_id, runs=list(runs))[0][0] == len(runs))

    def lags(self, dag_id: str, runs: dict[str, int], ends: dict[int, float]) -> list[float]:
        """Return the seconds from the end of each job, or of a mapped task's last, to the start of the next task."""
        query = (
            "SELECT run_id, task_id, extract(epoch FROM start_date) FROM task_instance"
            " WHERE dag_id = :dag AND run_id = ANY(:runs) AND task_id LIKE 'next%'"
        )
        lags = []
        for run_id, task_id, started in self.site.sql(query, dag=dag_id, runs=list(runs)):
            first, number = runs[run_id], task_id.partition("_")[2]
            ended = ends[first + int(number)] if number else max(ends[first + one] for one in range(IN_A_RUN))
            lags.append(float(started) - ended)
        return lags


def table(head: str, names: Sequence[str], measured: dict[str, Measured]) -> str:
    """Write a table in Markdown: in each cell the value, and how many times the first column's it is."""
    labels = [LABELS[name.removesuffix("_mapped")] for name in names]
    lines = [f"| {head} | {' | '.join(labels)} |", f"| --- |{' ---: |' * len(names)}"]
    for row in ROWS:
        first, *others = [row.value(measured[name]) for name in names]
        cells = [row.form.format(first), *(_cell(row, one, first) for one in others)]
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Row, value: float, first: float) -> str:
    return f"{row.form.format(value)} ({ratio(value / first)})" if first else row.form.format(value)


def goals(measured: dict[str, Measured]) -> str:
    """Write what was to be reached, what was measured, and whether that is enough."""
    dbt, ended, started = (measured[name] for name in ("dbt", "ended", "started"))
    rows = [
        ("started and ended by the trigger: CPU per wait / dbt-cloud's", CPU.value(started) / CPU.value(dbt), 0.1),
        ("started and ended by the trigger: worker processes per wait", PROCESSES.value(started), 0.0),
        ("ended by the trigger: CPU per wait / dbt-cloud's", CPU.value(ended) / CPU.value(dbt), 0.65),
        ("ended by the trigger: end to next task, median / dbt-cloud's", P50.value(ended) / P50.value(dbt), 0.8),
    ]
    lines = ["| goal | at most | measured | |", "| --- | ---: | ---: | --- |"]
    lines += [
        f"| {label} | {most:g} | {value:.3f} | {'reached' if value <= most else 'missed'} |"
        for label, value, most in rows
    ]
    return "\n".join(lines)


def connections(port: int) -> dict[str, str]:
    """Return the variables with which Airflow finds the server."""
    address = f"127.0.0.1:{port}"
    sops = {
        "conn_type": "sops",
        "host": f"https://{address}/api/bk-sops/prod",
        "login": "bench",
        "password": "bench-secret",
        "extra": {"bk_username": "bench"},
    }
    dbt = {"conn_type": "dbt_cloud", "host": address, "login": "1", "password": "bench-secret"}
    http = {"conn_type": "http", "host": f"https://{address}"}
    each = {"SOPS_BENCH": sops, "DBT_BENCH": dbt, "HTTP_BENCH": http}
    return {f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in each.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waits", type=int, default=100, help="waits of each contestant, a multiple of ten")
    parser.add_argument("--rounds", type=int, default=1, help="turns of each contestant")
    parser.add_argument("--only", nargs="*", default=[*UNMAPPED, *MAPPED], help="contestants")
    args = parser.parse_args()
    measured: dict[str, Measured] = {name: Measured() for name in args.only}
    with tempfile.TemporaryDirectory() as home, serve() as (port, certificate), Postgres(Path(home, "pg.out")) as pg:
        trusted = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(certificate))
        settings = {**connections(port), **trusted, "AIRFLOW__CORE__PARALLELISM": "32"}
        database = f"postgresql+psycopg2://{pg.address}"
        with Standalone(Path(home), HERE / "dags", database=database, **settings) as site:
            bench = Bench(site, port, certificate)
            time.sleep(2 * SETTLE)
            bench.measure_idle()
            print(f"idle: {bench.idle:.3f} CPU s each second", file=sys.stderr, flush=True)
            for _ in range(args.rounds):
                for name in args.only:
                    measured[name].add(one := bench.turn(name, args.waits))
                    values = ", ".join(row.form.format(row.value(one)) for row in ROWS)
                    print(f"{name}: {values} (the rows of the table)", file=sys.stderr, flush=True)
    for head, names in (("waits", UNMAPPED), ("mapped waits", MAPPED)):
        if set(names) <= set(args.only):
            print(f"\n{table(f'{args.rounds * args.waits} {head}', names, measured)}")
    if set(UNMAPPED) <= set(args.only):
        print(f"\n{goals(measured)}")


if __name__ == "__main__":
    main()
