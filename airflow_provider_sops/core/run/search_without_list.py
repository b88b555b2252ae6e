# SPDX-License-Identifier: Apache-2.0
"""Running a task where SOPS lists none: only a count shows whether an earlier try can have created one."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.sops_releases import SINCE
from airflow_provider_sops.core.call_flow import Flow, LogLine, Sleep
from airflow_provider_sops.core.errors import perhaps_missing
from airflow_provider_sops.core.run.task_run import TaskRun
from airflow_provider_sops.core.status_reading import REFUSED
from airflow_provider_sops.core.task_lists import count_named

#: Seconds between the searches for a task that may have been created, or that was and is not to be found yet.
SEARCH_PAUSES = (1.0, 2.0, 4.0, 8.0)
#: What a search needs, in words.
_LIST = f"get_task_list (SOPS has it since {SINCE['get_task_list']})"


def search_unlisted(run: TaskRun, error: errors.SopsError) -> Flow[None]:
    """Make sure that no earlier try can have created a task, without the list and without a record of one.

    :param error: ``get_task_list`` was refused, or is perhaps missing.
    :raises errors.SopsError: that is not certain.
    """
    if run.keeps_records or run.state.counted_none:
        return  # a task is recorded before it is started, or none was there when it was counted
    lacking = isinstance(error, errors.SopsApiNotFoundError) or perhaps_missing(error)
    if run.first_try:
        if not (isinstance(error, REFUSED) or run.state.created or (yield from _site_answers(run))):
            raise error
        what = f"This site does not have {_LIST}" if lacking else "The app may not call get_task_list"
        text = f"{what}: this first try goes on, but a retry could not find the SOPS task again and would fail. {error}"
        yield from run.state.once(LogLine(text, warning=True))
        return
    count = yield from _count(run)
    if count == 0:
        run.state.counted_none = True
        text = f"SOPS counts no task with the tag {run.keyword!r}, so that no earlier try has created one."
        yield from run.state.once(LogLine(text))
        return
    what = f"This site does not have {_LIST}. " if lacking else ""
    counted = f"SOPS counts {count} with the tag {run.keyword!r} in its name. " if count else ""
    grant = "Grant the API, or trigger" if not lacking else "Trigger"
    raise errors.advised(
        error,
        f"{what}Without it this retry cannot know whether an earlier try has started the SOPS task already, so it "
        f"has started nothing. {counted}{grant} a new DAG run once you know that none is running; on Airflow 3.3 "
        "its task state store knows.",
    ) from error.__cause__


def _site_answers(run: TaskRun) -> Flow[bool]:
    """Ask for something else, which tells an API that is missing from a site that is away."""
    task_spec, project = run.task_spec, run.project
    template = project.call("get_template_list", name_keyword=task_spec.template_name)
    if task_spec.template_id is not None:
        template = project.call("get_template_info", template_id=task_spec.template_id)
    for call in (project.call("query_task_count", group_by="status"), template):
        try:
            yield call
        except errors.SopsApiError:
            return True  # SOPS says no, and so is there
        except errors.SopsError:
            continue
        return True
    return False


def _count(run: TaskRun) -> Flow[int | None]:
    """Count the tasks with the tag; ``None`` where SOPS does not."""
    try:
        return (yield from count_named(run.project, run.keyword))
    except errors.SopsError as error:
        yield from run.state.once(LogLine(f"Nor can the tasks be counted. {error}", warning=True))
        return None


def check_alone(run: TaskRun, task_id: int) -> Flow[None]:
    """See that a task that was just created, and cannot be listed, is the only one with the tag.

    That it is counted proves also that none was there when none was counted.

    :raises errors.SopsInvalidAnswerError: there are others, or nothing is proved on a retry.
    """
    if run.keeps_records:
        return
    count: int | None = None
    for pause in (0.0, *(SEARCH_PAUSES if run.state.counted_none else ())):
        yield Sleep(pause)
        count = yield from _count(run)
        if count != 0:
            break
    if count == 1 or not (count or run.state.counted_none):
        return
    unseen = errors.SopsInvalidAnswerError(
        f"query_task_count gives {count} for the tag {run.keyword!r}, where SOPS task {task_id}, which was just "
        "created, should be the one. It was not started, since another try may have started one. Look in SOPS for "
        "tasks with this tag; trigger a new DAG run once you know that none is running."
    )
    unseen.task_id = task_id
    raise unseen
