# SPDX-License-Identifier: Apache-2.0
"""Selecting the one SOPS task that a try goes on with: what a retry does with what it finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from airflow_provider_sops.core.call_flow import Flow, LogLine
from airflow_provider_sops.core.models import TaskStatus
from airflow_provider_sops.core.operate.errors import RunAborted
from airflow_provider_sops.core.run.creation import check_created, create_and_find
from airflow_provider_sops.core.run.search import SearchResult, search
from airflow_provider_sops.core.run.task_page import page_sentence
from airflow_provider_sops.core.run.task_run import TaskRun, is_gone, read_fresh_status
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.task_wait import TaskWait
from airflow_provider_sops.core.wait.verdict import Next


class Action(StrEnum):
    """What is to be done with a task that was found."""

    START = "start"
    RETRY_NODES = "retry_nodes"
    #: it runs, or has ended already: what follows is the wait's
    WAIT = "wait"
    #: it has failed: it is revoked before the next generation is started
    GIVE_UP = "give_up"
    #: it is over, and the next generation counts
    SKIP = "skip"
    #: somebody has stopped it: nothing is run in its place
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Selection:
    """The one SOPS task that this try goes on with."""

    #: ``START``, ``RETRY_NODES`` or ``WAIT``
    action: Action
    #: the run, under the tag of the task
    run: TaskRun
    task_id: int
    generation: int
    task_wait: TaskWait
    observation: Observation = Observation(Next.WAIT)  # noqa: RUF009 (it is frozen)
    #: failed tasks of earlier generations, to be revoked before this one is started
    give_up: tuple[int, ...] = ()
    #: SOPS lists tasks, so that a retry finds this one
    searchable: bool = True


# ---- pure ----


def action_for(
    run: TaskRun, status: TaskStatus, observation: Observation, *, superseded: bool, ended_by_trigger: bool = False
) -> Action:
    """Decide what to do with a task that an earlier try has left.

    :param superseded: there is a task of a later generation, so that this one was given up on purpose.
    :param ended_by_trigger: its good end was the end of the Airflow task, see :func:`may_have_ended_by_trigger`.
    """
    failed, gone = observation.next is Next.FAILURE, is_gone(status)
    if superseded and gone:
        return Action.SKIP
    if ended_by_trigger and observation.next is Next.SUCCESS:
        return Action.SKIP
    if status.state is TaskState.CREATED and not status.is_deleted:
        return Action.START
    if failed and status.state is TaskState.FAILED:
        return Action.RETRY_NODES if run.on_retry == "retry_failed_nodes" and not superseded else Action.GIVE_UP
    if failed and gone and run.first_after_clear:
        return Action.SKIP  # somebody has ended it, and then a user has cleared the Airflow task: that counts
    if failed and status.state is TaskState.REVOKED:
        return Action.ABORT
    return Action.WAIT


def is_done(run: TaskRun, generation: int) -> bool:
    """Return whether a generation is known to have ended well before a user cleared the Airflow task."""
    record = run.record
    if record is None or not record.done or record.base != run.tag.base or run.tag.thread:
        return False
    return generation <= record.generation


def may_have_ended_by_trigger(run: TaskRun, generation: int) -> bool:
    """Return whether a generation, if it has ended well, was the end of an Airflow task that a user has cleared since.

    A trigger cannot record that it has ended the Airflow task. But a retry comes only after a worker, which takes the
    mark back before anything else; and its numbers are not those of a clear, unless ``retries`` was edited.
    """
    record = run.record
    if record is None or not record.left_to_trigger or record.base != run.tag.base or run.tag.thread:
        return False
    return run.looks_cleared and generation <= record.generation


# ---- flows ----


def select(run: TaskRun, now: float) -> Flow[Selection]:
    """Find the task to go on with, or create one. Nothing is started and nothing revoked.

    :param now: seconds since the epoch.
    :raises RunAborted: a person has stopped what an earlier try had started.
    :raises errors.SopsError: when SOPS gives no good answer.
    :raises errors.SopsConfigError: the template, a constant or a node is not there.
    """
    found = yield from search(run)
    while True:
        run = replace(run, tag=found.tag)
        selection = yield from _select_among(run, found, now)
        if selection is not None:
            return selection
        found = yield from create_and_find(run, max(found.tasks, default=0) + 1)


def _select_among(run: TaskRun, found: SearchResult, now: float) -> Flow[Selection | None]:
    """Read the found tasks, the oldest generation first, and select; ``None`` when a new generation is needed."""
    give_up: list[int] = []
    newest = max(found.tasks, default=0)
    for generation, task_id in sorted(found.tasks.items()):
        if is_done(run, generation):
            continue
        selection = yield from _consider(run, generation, task_id, now, superseded=generation < newest)
        if selection.action is Action.GIVE_UP:
            give_up.append(task_id)
        elif selection.action is not Action.SKIP:
            return replace(selection, give_up=tuple(give_up), searchable=found.searchable)
    return None


def _consider(run: TaskRun, generation: int, task_id: int, now: float, *, superseded: bool) -> Flow[Selection]:
    """Read a found task, and decide what to do with it.

    :raises RunAborted: a person has stopped it.
    """
    task_wait = TaskWait(task_id, run.project, run.policy, had_answer=True, permissions=run.state.permissions)
    if (created := run.state.created.get(task_id)) is not None:
        task_wait.task_url = created.task_url
        yield from check_created(run, task_id)
        return Selection(Action.START, run, task_id, generation, task_wait)
    status = yield from read_fresh_status(run, task_id)
    observation = yield from task_wait.evaluate(status, now, has_nodes=True)
    if observation.error is not None:
        raise observation.error
    status = observation.status or status
    ended_by_trigger = may_have_ended_by_trigger(run, generation)
    action = action_for(run, status, observation, superseded=superseded, ended_by_trigger=ended_by_trigger)
    selection = Selection(action, run, task_id, generation, task_wait, observation)
    if superseded and action is Action.SKIP:
        return selection
    yield from run.state.once(
        LogLine(f"SOPS task {task_id} {status.name!r} is there from an earlier try: {status.state}.")
    )
    if action is Action.START:
        yield from check_created(run, task_id)
    elif action in (Action.WAIT, Action.ABORT, Action.SKIP):
        yield from observation.lines
    if action is Action.ABORT:
        raise RunAborted(_revoked_before(status) + (yield from page_sentence(run.project, task_id)), status)
    return selection


def _revoked_before(status: TaskStatus) -> str:
    return (
        f"SOPS task {status.task_id} {status.name!r} was revoked before this try, and as far as can be known not by "
        "this Airflow task. Somebody has stopped it, so no retry runs it again. Clear the Airflow task to run it anew."
    )
