# SPDX-License-Identifier: Apache-2.0
"""Checking the task to create against its template: the names of its constants and of its nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow, LogLine, Secrets
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.models import Template, readers
from airflow_provider_sops.core.redact import secret_texts
from airflow_provider_sops.core.run.task_spec import NODE_FIELDS, TaskSpec, called, find_template, node_ids
from airflow_provider_sops.core.status_reading import REFUSED


@dataclass(frozen=True, slots=True)
class CheckedSpec:
    """The task to create, checked against its template."""

    #: with ids of nodes, not names, where the template could be read
    task_spec: TaskSpec
    template_id: int
    #: ``None`` where it may not be read, or there is nothing to check
    template: Template | None = None
    #: the values given to the template's password variables
    secrets: tuple[str, ...] = field(default=(), repr=False)


def check_task_spec(project: Project, task_spec: TaskSpec) -> Flow[CheckedSpec]:
    """Find the template and check the names of the constants and nodes against it.

    The values of its password variables are yielded as secrets before anything is created with them.

    :raises SopsConfigError: there is no such template, constant or node.
    :raises errors.SopsError: when SOPS gives no good answer.
    """
    template_id = task_spec.template_id
    if template_id is None:
        template_id = yield from find_template(project, task_spec.template_name, task_spec.template_source)
    given = {"constants": task_spec.constants, "nodes": [task_spec.params.get(name) for name in NODE_FIELDS]}
    named = [what for what, values in given.items() if any(values)]
    template = (yield from _read_template(project, task_spec, template_id, named)) if named else None
    if template is None:
        return CheckedSpec(task_spec, template_id)
    secrets = tuple(password_values(task_spec, template))
    yield Secrets(secrets)
    check_constants(task_spec, template)
    params = {**task_spec.params, **node_ids(template, task_spec.params)}
    return CheckedSpec(replace(task_spec, params=params), template_id, template, secrets)


def _read_template(
    project: Project, task_spec: TaskSpec, template_id: int, named: Iterable[str]
) -> Flow[Template | None]:
    """Read the template; ``None`` where that may not be done.

    :param named: what is not checked then.
    """
    source = task_spec.source_param
    try:
        answer = yield project.call("get_template_info", template_id=template_id, template_source=source)
    except REFUSED as error:
        what = " and ".join(named)
        text = f"The names of the {what} are not checked, as the template may not be read. {error}"
        yield LogLine(text, warning=True)
        return None
    return readers.template(answer)


def password_values(task_spec: TaskSpec, template: Template) -> list[str]:
    """Return all texts in the values given to the template's password variables."""
    return secret_texts([task_spec.constants[key] for key in template.secret_keys if key in task_spec.constants])


def check_constants(task_spec: TaskSpec, template: Template) -> None:
    """Refuse constants that the template does not have: SOPS would drop them without a word.

    :raises SopsConfigError: names them, and those that there are.
    """
    unknown = [key for key in task_spec.constants if key not in template.constants]
    if unknown:
        known = ", ".join(sorted(template.constants)) or "none"
        raise SopsConfigError(
            "constants",
            f"{called(template)} has no {', '.join(sorted(unknown))}; there are: {known}",
        )
