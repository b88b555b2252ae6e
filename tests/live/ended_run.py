# SPDX-License-Identifier: Apache-2.0
"""A run in a real Airflow whose waits end in the triggerer, and what must be there then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.compat import TRIGGERS_START_TASKS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.processes import wait_until
from tests.live.test_waits import OUTPUTS, PATIENCE

TWINS = OUTPUTS | {f"${{{name}}}": value for name, value in OUTPUTS.items()}

_starts = pytest.mark.skipif(not TRIGGERS_START_TASKS, reason="this Airflow starts sensors in a worker")
#: Waits that a worker has deferred, and such that Airflow's scheduler has handed to the triggerer.
DEFERRED_OR_STARTED = pytest.mark.parametrize("dag_id", ["ended", pytest.param("started", marks=_starts)])


class EndedRun:
    """A run all of whose waits are in the triggerer, to be ended by their triggers.

    :param dag_id: ``ended``, where workers have deferred a sensor and an operator, or ``started``, where Airflow's
        scheduler has handed a sensor to the triggerer.
    """

    def __init__(self, site: Standalone, fake: FakeSopsClient, dag_id: str = "ended") -> None:
        self.site, self.fake, self.dag_id = site, fake, dag_id
        self.waits = ("wait", "run") if dag_id == "ended" else ("wait",)
        self.waited_for = fake.create_task("Long sleep", constants={"seconds": "36000"})
        self.run_id = site.api.trigger(self.dag_id, {"sops_task_id": self.waited_for})
        for task_id in self.waits:
            wait_until(f"{task_id} is deferred", lambda: self.states(task_id) == {"deferred": 1}, seconds=PATIENCE)  # noqa: B023
        before = fake.count("get_tasks_status")
        wait_until("the triggerer reads", lambda: fake.count("get_tasks_status") >= before + 2, seconds=120)

    def states(self, task_id: str) -> dict[str, int]:
        return self.site.states(self.dag_id, self.run_id, task_id)

    def keys(self, task_id: str) -> set[str]:
        """The keys of a task's XComs, by Airflow's database."""
        rows = self.site.sql(
            "SELECT key FROM xcom WHERE dag_id = :dag AND run_id = :run AND task_id = :task",
            dag=self.dag_id,
            run=self.run_id,
            task=task_id,
        )
        return {row[0] for row in rows}

    def logs(self, task_id: str, *, of_triggers: bool) -> str:
        """What workers, or triggerers, have written for a task."""
        paths: list[Path] = [
            path
            for path in self.site.written()
            if f"run_id={self.run_id}" in str(path)
            and f"task_id={task_id}" in str(path)
            and (".trigger." in path.name) is of_triggers
        ]
        return "\n".join(path.read_text(errors="replace") for path in paths)

    def check(self) -> None:
        """All has ended well, all XComs are there once, and later tasks have used them."""
        api = self.site.api
        assert api.wait_for_run(self.dag_id, self.run_id, seconds=PATIENCE) == "success"
        for task_id in self.waits:
            (instance,) = api.instances(self.dag_id, self.run_id, task_id)
            assert (instance["state"], instance["try_number"]) == ("success", 1)
            assert instance["end_date"]
            for key, value in TWINS.items():
                # Airflow's API reads the text "0" as a number, whoever has pushed it
                assert str(api.xcom(self.dag_id, self.run_id, task_id, key)) == value
            url = api.xcom(self.dag_id, self.run_id, task_id, "sops_task_url")
            assert url.startswith(self.fake.url)
            links = api.ask("GET", f"dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{task_id}/links")
            assert url in str(links)
        assert len(self.keys("wait")) == len({"sops_task_url", "return_value", "the link's"} | TWINS.keys())
        result = api.xcom(self.dag_id, self.run_id, "wait")
        assert (result["sops_task_id"], result["state"], result["outputs"]) == (self.waited_for, "FINISHED", OUTPUTS)
        if "run" in self.waits:
            assert api.xcom(self.dag_id, self.run_id, "run") == OUTPUTS
        assert api.xcom(self.dag_id, self.run_id, "use") == ["127.0.0.1", "127.0.0.1", OUTPUTS]
        over = OUTPUTS if "run" in self.waits else result
        mapped: list[Any] = [api.xcom(self.dag_id, self.run_id, "each", map_index=index) for index in range(len(over))]
        assert sorted(mapped) == sorted([name, value] for name, value in over.items())
        assert len(api.instances(self.dag_id, self.run_id, "each")) == len(over)
