# SPDX-License-Identifier: Apache-2.0
"""Templated arguments once they are rendered, in every operator and every mode: one check, which names the field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskGroup, XComArg

from airflow_provider_sops.exceptions import SopsConfigException
from airflow_provider_sops.operator_arguments import Field, listed, read_schemes, read_texts
from airflow_provider_sops.operators.sops import (
    SopsGetTaskOutputsOperator,
    SopsOperateNodeOperator,
    SopsOperateTaskOperator,
    SopsRunTaskOperator,
)
from airflow_provider_sops.sensors.sops import RESCHEDULE_INTERVAL, SopsTaskSensor
from tests.operators.airflow_task import AirflowTask, Instance
from tests.operators.conftest import World
from tests.tasks import TaskInstance

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

try:  # Airflow 3.2 and newer
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:
    from airflow.serialization.serialized_objects import (  # type: ignore[assignment, attr-defined]
        SerializedDAG as DagSerialization,
    )

#: what upstream tasks and templates may give where something else is wanted
NOTHING = ("", " ", None, False)
IDS: tuple[Any, ...] = (*NOTHING, [], {}, 0, 1.5, "x")
TEXTS: tuple[Any, ...] = (*NOTHING, [], {"a": 1}, float("nan"))
LISTS = ("", " ", None, False, {"a": 1}, ["a", None], ["a", ""], [True], [["a"]], float("inf"))
DICTS: tuple[Any, ...] = ("", None, False, True, [], "{'a': 1}", 5, {"": 1}, {None: 1})
PROJECT_FIELDS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "bk_biz_id": (2, IDS),
    "scope": ("cmdb_biz", (*NOTHING, [], 5, "business")),
    "sops_conn_id": ("sops_default", TEXTS),
}
TASK = {"sops_task_id": (50001, IDS), **PROJECT_FIELDS}
RUN = {
    "template_source": ("business", (*NOTHING, [], "private")),
    "task_name": ("x", TEXTS),
    "constants": ({}, DICTS),
    "flow_type": ("common", TEXTS),
    "exclude_task_nodes_id": ([], LISTS),
    "execute_task_nodes_id": (["a"], (*LISTS, [])),
    "template_schemes_id": (["a"], (*LISTS, [])),
    "simplify_vars": ([], LISTS),
    **PROJECT_FIELDS,
}
NODE = {"action": ("callback", TEXTS), "flow_id": ("x", TEXTS), "data": ({}, DICTS), "inputs": ({}, DICTS), **TASK}
#: by operator: each templated argument with a value that is right, and values that are wrong
FIELDS: list[tuple[type[Any], dict[str, tuple[Any, tuple[Any, ...]]], dict[str, Any]]] = [
    (SopsGetTaskOutputsOperator, {**TASK, "keys": ([], LISTS)}, {}),
    (SopsRunTaskOperator, {**RUN, "template_id": (101, IDS)}, {}),
    (SopsRunTaskOperator, {**RUN, "template_name": ("x", TEXTS)}, {"deferrable": True}),
    (SopsOperateTaskOperator, {**TASK, "action": ("pause", TEXTS)}, {}),
    (SopsOperateNodeOperator, {**NODE, "sops_node_id": ("x", TEXTS)}, {}),
    (SopsOperateNodeOperator, {**NODE, "sops_node_name": ("x", TEXTS)}, {}),
    *(
        (SopsTaskSensor, {**TASK, "keys": ([], LISTS)}, {"push_outputs": True, **mode})
        for mode in ({}, {"mode": "reschedule"}, {"deferrable": True})
    ),
]
CASES = [
    pytest.param(kind, fields, more, name, bad, id=f"{kind.__name__}-{'-'.join(map(str, more))}-{name}-{bad!r}")
    for kind, fields, more in FIELDS
    for name, (_, wrong) in fields.items()
    for bad in wrong
]


def rendered(kind: type[Any], fields: dict[str, Any], more: dict[str, Any]) -> Any:
    """An operator whose author gave all of these, and what rendering has made of them."""
    operator = kind(task_id="t", **dict.fromkeys(fields, "{{ something }}"), **more)
    for name, value in fields.items():
        setattr(operator, name, value)
    return operator


def context() -> Context:
    return Instance().context_with(dag_run=None)


@pytest.mark.parametrize(("kind", "fields", "more", "name", "bad"), CASES)
def test_what_is_wrong_once_it_is_rendered_is_named(
    kind: type[Any], fields: dict[str, Any], more: dict[str, Any], name: str, bad: Any
) -> None:
    good = {name: right for name, (right, _) in fields.items()}
    operator = rendered(kind, {**good, name: bad}, more)
    # a rescheduled sensor's execute asks the database of Airflow 2 before it pokes
    run = operator.poke if more.get("mode") == "reschedule" else operator.execute
    with pytest.raises(SopsConfigException) as caught:  # before anything is asked: there is no SOPS here
        run(context())
    assert caught.value.field == name
    assert str(caught.value).startswith(f"{name}: ")
    if not bad or (isinstance(bad, str) and name not in ("constants", "data", "inputs")):
        assert repr(bad) in str(caught.value) or bad == []


def test_a_resumed_sensor_checks_too() -> None:
    operator = rendered(SopsTaskSensor, {"sops_task_id": 1, "keys": None}, {"deferrable": True, "push_outputs": True})
    with pytest.raises(SopsConfigException, match=r"^keys: was given, but "):
        operator.resume_execution("execute_complete", {"event": {}}, context())


@pytest.mark.parametrize("kind", dict.fromkeys(kind for kind, _, _ in FIELDS), ids=lambda kind: kind.__name__)
def test_every_templated_argument_is_checked(kind: type[Any]) -> None:
    assert all(isinstance(field, Field) for field in kind.fields_read.values())
    assert tuple(kind.fields_read) == tuple(kind.template_fields)
    tried = {name for other, fields, _ in FIELDS if other is kind for name in fields}
    assert tried == set(kind.template_fields)


def test_what_may_hold_a_secret_is_not_shown() -> None:
    for value in ("pass-word", ["pass-word"], {"": "pass-word"}):
        operator = rendered(SopsRunTaskOperator, {"template_id": 101, "constants": value}, {})
        with pytest.raises(SopsConfigException, match=r"^constants: must be a dict") as caught:
            operator.execute(context())
        assert "pass-word" not in str(caught.value)


def test_of_a_list_or_dict_the_kind_is_shown() -> None:
    operator = rendered(SopsOperateTaskOperator, {"sops_task_id": 1, "action": ["pass-word"]}, {})
    with pytest.raises(SopsConfigException, match=r"^action: must be a text, not a value of type list$"):
        operator.execute(context())


# ---- native types ----


@pytest.fixture
def numbers(make_world: Callable[..., World]) -> World:
    """A SOPS in which all is named like a number."""
    return make_world(templates=Path(__file__).parent.parent / "numbers.toml")


def test_numbers_are_taken_as_text(numbers: World) -> None:
    """As Jinja's native types make them of a text that looks like one."""
    arguments = {"template_name": 2024, "task_name": 20261128, "constants": {1: 5}, "wait_for_completion": False}
    one = AirflowTask(arguments).run()
    assert one.outcome == {}
    (task,) = numbers.fake.tasks
    assert task.name.startswith("20261128 ")
    numbers.fake.advance(5)
    operator = SopsOperateNodeOperator(task_id="t", sops_task_id=task.id, action="callback", sops_node_name=2)  # type: ignore[arg-type]
    operator.execute(TaskInstance().context)
    numbers.fake.advance(5)
    assert numbers.states() == {task.id: "FINISHED"}
    outputs = SopsGetTaskOutputsOperator(task_id="t", sops_task_id=task.id, keys=1)  # type: ignore[arg-type]
    assert outputs.execute(TaskInstance().context) == {"1": 5}
    outputs = SopsGetTaskOutputsOperator(task_id="t", sops_task_id=task.id, keys=[1])  # type: ignore[list-item]
    assert outputs.execute(TaskInstance().context) == {"1": 5}


