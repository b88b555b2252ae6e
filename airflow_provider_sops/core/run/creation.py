# SPDX-License-Identifier: Apache-2.0
"""Creating a SOPS task under a tag, and finding it again before it is started."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.catalogue import MAX_TASK_NAME, MAX_TASK_NAME_BEFORE
from airflow_provider_sops.core.call_flow import Flow, LogLine, Sleep
from airflow_provider_sops.core.models import readers
from airflow_provider_sops.core.operate.lost_answers import may_have_happened
from airflow_provider_sops.core.run.created_task_check import compare
from airflow_provider_sops.core.run.search import SearchResult, search
from airflow_provider_sops.core.run.search_without_list import SEARCH_PAUSES, check_alone
from airflow_provider_sops.core.run.task_run import TaskRun
from airflow_provider_sops.core.run.task_spec_check import CheckedSpec, check_task_spec


def create(run: TaskRun, generation: int) -> Flow[int]:
    """Create a task of a generation, no more.

    :return: its id.
    :raises errors.SopsConfigError: the template, a constant or a node is not there.
    :raises errors.SopsError: when SOPS gives no good answer.
    """
    checked = yield from _check(run)
    title = checked.task_spec.title
    name, shorter = (run.tag.name(title, generation, most) for most in (MAX_TASK_NAME, MAX_TASK_NAME_BEFORE))
    try:
        answer = yield _create_call(run, checked, name)
    except errors.SopsInvalidParameterError:
        if name == shorter:
            raise
        # a SOPS before 3.6.31 refuses the name; any other reason is refused once more
        answer, name = (yield _create_call(run, checked, shorter)), shorter
    created = readers.created_task(answer)
    run.state.created[created.task_id] = created
    yield LogLine(f"Created SOPS task {created.task_id} {name!r}. {created.task_url}".rstrip())
    return created.task_id


def create_and_find(run: TaskRun, generation: int) -> Flow[SearchResult]:
    """Create a task, and search once more: what counts is what everybody finds.

    :raises errors.SopsError: when SOPS gives no good answer, or the task is not to be found; it was not started then.
    """
    try:
        task_id = yield from create(run, generation)
    except errors.SopsError as error:
        if not may_have_happened(error):
            raise
        for pause in SEARCH_PAUSES:
            yield Sleep(pause)
            found = yield from search(run)
            run = replace(run, tag=found.tag)
            if generation in found.tasks:
                return found
        raise errors.advised(
            error,
            "Whether the SOPS task was created is not known; it was not started. A retry searches for it first.",
        ) from error.__cause__
    for pause in (0.0, *SEARCH_PAUSES):
        yield Sleep(pause)
        found = yield from search(run)
        run = replace(run, tag=found.tag)
        if generation in found.tasks:
            return found
        if not found.searchable:
            yield from check_alone(run, task_id)
            return replace(found, tasks={**found.tasks, generation: task_id})
    unseen = errors.SopsInvalidAnswerError(
        f"get_task_list does not show SOPS task {task_id}, which was just created, under its tag "
        f"{run.tag.base!r}. It was not started, since a retry would not find it and start another one."
    )
    unseen.task_id = task_id
    raise unseen


def check_created(run: TaskRun, task_id: int) -> Flow[None]:
    """Compare a created task that is about to be started with the one to create.

    :raises errors.SopsConfigError: it would run other nodes, or with other constants.
    :raises errors.SopsError: which nodes it would run cannot be read.
    """
    if run.task_spec.constants or run.task_spec.node_fields:
        checked = yield from _check(run)
        yield from compare(run, checked, task_id)


def _check(run: TaskRun) -> Flow[CheckedSpec]:
    """Check the task to create against its template, once."""
    if run.state.checked is None:
        run.state.checked = yield from check_task_spec(run.project, run.task_spec)
    return run.state.checked


def _create_call(run: TaskRun, checked: CheckedSpec, name: str) -> Call:
    task_spec = checked.task_spec
    call = run.project.call(
        "create_task",
        template_id=checked.template_id,
        name=name,
        template_source=task_spec.source_param,
        constants=dict(task_spec.constants),
        **task_spec.params,
    )
    return replace(call, secrets=checked.secrets)
