# SPDX-License-Identifier: Apache-2.0
"""The description of a task, with its variables and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.core.models import fields
from airflow_provider_sops.core.models.status import TaskStatus
from airflow_provider_sops.core.pipeline_tree import constants, is_password
from airflow_provider_sops.core.redact import secret_texts
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.variables import bare_name

if TYPE_CHECKING:
    import pendulum

    from airflow_provider_sops.core.api.answer import Answer


@dataclass(frozen=True, slots=True)
class Output:
    """One output variable of a finished task; ``name`` without dress, ``label`` as people see it in SOPS."""

    key: str
    name: str
    value: Any = field(repr=False)
    label: str = ""


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """A task as ``get_task_detail`` describes it. It has no state: see :class:`TaskStatus`."""

    task_id: int
    name: str
    project_id: int | None
    project_name: str
    template_id: int | None
    create_time: pendulum.DateTime | None
    start_time: pendulum.DateTime | None
    finish_time: pendulum.DateTime | None
    elapsed_time: int
    creator: str
    executor: str
    create_method: str
    task_url: str
    outputs: tuple[Output, ...]
    constants: Mapping[str, Mapping[str, Any]] = field(repr=False)
    pipeline_tree: Mapping[str, Any] = field(repr=False)

    @property
    def password_names(self) -> frozenset[str]:
        """Bare names of password variables, those of subprocesses too."""
        return frozenset(bare_name(key) for key, constant in self._variables if is_password(constant))

    @property
    def _variables(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [*self.constants.items(), *constants(self.pipeline_tree)]

    @property
    def secret_values(self) -> list[str]:
        """Values of password variables, those of subprocesses too, to be masked in logs."""
        passwords = self.password_names
        values = [constant.get("value") for key, constant in self._variables if bare_name(key) in passwords]
        values += [output.value for output in self.outputs if output.name in passwords]
        return secret_texts(values)


@dataclass(frozen=True, slots=True)
class CreatedTask:
    """What ``create_task`` made: a task that does nothing until it is started."""

    task_id: int
    task_url: str
    pipeline_tree: Mapping[str, Any] = field(repr=False)


def task_detail(answer: Answer) -> TaskDetail:
    """Read the answer of ``get_task_detail``, of an old server or a current one.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    data = fields.object_of(answer, answer.data)
    outputs = data.get("outputs")
    if outputs is None:
        outputs = []
    if not isinstance(outputs, list):
        raise answer.wrong(f"outputs is {type(outputs).__name__} where a list belongs")
    with fields.reading(answer):
        return TaskDetail(
            task_id=fields.required_id(data.get("id")),
            name=fields.text(data.get("name", data.get("instance_name"))),
            project_id=fields.optional_id(data.get("project_id", data.get("business_id"))),
            project_name=fields.text(data.get("project_name", data.get("business_name"))),
            template_id=fields.optional_id(data.get("template_id")),
            create_time=fields.parse_time(data.get("create_time")),
            start_time=fields.parse_time(data.get("start_time")),
            finish_time=fields.parse_time(data.get("finish_time") or data.get("end_time")),
            elapsed_time=fields.number(data.get("elapsed_time")),
            creator=fields.text(data.get("creator")),
            executor=fields.text(data.get("executor")),
            create_method=fields.text(data.get("create_method")),
            task_url=fields.url(data.get("task_url")),
            outputs=tuple(_output(item) for item in outputs),
            constants={
                fields.text(key): value
                for key, value in fields.mapping(data.get("constants")).items()
                if isinstance(value, dict)
            },
            pipeline_tree=fields.mapping(data.get("pipeline_tree")),
        )


def created_task(answer: Answer) -> CreatedTask:
    """Read the answer of ``create_task``.

    :raises SopsInvalidAnswerError: when it does not have the shape of one.
    """
    data = fields.object_of(answer, answer.data)
    with fields.reading(answer):
        return CreatedTask(
            task_id=fields.required_id(data.get("task_id")),
            task_url=fields.url(data.get("task_url")),
            pipeline_tree=fields.mapping(data.get("pipeline_tree")),
        )


def status_from_detail(detail: TaskDetail) -> TaskStatus:
    """Return what a detail tells of a task's state, which is little.

    Outputs prove FINISHED (measured on SOPS 3.34: they are there on finished tasks only); an end time without outputs
    is :attr:`TaskState.ENDED`; a task without end time counts as CREATED or RUNNING, though it may have failed.
    """
    if detail.finish_time is not None:
        state = TaskState.FINISHED if detail.outputs else TaskState.ENDED
    elif detail.outputs:
        state = TaskState.FINISHED  # the outputs may be there a moment before the end time
    else:
        state = TaskState.RUNNING if detail.start_time is not None else TaskState.CREATED
    return TaskStatus(
        task_id=detail.task_id,
        state=state,
        raw_state="",
        name=detail.name,
        start_time=detail.start_time,
        finish_time=detail.finish_time,
        elapsed_time=detail.elapsed_time,
        task_url=detail.task_url,
    )


def _output(item: object) -> Output:
    if not isinstance(item, dict) or not isinstance(item.get("key"), str) or "value" not in item:
        raise ValueError(f"an output is not an object with key and value but {type(item).__name__}")
    key = fields.text(item["key"])
    return Output(key, bare_name(key), item["value"], fields.text(item.get("name")))
