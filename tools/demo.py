# SPDX-License-Identifier: Apache-2.0
"""Run an example DAG in a real Airflow against the fake SOPS, and tell what happens. Exit code 0: all of it happened.

With ``--stay``, Airflow and the fake then run until they are stopped, and the address of the tab "SOPS" is printed.

Everything is made for this run and removed after it: Airflow's home with its database, and the fake, a process of its
own that Airflow reaches over HTTP. Nothing of the person's own Airflow is read or written.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO

from demo_stay import airflow_stays, tab_address

from airflow_provider_sops.testing import FakeSopsClient

ROOT = Path(__file__).resolve().parent.parent
DAG_ID = "sops_wait_and_use_outputs"
TEMPLATE = "Two steps with outputs"
OUTPUTS = {"IP": "10.0.0.8", "EXIT": "0"}
#: what the DAG's last step says when ``$<IP>`` and ``$<EXIT>`` were filled in
SENTENCE = "the host 10.0.0.8 ended with exit code 0"
TIME_LIMIT = 180.0


class DemoFailed(Exception):
    """Something that the demo promises did not happen."""


@dataclass
class Story:
    """Prints what happens, with the seconds since the start."""

    started: float = field(default_factory=time.monotonic)

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:5.1f} s  {text}", flush=True)

    def section(self, title: str) -> None:
        print(f"\n{title}", flush=True)


@contextmanager
def fake_sops(log: IO[str]) -> Iterator[tuple[FakeSopsClient, str]]:
    """Run the fake as a process; give its control plane and ``AIRFLOW_CONN_SOPS_DEFAULT``."""
    command = [sys.executable, "-m", "airflow_provider_sops.testing", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.stdout.readline()
        name, _, connection = process.stdout.readline().strip().partition("=")
        if name != "AIRFLOW_CONN_SOPS_DEFAULT":
            raise DemoFailed("the fake SOPS did not start")
        yield FakeSopsClient(url), connection
    finally:
        process.terminate()
        process.wait(timeout=10)


def airflow_environ(home: Path, connection: str) -> dict[str, str]:
    """Return the environment of an Airflow that knows one connection and nothing of the person's own."""
    own = {name: value for name, value in os.environ.items() if not name.upper().startswith("AIRFLOW")}
    return own | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_SOPS_DEFAULT": connection,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
    }


def migrate(environ: dict[str, str], log: IO[str]) -> None:
    """Make Airflow's database."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], env=environ, stdout=log, stderr=log, timeout=TIME_LIMIT
    )
    if done.returncode:
        raise DemoFailed("`airflow db migrate` failed")


def run_dag(environ: dict[str, str], log: IO[str], task_id: int, watch: Callable[[], None]) -> None:
    """Run the DAG in Airflow, and call ``watch`` again and again meanwhile."""
    conf = json.dumps({"sops_task_id": task_id})
    command = [sys.executable, "-m", "airflow", "dags", "test", DAG_ID, "--conf", conf]
    process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    deadline = time.monotonic() + TIME_LIMIT
    try:
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise DemoFailed(f"Airflow did not end within {TIME_LIMIT:.0f} s")
            watch()
            time.sleep(0.1)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    watch()
    if process.returncode:
        raise DemoFailed(f"`airflow dags test {DAG_ID}` failed")


@dataclass
class Watcher:
    """Tells the changes of the SOPS task, and what the sensor writes of them into its log; starts the SOPS task."""

    story: Story
    sops: FakeSopsClient
    task_id: int
    log_path: Path
    states: list[str] = field(default_factory=list)
    sensor_lines: list[str] = field(default_factory=list)
    started: bool = False

    def __call__(self) -> None:
        state = self.sops.task(self.task_id).state
        if state not in self.states[-1:]:
            self.states.append(state)
            self.story.tell(f"SOPS     task {self.task_id} is {state}")
        for line in self._lines_of_sensor():
            if line not in self.sensor_lines:
                self.sensor_lines.append(line)
                self.story.tell(f"Airflow  {line}")
        if self.sensor_lines and not self.started:
            # the sensor has looked and waits: now somebody in SOPS starts the task
            self.started = True
            self.story.tell(f"SOPS     somebody starts task {self.task_id}")
            self.sops.start_task(self.task_id)

    def _lines_of_sensor(self) -> Iterator[str]:
        for line in self.log_path.read_text(errors="replace").splitlines():
            _, found, rest = line.partition(f"SOPS task {self.task_id} ")
            if found and " nodes done" in rest:
                yield found + rest.partition(" [")[0].strip()


def read_database(home: Path) -> tuple[str, dict[str, str], dict[tuple[str, str], object], str]:
    """Read from Airflow's database: the run's state, the tasks' states, the XComs, the rendered command."""
    with closing(sqlite3.connect(home / "airflow.db")) as db:
        (run_state,) = db.execute("select state from dag_run where dag_id = ?", [DAG_ID]).fetchone()
        states = dict(db.execute("select task_id, state from task_instance where dag_id = ?", [DAG_ID]))
        rows = db.execute("select task_id, key, value from xcom where dag_id = ?", [DAG_ID]).fetchall()
        rendered = db.execute(
            "select rendered_fields from rendered_task_instance_fields where dag_id = ? and task_id = 'use'", [DAG_ID]
        ).fetchone()
    xcoms = {(task_id, key): json.loads(value) for task_id, key, value in rows}
    return run_state, states, xcoms, json.loads(rendered[0])["bash_command"] if rendered else ""