def test_a_node_of_a_number_that_is_not_there(numbers: World) -> None:
    task_id = numbers.fake.create_task("2024")
    operator = SopsOperateNodeOperator(task_id="t", sops_task_id=task_id, action="callback", sops_node_name=3)  # type: ignore[arg-type]
    with pytest.raises(SopsConfigException, match="has no node named '3'; there are: '1', '2'"):
        operator.execute(TaskInstance().context)


def test_numbers_in_lists() -> None:
    assert read_texts("nodes", 1) == ["1"]
    assert read_texts("nodes", [1, "2", 3.5]) == ["1", "2", "3.5"]
    assert read_texts("nodes", ("a", "b")) == ["a", "b"]
    assert read_texts("nodes", {"b", "a"}) == ["a", "b"]
    assert read_schemes("schemes", 5) == 5
    assert read_schemes("schemes", "5") == ["5"]
    assert read_schemes("schemes", [5, "6"]) == [5, "6"]


# ---- None ----


@pytest.fixture
def finished(world: World) -> int:
    """A finished task."""
    task_id = world.fake.create_task()
    world.fake.advance(10)
    return task_id


OUTPUTS = {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}


def test_none_is_not_given_where_the_author_gave_it(finished: int) -> None:
    operator = SopsGetTaskOutputsOperator(task_id="t", sops_task_id=finished, keys=None, bk_biz_id=None, scope=None)
    assert operator.execute(TaskInstance().context) == OUTPUTS


