# SPDX-License-Identifier: Apache-2.0
"""What type checkers of our users see. Nothing here runs: ``make lint`` checks it with ``mypy --strict``.

A line that is wrong, and must stay so, has an ``ignore`` with its code; mypy complains about one that is not needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, assert_type

from airflow.providers.common.compat.sdk import XComArg
from pendulum import DateTime

from airflow_provider_sops.assets import EndedTask, ended_tasks
from airflow_provider_sops.core import models
from airflow_provider_sops.core.approval.prepared_answers import PreparedAnswers
from airflow_provider_sops.core.variables import render
from airflow_provider_sops.exceptions import (
    SopsApiException,
    SopsException,
    SopsTaskFailedException,
    SopsTimedOutException,
)
from airflow_provider_sops.hooks.sops import SopsHook
from airflow_provider_sops.operators.sops import (
    SopsApprovalOperator,
    SopsGetTaskOutputsOperator,
    SopsOperateNodeOperator,
    SopsOperateTaskOperator,
    SopsRunTaskOperator,
)
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from airflow_provider_sops.testing import FakeSops, FakeSopsClient, Node, Refused, Request, Task
from airflow_provider_sops.testing.faults import Faults
from airflow_provider_sops.triggers.sops import SopsTaskEndedTrigger, SopsTaskTrigger
from airflow_provider_sops.wait_spec import WaitSpec


def hook(hook: SopsHook) -> None:
    assert_type(hook.get_task_detail(50001), models.TaskDetail)
    assert_type(hook.get_task_status("50001"), models.TaskStatus)
    assert_type(hook.get_tasks_status([50001, 50002]), dict[int, models.TaskStatus])
    assert_type(hook.get_task_list(limit=5), list[models.TaskListItem])
    assert_type(hook.count_tasks(name="deploy"), int)
    assert_type(hook.get_template_list(), list[models.TemplateListItem])
    assert_type(hook.get_template_info(1001), models.Template)
    assert_type(hook.create_task(1001, "deploy"), models.CreatedTask)
    assert_type(hook.get_task_node_detail(50001, "n1"), models.NodeDetail)
    assert_type(hook.test_connection(), tuple[bool, str])
    assert_type(hook.call("get_template_schemes", template_id=1001), Any)
    assert_type(hook.create_task(1001, "deploy").task_id, int)
    hook.start_task(50001)
    hook.operate_task(50001, "pause")
    hook.operate_node(50001, "n1", "retry", inputs={"IP": "10.0.0.8"})
    hook.get_task_detail(None)  # type: ignore[arg-type]


def results(detail: models.TaskDetail, status: models.TaskStatus) -> None:
    assert_type(detail.task_id, int)
    assert_type(detail.outputs, tuple[models.Output, ...])
    assert_type(status.start_time, DateTime | None)


def sensor() -> None:
    sensor = SopsTaskSensor(
        task_id="wait",
        sops_task_id="{{ params.sops_task_id }}",
        failed_grace=timedelta(minutes=30),
        max_outage=600,
        deferrable=True,
        timeout=3600,
    )
    assert_type(sensor, SopsTaskSensor)
    SopsTaskSensor(task_id="wait")  # type: ignore[call-arg]
    SopsTaskSensor(task_id="wait", sops_task_id=50001, push_outputs="yes")  # type: ignore[arg-type]


def operators() -> None:
    SopsRunTaskOperator(
        task_id="run", template_name="Deploy", constants={"IP": "10.0.0.8"}, execution_timeout=timedelta(hours=2)
    )
    SopsRunTaskOperator(task_id="run", template_id=1001, on_clear="reattach", deferrable=True)
    SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=50001, keys=["IP"])
    SopsOperateTaskOperator(task_id="pause", sops_task_id=50001, action="pause")
    SopsOperateNodeOperator(task_id="retry", sops_task_id=50001, action="retry", sops_node_name="restart")
    SopsOperateTaskOperator(task_id="pause", sops_task_id=50001)  # type: ignore[call-arg]


def triggers(ended: DateTime) -> None:
    SopsTaskEndedTrigger(name="deployed", template_ids=[101], since=ended, poll_interval=timedelta(minutes=1))
    SopsTaskEndedTrigger(name="deployed", template_names="Deploy", states=("FINISHED", "FAILED"))
    SopsTaskEndedTrigger(template_ids=[101])  # type: ignore[call-arg]
    SopsTaskEndedTrigger(name="deployed", template=101)  # type: ignore[call-arg]
    trigger = SopsTaskTrigger(sops_task_id=50001, bk_biz_id=2, scope="cmdb_biz")
    assert_type(trigger.spec, WaitSpec)
    assert_type(trigger.spec.sops_task_id, int)


def what_is_templated_may_come_from_another_task(given: XComArg, run: SopsRunTaskOperator) -> None:
    SopsTaskSensor(task_id="wait", sops_task_id=given, bk_biz_id=given, scope=given, sops_conn_id=given)
    SopsTaskSensor(task_id="wait", sops_task_id=run.output, push_outputs=True, keys=given)
    SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=given, keys=given)
    SopsRunTaskOperator(task_id="run", template_id=given, constants=given, template_schemes_id=given)
    SopsRunTaskOperator(task_id="run", template_name=given, task_name=given, execute_task_nodes_id=given)
    SopsOperateTaskOperator(task_id="operate", sops_task_id=given, action=given)
    SopsOperateNodeOperator(
        task_id="retry", sops_task_id=given, action="retry", sops_node_id=given, inputs=given, data=given
    )
    SopsApprovalOperator(task_id="approve", sops_task_id=given, sops_node_name=given)
    SopsTaskSensor(task_id="wait", sops_task_id=50001, on_failed=given)  # type: ignore[arg-type]


def outputs(events: Mapping[Any, Iterable[Any]]) -> None:
    assert_type(render("echo ${IP}", {"IP": "10.0.0.8"}, quote=True), str)
    (ended,) = ended_tasks(events)
    assert_type(ended, EndedTask)
    assert_type(ended["outputs"], dict[str, Any] | None)


def errors(error: SopsTaskFailedException) -> None:
    caught: type[SopsException] = SopsApiException
    failed: type[SopsTaskFailedException] = SopsTimedOutException
    assert issubclass(caught, Exception)
    assert issubclass(failed, Exception)
    assert_type(error.sops_task_id, int | None)


def fake() -> None:
    with FakeSops() as fake:
        assert_type(fake, FakeSops)
        assert_type(fake.create_task("Two steps with outputs"), int)
        assert_type(fake.url, str)
        assert_type(fake.task(50001), Task)
        assert_type(fake.task(50001).node("n1"), Node)
        assert_type(fake.requests, list[Request])
        assert_type(fake.faults, Faults)
        fake.faults.add("get_task_status", kind="html", times=2)
    assert_type(FakeSopsClient("http://127.0.0.1:8000").count(), int)
    assert issubclass(Refused, Exception)


def fixtures(answers: PreparedAnswers) -> None:
    answers.approve(by="alice")
    answers.reject()
