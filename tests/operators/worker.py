# SPDX-License-Identifier: Apache-2.0
"""A worker and a triggerer, to be killed: runs each leg of a try in a process of its own.

Reads a job from each line of its standard input. Writes two lines for each: the process' id, and its result, which is
``null`` when the process was killed. What it runs it has imported once and forks, so that a leg costs little.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what Airflow prints, also while it is imported, is no answer

from airflow.providers.common.compat.sdk import TaskDeferred  # noqa: E402

from airflow_provider_sops.operators.sops import SopsRunTaskOperator  # noqa: E402
from airflow_provider_sops.triggers.sops import SopsTaskTrigger  # noqa: E402
from tests.operators.airflow_task import Instance  # noqa: E402

for name in (
    "airflow_provider_sops.hooks.sops",
    "airflow_provider_sops.operators.run_attempt",
    "airflow_provider_sops.core.http.async_client",
    "airflow_provider_sops.triggers.deferral_hold",
    "airflow_provider_sops.triggers.on_kill",
    "airflow_provider_sops.triggers.wait_loop",
    "httpx",
    "pendulum",
    "requests",
):
    importlib.import_module(name)  # what is imported when it is first used, and would be in each process anew


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run one leg.

    :return: ``returned``, ``deferred`` (row, method, kwargs), ``fired`` or ``failed``; and the XComs.
    """
    os.environ.update(job["environ"])
    if job["leg"] == "trigger":
        return {"fired": asyncio.run(_fire(job["row"]))}
    ti = Instance()
    vars(ti).update(job["instance"])
    start = datetime.datetime.fromisoformat(job["run_start"])
    context = ti.context_with(dag_run=SimpleNamespace(start_date=start))
    operator = SopsRunTaskOperator(task_id=ti.task_id, retries=ti.max_tries, **job["arguments"])
    try:
        if job["leg"] == "execute":
            return {"returned": operator.execute(context), "xcoms": ti.xcoms}
        method, kwargs = job["resume"]
        return {"returned": operator.resume_execution(method, kwargs, context), "xcoms": ti.xcoms}
    except TaskDeferred as deferral:
        return {
            "deferred": [deferral.trigger.serialize()[1], deferral.method_name, deferral.kwargs],
            "xcoms": ti.xcoms,
        }
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}", "xcoms": ti.xcoms}


async def _fire(row: dict[str, Any]) -> Any:
    async for event in SopsTaskTrigger(**row).run():
        return event.payload


def main() -> None:
    """Take jobs until the input ends."""
    for line in sys.stdin:
        job = json.loads(line)
        reads, writes = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reads)
            try:
                text = json.dumps(run(job))
            except BaseException as error:
                text = json.dumps({"failed": repr(error)})
            with os.fdopen(writes, "w") as pipe:
                pipe.write(text)
            os._exit(0)
        os.close(writes)
        print(pid, file=ANSWERS, flush=True)
        with os.fdopen(reads) as pipe:
            text = pipe.read()
        os.waitpid(pid, 0)
        print(text or "null", file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