def test_mapped(finished: int) -> None:
    with DAG("mapped", schedule=None):
        mapped = SopsGetTaskOutputsOperator.partial(task_id="t", keys=None, bk_biz_id=None).expand(
            sops_task_id=[finished]
        )
        of_upstream = SopsGetTaskOutputsOperator.partial(task_id="u", sops_task_id=finished).expand(
            keys=[["IP"], None], bk_biz_id=[2, None]
        )
        of_dicts = SopsGetTaskOutputsOperator.partial(task_id="v", bk_biz_id=None).expand_kwargs(
            [{"sops_task_id": finished}, {"sops_task_id": finished, "keys": None}]
        )
    assert mapped.unmap({"sops_task_id": finished}).execute(TaskInstance().context) == OUTPUTS
    assert of_upstream.unmap({"keys": ["IP"], "bk_biz_id": 2}).execute(TaskInstance().context) == {"IP": "127.0.0.1"}
    for values in ({"keys": None, "bk_biz_id": 2}, {"keys": ["IP"], "bk_biz_id": None}):
        (name,) = [name for name, value in values.items() if value is None]
        with pytest.raises(SopsConfigException, match=f"^{name}: was given, but what it was to come from gave None"):
            of_upstream.unmap(values).execute(TaskInstance().context)
    assert of_dicts.unmap({"sops_task_id": finished}).execute(TaskInstance().context) == OUTPUTS
    with pytest.raises(SopsConfigException, match=r"^keys: was given"):
        of_dicts.unmap({"sops_task_id": finished, "keys": None}).execute(TaskInstance().context)


def test_mapped_over_templates_of_which_one_is_none() -> None:
    with DAG("mapped", schedule=None):
        mapped = SopsRunTaskOperator.partial(task_id="t", template_name=None).expand(template_id=[101, None])
    assert mapped.unmap({"template_id": 101}).template_id == 101
    with pytest.raises(ValueError, match=r"give one of them, not template_id=None, template_name=None"):
        mapped.unmap({"template_id": None})


# ---- iterables ----

ITERABLES: list[tuple[type[Any], dict[str, Any], str]] = [
    (SopsGetTaskOutputsOperator, {"sops_task_id": 1}, "keys"),
    (SopsTaskSensor, {"sops_task_id": 1, "push_outputs": True}, "keys"),
    *(
        (SopsRunTaskOperator, {"template_id": 1}, name)
        for name in ("exclude_task_nodes_id", "execute_task_nodes_id", "template_schemes_id", "simplify_vars")
    ),
]