def check(what: str, seen: object, wanted: object) -> None:
    """Compare what was seen with what the demo promises."""
    if seen != wanted:
        raise DemoFailed(f"{what}: {seen!r} instead of {wanted!r}")


def tell_results(story: Story, home: Path, watcher: Watcher) -> None:
    """Print the XComs and the downstream step's text from Airflow's database, and check all that was promised."""
    run_state, states, xcoms, command = read_database(home)
    check("state of the DAG run", run_state, "success")
    check("states of its tasks", states, {"wait": "success", "use": "success"})
    check("states of the SOPS task", watcher.states, ["CREATED", "RUNNING", "FINISHED"])
    last_line = f"SOPS task {watcher.task_id} {TEMPLATE!r}: FINISHED, 3 of 3 nodes done."
    check("the sensor's last line in the log", watcher.sensor_lines[-1:], [last_line])
    ended = xcoms.get(("wait", "return_value"))
    assert isinstance(ended, dict)
    check("what the sensor returned", (ended["sops_task_id"], ended["state"]), (watcher.task_id, "FINISHED"))

    story.section(f"XComs of the DAG run (task wait: {ended['state']} at {ended['end_time']})")
    for name, value in OUTPUTS.items():
        for key in (name, f"${{{name}}}"):
            check(f"XCom {key}", xcoms.get(("wait", key)), value)
            print(f"  {key:<23} = {json.dumps(xcoms['wait', key])}")
    check("outputs in XCom return_value", ended["outputs"], OUTPUTS)
    print(f"  return_value['outputs'] = {json.dumps(ended['outputs'])}")

    story.section("The downstream step, with $<IP> and $<EXIT> filled in")
    check("rendered command", command, f"echo {SENTENCE}")
    check("what the step printed", xcoms.get(("use", "return_value")), SENTENCE)
    print(f"  command  {command}")
    print(f"  printed  {xcoms['use', 'return_value']}")


def stay(environ: dict[str, str], log: IO[str], home: Path, sops_url: str) -> None:
    """Leave Airflow running until somebody stops the demo."""
    with closing(sqlite3.connect(home / "airflow.db")) as db:
        (run_id,) = db.execute("select run_id from dag_run where dag_id = ?", [DAG_ID]).fetchone()
    print("\nStarting Airflow, which takes half a minute …", flush=True)
    with airflow_stays(environ, log, DAG_ID) as url:
        print(f"Airflow, where everybody on this machine is an admin: {url}")
        print(f"The fake SOPS: {sops_url}")
        print(f"The SOPS task in the Airflow UI: {tab_address(url, DAG_ID, run_id, 'wait')}")
        print("Stop with Ctrl+C.", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


def tell(story: Story, home: Path, log_path: Path, stays: bool) -> None:
    """Run the demo.

    :param stays: leave Airflow and the fake running after it.
    :raises DemoFailed: naming what did not happen.
    """
    with log_path.open("w") as log, fake_sops(log) as (sops, connection):
        environ = airflow_environ(home, connection)
        airflow = metadata.version("apache-airflow")
        print(f"A DAG waits for a SOPS task and uses its outputs: Airflow {airflow}, a fake SOPS at {sops.url}\n")
        story.tell("Airflow  makes its database")
        migrate(environ, log)
        task_id = sops.create_task(TEMPLATE, constants=OUTPUTS, start=False)
        story.tell(f"SOPS     task {task_id} {TEMPLATE!r} is made")
        story.tell(f"Airflow  runs the DAG {DAG_ID} with sops_task_id={task_id}")
        watcher = Watcher(story, sops, task_id, log_path)
        run_dag(environ, log, task_id, watcher)
        tell_results(story, home, watcher)
        print(f"\nDone in {time.monotonic() - story.started:.0f} s. The DAG is example_dags/{DAG_ID}.py.")
        if stays:
            stay(environ, log, home, sops.url)


def main() -> int:
    """Run the demo in a temporary home; keep Airflow's log when something goes wrong."""
    parser = argparse.ArgumentParser(description="Run an example DAG against a fake SOPS.")
    parser.add_argument("--stay", action="store_true", help="then leave Airflow running (Airflow 3.1 and newer)")
    arguments = parser.parse_args()
    if arguments.stay and tuple(map(int, metadata.version("apache-airflow").split(".")[:2])) < (3, 1):
        parser.error("--stay needs Airflow 3.1 or newer")
    # so that the fake and Airflow are stopped too when somebody stops the demo
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    handle, name = tempfile.mkstemp(prefix="sops-demo-", suffix=".log")
    os.close(handle)
    log_path = Path(name)
    try:
        with tempfile.TemporaryDirectory(prefix="sops-demo-") as home:
            tell(Story(), Path(home), log_path, arguments.stay)
    except Exception as error:
        # whatever it was, the log of Airflow and of the fake says more
        what = str(error) if isinstance(error, DemoFailed) else f"{type(error).__name__}: {error}"
        print(f"\nThe demo failed: {what}\nThe log of Airflow and of the fake SOPS: {log_path}", file=sys.stderr)
        return 1
    log_path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
