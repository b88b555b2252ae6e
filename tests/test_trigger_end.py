# SPDX-License-Identifier: Apache-2.0
"""Which waits are ended by their trigger: as the task says, or the site, and why a worker is needed after all."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, BaseOperatorLink, TaskDeferred

from airflow_provider_sops import operator_arguments, trigger_end
from airflow_provider_sops.compat import has_listeners, is_mapped_over
from airflow_provider_sops.exceptions import SopsConfigException
from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator, SopsRunTaskOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from airflow_provider_sops.testing import FakeSops
from tests.tasks import TaskInstance, collect_log
from tests.triggers.ended import needs_end_from_trigger

ORDER = ("end_from_trigger", "push_outputs", "keys", "do_xcom_push", "returns_outputs", "mapped_over")
LEFT = "A worker will end this task, not its trigger: "


class OtherLink(BaseOperatorLink):
    name = "other"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return "https://example.com"


class PostExecute(SopsTaskSensor):
    def post_execute(self, context: Any, result: Any = None) -> None: ...


class OwnEnd(SopsTaskSensor):
    def execute_complete(self, context: Any, event: Any) -> dict[str, Any]:
        return {}


class OwnResume(SopsTaskSensor):
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any: ...


class OtherLinks(SopsTaskSensor):
    operator_extra_links = (*SopsTaskSensor.operator_extra_links, OtherLink())


def called(context: Any) -> None: ...


#: the class, its arguments, a part of the reason
REASONS: list[tuple[type[SopsTaskSensor], dict[str, Any], str]] = [
    (SopsTaskSensor, {"outlets": [SimpleNamespace(uri="x")]}, "its outlets"),
    (SopsTaskSensor, {"on_success_callback": called}, "its on_success_callback"),
    (SopsTaskSensor, {"on_success_callback": [called]}, "its on_success_callback"),
    (SopsTaskSensor, {"default_args": {"on_success_callback": called}}, "its on_success_callback"),
    (SopsTaskSensor, {"post_execute": lambda context, result: None}, "its post_execute"),
    (SopsTaskSensor, {"multiple_outputs": True}, "multiple_outputs"),
    (SopsTaskSensor, {"map_index_template": "{{ task.task_id }}"}, "its map_index_template"),
    (PostExecute, {}, "its post_execute"),
    (OwnEnd, {}, "an end of its own"),
    (OwnResume, {}, "an end of its own"),
    (OtherLinks, {}, "links of its own"),
]
EACH_REASON = pytest.mark.parametrize(("kind", "arguments", "why"), REASONS, ids=[why for _, _, why in REASONS])


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the site's default."""
    return lambda value: monkeypatch.setenv("AIRFLOW__SOPS__END_FROM_TRIGGER", value)


@pytest.fixture
def waiting(sops: FakeSops, connect: Callable[..., None]) -> int:
    connect(sops)
    return sops.create_task("Long sleep")


def deferral(sensor: SopsTaskSensor) -> tuple[dict[str, Any], list[str]]:
    """What a sensor orders from its trigger to end it, and its log."""
    lines = collect_log(sensor)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(TaskInstance().context)
    row = json.loads(json.dumps(deferred.value.trigger.serialize()[1]))
    return {name: row[name] for name in ORDER}, lines


def sensor(task_id: int, kind: type[SopsTaskSensor] = SopsTaskSensor, **arguments: Any) -> SopsTaskSensor:
    return kind(**{"task_id": "wait", "sops_task_id": task_id, "deferrable": True, **arguments})


@needs_end_from_trigger
def test_it_is_ordered_where_it_is_asked_for(waiting: int) -> None:
    order, lines = deferral(sensor(waiting, end_from_trigger=True, push_outputs=True, keys=["IP"]))
    assert list(order.values()) == [True, True, ["IP"], True, False, False]
    assert not [line for line in lines if LEFT in line]
    order, _ = deferral(sensor(waiting, end_from_trigger=True, do_xcom_push=False))
    assert list(order.values()) == [True, False, None, False, False, False]


@needs_end_from_trigger
@pytest.mark.parametrize(
    ("default", "given", "ordered"),
    [("True", None, True), ("True", False, False), ("False", None, False), ("", None, False), ("False", True, True)],
)
def test_the_site_s_default(
    site: Callable[[str], None], waiting: int, default: str, given: bool | None, ordered: bool
) -> None:
    site(default)
    order, _ = deferral(sensor(waiting, end_from_trigger=given))
    assert order["end_from_trigger"] is ordered


def test_it_is_off_by_default(waiting: int) -> None:
    order, lines = deferral(sensor(waiting))
    assert order["end_from_trigger"] is False
    assert not [line for line in lines if LEFT in line]


def test_a_wrong_default_of_the_site_is_named(
    site: Callable[[str], None], sops: FakeSops, connect: Callable[..., None]
) -> None:
    connect(sops)
    site("perhaps")
    operator = SopsRunTaskOperator(task_id="run", template_id=103, deferrable=True)
    with pytest.raises(SopsConfigException, match=r"\[sops\] end_from_trigger: must be True or False, not 'perhaps'"):
        operator.execute(TaskInstance().context)
    assert sops.count() == 0