@pytest.mark.parametrize(("kind", "arguments", "name"), ITERABLES)
@pytest.mark.parametrize("make", [iter, set, tuple, lambda names: dict.fromkeys(names).keys()])
@pytest.mark.parametrize("is_mapped", [False, True])
def test_the_serialised_form_is_the_same_at_every_reading(
    kind: type[Any], arguments: dict[str, Any], name: str, make: Callable[[list[str]], Any], is_mapped: bool
) -> None:
    def read() -> str:
        with DAG("d", schedule=None) as dag:
            wanted = make(["c", "a", "b"])
            if is_mapped:
                (over, value), *others = arguments.items()
                kind.partial(task_id="t", **dict(others), **{name: wanted}).expand(**{over: [value]})
            else:
                kind(task_id="t", **arguments, **{name: wanted})
        return json.dumps(DagSerialization.to_dict(dag), sort_keys=True)

    assert read() == read()
    assert " at 0x" not in read()
    assert ('["a", "b", "c"]' if make is set else '["c", "a", "b"]') in read()


def test_allowed_states_may_be_any_iterable() -> None:
    states = ["REVOKED", "FINISHED"]
    for given in (iter(states), set(states), tuple(states)):
        assert len(SopsTaskSensor(task_id="t", sops_task_id=1, allowed_states=given).policy.allowed_states) == 2
    with DAG("d", schedule=None):
        mapped = SopsTaskSensor.partial(task_id="t", allowed_states=iter(states)).expand(sops_task_id=[1, 2])
    for _ in range(2):
        assert len(mapped.unmap({"sops_task_id": 1}).policy.allowed_states) == 2


def test_what_is_still_to_be_rendered_stays_as_it_is() -> None:
    with DAG("d", schedule=None):
        upstream = SopsGetTaskOutputsOperator(task_id="u", sops_task_id=1)
        output: Any = upstream.output  # until Airflow renders it
        operator = SopsGetTaskOutputsOperator(task_id="t", sops_task_id=1, keys=output)
    assert isinstance(output, XComArg)
    assert operator.keys is output
    assert operator.upstream_task_ids == {"u"}
    assert listed("{{ keys }}") == "{{ keys }}"
    assert listed(["a", output]) == ["a", output]
    assert listed(None) is None


# ---- default_args ----


def sensors(**arguments: Any) -> Iterator[SopsTaskSensor]:
    """A sensor in a DAG, in a group, and mapped in both, whose default_args are these."""
    for in_group in (False, True):
        with DAG("d", schedule=None, default_args={} if in_group else arguments):
            # (of an attribute with a converter, mypy takes the converter's type)
            with TaskGroup("g", default_args=arguments if in_group else {}):  # type: ignore[arg-type]
                yield SopsTaskSensor(task_id="one", sops_task_id=1)
                mapped = SopsTaskSensor.partial(task_id="mapped").expand(sops_task_id=[1])
            yield mapped.unmap({"sops_task_id": 1})


@pytest.mark.parametrize(
    ("arguments", "interval"),
    [
        ({}, 10),
        ({"mode": "reschedule"}, RESCHEDULE_INTERVAL),
        ({"mode": "reschedule", "poke_interval": 20}, 20),
        ({"mode": "reschedule", "deferrable": True}, 10),
        ({"mode": "poke"}, 10),
    ],
)
def test_the_mode_may_be_said_in_default_args(arguments: dict[str, Any], interval: float) -> None:
    found = list(sensors(**arguments))
    assert [sensor.poke_interval for sensor in found] == [interval] * 4
    assert [sensor.mode for sensor in found] == [arguments.get("mode", "poke")] * 4


def test_the_mode_of_a_mapped_sensor() -> None:
    with DAG("d", schedule=None):
        mapped = SopsTaskSensor.partial(task_id="t", mode="reschedule").expand(sops_task_id=[1])
    assert mapped.unmap({"sops_task_id": 1}).poke_interval == RESCHEDULE_INTERVAL
