# SPDX-License-Identifier: Apache-2.0
"""DAGs of deferred waits and runs, all at once in the triggerer."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, BaseOperator, task

from airflow_provider_sops.compat import TRIGGERS_PUSH_XCOMS
from airflow_provider_sops.operators.sops import SopsRunTaskOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from airflow_provider_sops.triggers.sops import SopsTaskTrigger

START = pendulum.datetime(2025, 1, 1)
LONG: dict[str, Any] = {"template_name": "Long sleep", "constants": {"seconds": "36000"}, "deferrable": True}


def dag_of(dag_id: str, **params: Any) -> DAG:
    """Make a DAG that is started by hand."""
    return DAG(dag_id, schedule=None, start_date=START, max_active_tasks=100, params=params)


class OldWait(BaseOperator):
    """Defers with what version 1.0.0 wrote into a trigger's row."""

    template_fields = ("sops_task_id",)

    def __init__(self, sops_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sops_task_id = sops_task_id

    def execute(self, context: Any) -> None:
        """Wait as version 1.0.0 did."""
        row = {
            "sops_task_id": int(self.sops_task_id),
            "bk_biz_id": 2,
            "scope": "cmdb_biz",
            "sops_conn_id": "sops_default",
            "poll_interval": 10.0,
            "deadline": time.time() + 3600,
            "allowed_states": ["FINISHED"],
            "on_failed": "fail",
            "failed_grace": None,
            "on_suspended": "wait",
            "max_outage": 600.0,
            "assume_finished": False,
            "revoke_on_kill": False,
            "start_deadline": None,
            "keep_when_cleared": False,
            "task_url": "",
            "deferred_at": time.time(),
        }
        trigger = SopsTaskTrigger(**row)
        path = trigger.serialize()[0]
        trigger.serialize = lambda: (path, row)  # type: ignore[method-assign]
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Any, event: dict[str, Any]) -> str:
        """Return what the trigger has sent."""
        return str(event["outcome"])


with dag_of("waits", waits=[]):

    @task
    def waits(params: Any = None) -> list[dict[str, Any]]:
        """What the run was given: ids of SOPS tasks and of connections."""
        found: list[dict[str, Any]] = params["waits"]
        return found

    SopsTaskSensor.partial(task_id="wait", deferrable=True, poke_interval=10).expand_kwargs(waits())

with dag_of("runs"):
    SopsRunTaskOperator(task_id="good", **LONG)
    SopsRunTaskOperator(task_id="bad", template_name="Always fails", deferrable=True)
    SopsRunTaskOperator(task_id="late", execution_timeout=timedelta(seconds=45), **LONG)

with dag_of("run_one"):
    SopsRunTaskOperator(task_id="run", retries=1, retry_delay=timedelta(seconds=1), **LONG)

with dag_of("run_one_with_little_patience"):
    SopsRunTaskOperator(task_id="run", max_outage=15, **LONG)

#: Where this Airflow has no such ends, its DAGs wait as others do, so that all of the file is read.
ENDS: dict[str, Any] = {"end_from_trigger": TRIGGERS_PUSH_XCOMS or None, "deferrable": True}


@task
def use(ip: str, twin: str, result: dict[str, Any]) -> list[Any]:
    """What a later task gets."""
    return [ip, twin, result["outputs"]]


@task
def each(pair: Any) -> list[Any]:
    """One for each part of a result."""
    return list(pair)


def wait_for_outputs(task_id: str = "wait", **arguments: Any) -> SopsTaskSensor:
    """Wait for the SOPS task that the run was given."""
    wanted = {"sops_task_id": "{{ params.sops_task_id }}", "poke_interval": 10, "push_outputs": True}
    return SopsTaskSensor(task_id=task_id, **{"deferrable": True, **wanted, **arguments})


with dag_of("ended", sops_task_id=0):
    wait = wait_for_outputs(**ENDS)
    run = SopsRunTaskOperator(task_id="run", **{**LONG, **ENDS})
    # (Airflow's types do not say that a result has keys, and may be an argument)
    use(wait.output["IP"], wait.output["${IP}"], wait.output)  # type: ignore[arg-type, index]
    each.expand(pair=run.output)

#: Where this Airflow starts no task in the triggerer, a worker does.
STARTS: dict[str, Any] = {**ENDS, "start_from_trigger": True}

with dag_of("started", sops_task_id=0):
    wait = wait_for_outputs(**STARTS)
    use(wait.output["IP"], wait.output["${IP}"], wait.output)  # type: ignore[arg-type, index]
    each.expand(pair=wait.output)

with dag_of("started_with_results", sops_task_id=0):

    @task
    def create(params: Any = None) -> int:
        """What a task before has created."""
        return int(params["sops_task_id"])

    created = create()
    wait_for_outputs("by_xcom", **{**STARTS, "sops_task_id": created})
    by_template = wait_for_outputs("by_template", **{**STARTS, "sops_task_id": "{{ ti.xcom_pull('create') }}"})
    created >> by_template

with dag_of("started_badly", sops_task_id=0, running=0):
    for task_id, retries in (("wait", 1), ("skip", 0)):
        wait_for_outputs(
            task_id, **STARTS, retries=retries, retry_delay=timedelta(seconds=1), soft_fail=task_id == "skip"
        )
    wait_for_outputs("wrong", **{**STARTS, "sops_task_id": "{{ 'no id' }}"})
    wait_for_outputs("broken", **{**STARTS, "sops_task_id": "{{ params.sops_task_id.some.thing }}"})
    wait_for_outputs("late", **{**STARTS, "sops_task_id": "{{ params.running }}"}, timeout=15)

with dag_of("started_again"):
    wait_for_outputs(**{**STARTS, "sops_task_id": "{{ var.value.waited_for }}"})

with DAG(
    "started_mapped", schedule=None, start_date=START, params={"waits": []}, default_args={"start_from_trigger": True}
):

    @task
    def mapped(params: Any = None) -> list[dict[str, Any]]:
        """What the run was given: ids of SOPS tasks."""
        return [{"sops_task_id": one} for one in params["waits"]]

    SopsTaskSensor.partial(task_id="wait", poke_interval=10, push_outputs=True, **ENDS).expand_kwargs(mapped())

for many, arguments in (("many_by_workers", {}), ("many_ended", ENDS), ("many_started", STARTS)):
    with dag_of(many, waits=[]):
        for number in range(20):
            wait_for_outputs(f"wait_{number}", **{**arguments, "sops_task_id": f"{{{{ params.waits[{number}] }}}}"})

with dag_of("ended_badly"):
    SopsRunTaskOperator(
        task_id="run",
        template_name="Always fails",
        retries=1,
        retry_delay=timedelta(seconds=1),
        **ENDS,
    )

with dag_of("waits_of_version_1_0_0", sops_task_id=0):
    OldWait(task_id="wait", sops_task_id="{{ params.sops_task_id }}")