def test_the_attribute_is_what_was_given(site: Callable[[str], None]) -> None:
    """Airflow refuses a DAG whose task has it true where plugins listen; the site's default must not do that."""
    site("True")
    assert sensor(1).end_from_trigger is None
    assert SopsRunTaskOperator(task_id="run", template_id=1, deferrable=True).end_from_trigger is None


@pytest.mark.parametrize("deferrable", [{"deferrable": False}, {"wait_for_completion": False, "deferrable": True}])
def test_without_a_deferred_wait_it_is_an_error(deferrable: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="end_from_trigger: needs deferrable=True"):
        SopsRunTaskOperator(task_id="run", template_id=1, end_from_trigger=True, **deferrable)
    if "wait_for_completion" not in deferrable:
        with pytest.raises(ValueError, match="end_from_trigger: needs deferrable=True"):
            sensor(1, end_from_trigger=True, **deferrable)


@needs_end_from_trigger
@EACH_REASON
def test_a_reason_against_it_is_an_error_when_the_dag_is_read(
    kind: type[SopsTaskSensor], arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=f"end_from_trigger: a trigger cannot end this task: .*{why}"):
        sensor(1, kind, end_from_trigger=True, **arguments)


@needs_end_from_trigger
@EACH_REASON
def test_with_the_site_s_default_a_worker_ends_it_and_the_log_says_so_once(
    site: Callable[[str], None], waiting: int, kind: type[SopsTaskSensor], arguments: dict[str, Any], why: str
) -> None:
    site("True")
    order, lines = deferral(sensor(waiting, kind, **arguments))
    assert order["end_from_trigger"] is False
    (told,) = [line for line in lines if LEFT in line]
    assert why in told


@needs_end_from_trigger
@pytest.mark.parametrize("backend", ["mycompany.xcom.Backend", "airflow.providers.x.XComObjectStorageBackend"])
def test_a_backend_of_the_site(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", backend)
    with pytest.raises(ValueError, match=f"xcom_backend is {backend}"):
        sensor(1, end_from_trigger=True)


@needs_end_from_trigger
def test_what_is_set_after_the_operator_was_made(waiting: int) -> None:
    one = sensor(waiting, end_from_trigger=True)
    one.on_success_callback = [called]
    order, lines = deferral(one)
    assert order["end_from_trigger"] is False
    assert sum("its on_success_callback" in line for line in lines) == 1


@needs_end_from_trigger
def test_listeners(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_end, "has_listeners", lambda: True)
    order, lines = deferral(sensor(waiting, end_from_trigger=True))
    assert order["end_from_trigger"] is False
    assert sum("a plugin of this Airflow listens" in line for line in lines) == 1


@needs_end_from_trigger
def test_airflow_says_whether_there_are_listeners() -> None:
    assert has_listeners() is False


def test_an_airflow_that_is_too_old(site: Callable[[str], None], waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_end, "TRIGGERS_PUSH_XCOMS", False)
    monkeypatch.setattr(operator_arguments, "TRIGGERS_PUSH_XCOMS", False)
    with pytest.raises(ValueError, match=r"end_from_trigger: .*it needs Airflow [0-9.]+ or newer"):
        sensor(1, end_from_trigger=True)
    with pytest.raises(ValueError, match=r"end_from_trigger: it needs Airflow [0-9.]+ or newer"):
        SopsTaskSensor.partial(task_id="wait", deferrable=True, end_from_trigger=True)
    site("True")
    order, lines = deferral(sensor(waiting))
    assert order["end_from_trigger"] is False
    assert sum(f"{LEFT}it needs Airflow" in line for line in lines) == 1


@needs_end_from_trigger
def test_a_mapped_task_does_not_fail_by_it(waiting: int) -> None:
    """Its operators are made when they run: no time for an error that a DAG author would have to see before."""
    with DAG("mapped", schedule=None):
        mapped = SopsTaskSensor.partial(
            task_id="wait", deferrable=True, end_from_trigger=True, on_success_callback=called
        ).expand(sops_task_id=[waiting])
    made = mapped.unmap({"sops_task_id": waiting})
    order, lines = deferral(made)
    assert order["end_from_trigger"] is False
    assert sum("its on_success_callback" in line for line in lines) == 1


@needs_end_from_trigger
def test_what_is_expanded_over_it(waiting: int) -> None:
    def dag(**arguments: Any) -> SopsTaskSensor:
        with DAG("mapped_over", schedule=None):
            first = sensor(waiting, end_from_trigger=True, **arguments)
            SopsGetTaskOutputsOperator.partial(task_id="after").expand(sops_task_id=first.output)
        return first

    order, _ = deferral(dag())
    assert (order["end_from_trigger"], order["mapped_over"]) == (True, True)
    order, lines = deferral(dag(do_xcom_push=False))
    assert order["end_from_trigger"] is False
    assert sum("do_xcom_push is off" in line for line in lines) == 1
    assert is_mapped_over(dag(), SimpleNamespace(is_mapped=True)) is False
