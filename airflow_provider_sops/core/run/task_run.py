# SPDX-License-Identifier: Apache-2.0
"""Running a SOPS task exactly once, without I/O: search, create, search again, start; and what a retry does with what
it finds.

SOPS has no idempotency key. What makes up for it is that a created task does nothing until it is started, that its
name is free text which can be searched for, and that starting a started task is refused. So each task is created with
a tag at the end of its name, found again by this tag, and only then started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from airflow_provider_sops.core import errors, models
from airflow_provider_sops.core.api.calls import Call, nocache
from airflow_provider_sops.core.api.catalogue import MAX_TASK_NAME, MAX_TASK_NAME_BEFORE
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.api.releases import SINCE
from airflow_provider_sops.core.errors import SopsConfigError, perhaps_missing
from airflow_provider_sops.core.flow import Flow, LogLine, Sleep
from airflow_provider_sops.core.models import CreatedTask, TaskDetail, TaskListItem, TaskStatus, Template
from airflow_provider_sops.core.operate.lost_answers import SEND_PAUSE, SENDS, may_have_happened
from airflow_provider_sops.core.operate.revoke import NOT_STARTED, revoke
from airflow_provider_sops.core.operate.run_aborted import RunAborted
from airflow_provider_sops.core.redact import secret_texts
from airflow_provider_sops.core.run.created_task_check import compare
from airflow_provider_sops.core.run.tag import Tag
from airflow_provider_sops.core.run.task_spec import NODE_FIELDS, TaskSpec, called, find_template, node_ids
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.status_reading import REFUSED, ApiGrants, read_status
from airflow_provider_sops.core.task_lists import count_named, list_tasks
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.policy import WaitPolicy
from airflow_provider_sops.core.wait.task_wait import TaskWait
from airflow_provider_sops.core.wait.verdict import Next

OnRetry = Literal["rerun", "retry_failed_nodes"]

#: Seconds between the searches for a task that may have been created, or that was and is not to be found yet.
_SEARCH_PAUSES = (1.0, 2.0, 4.0, 8.0)
#: Where SOPS says a function task stands that no person has claimed.
_CLAIM = "func_claim"
#: What a search needs, in words.
_LIST = f"get_task_list (SOPS has it since {SINCE['get_task_list']})"
#: Most tasks that a search looks through: an Airflow task has one, and one more for each time it was run anew.
_MOST_FOUND = 10_000
#: It runs, or goes on when somebody resumes it.
_ALIVE = (TaskState.RUNNING, TaskState.SUSPENDED, TaskState.NODE_SUSPENDED, TaskState.READY, TaskState.BLOCKED)
#: An end that leaves nothing to go on with; ENDED is one whose state the detail alone does not tell.
_OVER = (TaskState.REVOKED, TaskState.EXPIRED, TaskState.ENDED)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A task of an earlier try, remembered outside SOPS."""

    base: str
    generation: int
    task_id: int
    #: it has ended well and its outputs were taken: who looks for it again was cleared, whatever the numbers say
    done: bool = False


class Action(StrEnum):
    """What is to be done with the task that was chosen."""

    START = "start"
    RETRY_NODES = "retry_nodes"
    #: it runs, or has ended already: what follows is the wait's
    WAIT = "wait"


@dataclass(slots=True)
class Selection:
    """The one SOPS task that this try goes on with."""

    action: Action
    task_id: int
    generation: int
    task_wait: TaskWait
    observation: Observation
    #: failed tasks of earlier generations, to be revoked before this one is started
    give_up: tuple[int, ...] = ()


@dataclass(slots=True)
class TaskRun:
    """One try of an Airflow task that runs a SOPS task.

    :param created_after: SOPS tasks older than this cannot be this run's.
    :param first_try: no try has gone before.
    :param cleared: a user may have cleared the Airflow task: take up the task of an earlier run, if the tag allows it.
    :param first_after_clear: it has just done so: what was stopped for good is not what it wants.
    :param remembered: what an earlier try has remembered.
    :param has_memory: what this try does will be remembered before the SOPS task is started, and so did earlier tries.
    """

    project: Project
    tag: Tag
    task_spec: TaskSpec
    policy: WaitPolicy
    on_retry: OnRetry = "rerun"
    created_after: datetime | None = None
    first_try: bool = True
    cleared: bool = False
    first_after_clear: bool = False
    record: RunRecord | None = None
    has_memory: bool = False
    #: under which to look for what runs still from before a clear; empty where that is left running
    earlier_tags: tuple[Tag, ...] = ()
    grants: ApiGrants = field(default_factory=ApiGrants)
    #: for the task's log
    lines: list[LogLine] = field(default_factory=list)
    #: values of the template's password variables, as far as they were learnt
    secrets: list[str] = field(default_factory=list, repr=False)
    _template_id: int | None = None
    _template: Template | None = None
    may_search: bool = True
    #: a count has shown no task with the tag
    _none_before: bool = False
    _made: dict[int, CreatedTask] = field(default_factory=dict)
    _logged: set[str] = field(default_factory=set)

    # ---- choosing ----

    def choose(self, now: float) -> Flow[Selection]:
        """Find the task to go on with, or create one. Nothing is started and nothing revoked.

        :param now: seconds since the epoch.
        :raises CannotGoOn: a person has stopped what an earlier try had started.
        :raises errors.SopsError: when SOPS gives no good answer.
        :raises errors.SopsConfigError: the template or a constant is not there.
        """
        found = yield from self._search()
        while True:
            selection = yield from self._judge(found, now)
            if selection is not None:
                return selection
            found = yield from self._create(max(found, default=0) + 1)

    def find(self, task_id: int | None) -> Flow[tuple[int, int] | None]:
        """Find the task that an earlier leg of this try has come to, as generation and id.

        :param task_id: its id, if it is known; else it is the newest.
        """
        found: Mapping[int, int] = {}
        try:
            found = yield from self._search(have_started=True)
        except errors.SopsError:
            if task_id is None or self.may_search:
                raise
        if not found and task_id is not None and not self.may_search:
            return 1, task_id  # without a search and a memory there has been no further generation
        known = [item for item in found.items() if item[1] == task_id]
        return max(known or found.items(), default=None)

    def _judge(self, found: Mapping[int, int], now: float) -> Flow[Selection | None]:
        """Read the found tasks, the oldest generation first, and choose; ``None``: a new generation is wanted."""
        give_up: list[int] = []
        for generation, task_id in sorted(found.items()):
            if self._is_done(generation):
                continue
            given_up = generation < max(found)
            task_wait = TaskWait(task_id, self.project, self.policy, had_answer=True, grants=self.grants)
            if task_id in self._made:
                task_wait.task_url = self._made[task_id].task_url
                yield from self._check_made(task_id)
                return Selection(Action.START, task_id, generation, task_wait, Observation(Next.WAIT), tuple(give_up))
            status = yield from self._read_status(task_id)
            observation = yield from task_wait.evaluate(status, now, has_nodes=True)
            selection = Selection(Action.WAIT, task_id, generation, task_wait, observation, tuple(give_up))
            status = observation.status or status
            if observation.error is not None:
                raise observation.error
            if given_up and (status.is_deleted or status.state in _OVER):
                continue
            self._log(f"SOPS task {task_id} {status.name!r} is there from an earlier try: {status.state}.")
            if status.state is TaskState.CREATED and not status.is_deleted:
                yield from self._check_made(task_id)
                return replace(selection, action=Action.START)
            if observation.next is Next.FAILURE and status.state is TaskState.FAILED:
                if self.on_retry == "retry_failed_nodes" and not given_up:
                    return replace(selection, action=Action.RETRY_NODES)
                give_up.append(task_id)
                continue
            self.lines += observation.lines
            if (
                observation.next is Next.FAILURE
                and self.first_after_clear
                and (status.is_deleted or status.state in _OVER)
            ):
                continue  # somebody has ended it, and then a user has cleared the Airflow task: the later word counts
            if observation.next is Next.FAILURE and status.state is TaskState.REVOKED:
                raise RunAborted(_revoked_before(status) + (yield from self._page(task_id)), status)
            return selection
        return None

    def _is_done(self, generation: int) -> bool:
        known = self.record
        if known is None or not known.done or known.base != self.tag.base or self.tag.thread:
            return False
        return generation <= known.generation

    def _read_status(self, task_id: int) -> Flow[TaskStatus]:
        notices: list[str] = []
        status = yield from read_status(self.project, task_id, self.grants, notices, fresh=True)
        self.lines += [LogLine(notice, warning=True) for notice in notices]
        return status

    # ---- searching ----

    def _search(self, *, have_started: bool = False) -> Flow[dict[int, int]]:
        """Give the one task of each generation: of several, one that has started, else the one with the lowest id.

        :param have_started: some may have, though no try has gone before.
        """
        takes_up = self._takes_up
        # a zone cannot be given in a way that every SOPS reads, and none is two days off
        after = self.created_after.strftime("%Y-%m-%d %H:%M:%S") if self.created_after and not takes_up else None
        try:
            items = yield from self._list(self._keyword, create_time_start=after)
            if (have_started or not self.first_try) and not any(item.is_started for item in items):
                items += yield from self._list_started(self._keyword, create_time_start=after)
        except errors.SopsError as error:
            if not isinstance(error, REFUSED) and not perhaps_missing(error):
                raise
            return (yield from self._unsearchable(error))
        self.may_search = True
        listed: dict[str, dict[int, list[TaskListItem]]] = {}
        for item in items:
            if tagged := self.tag.read(item.name):
                listed.setdefault(tagged[0], {}).setdefault(tagged[1], []).append(item)
        if takes_up:
            self._take_up(listed)
        mine = listed.get(self.tag.base, {})
        found = {generation: self._elect(items) for generation, items in mine.items()}
        known = self.record
        if known and known.base == self.tag.base and known.task_id not in _ids(mine.get(known.generation, ())):
            found[known.generation] = known.task_id  # SOPS lists no deleted task
        return found

    @property
    def _takes_up(self) -> bool:
        """Whether the task of a run before a clear is to be taken up."""
        return bool(self.tag.thread) and self.cleared

    @property
    def _keyword(self) -> str:
        return self.tag.thread if self._takes_up else self.tag.base

    def _list_started(self, keyword: str, **filters: Any) -> Flow[list[TaskListItem]]:
        """List the tasks that have started.

        SOPS 3.9.2 to 3.20.2 takes a flag that is not given for "no", and so lists by itself none of them.
        """
        found: list[TaskListItem] = []
        for is_finished in (False, True):
            found += yield from self._list(keyword, is_started=True, is_finished=is_finished, **filters)
        return found

    def _list(self, keyword: str, **filters: Any) -> Flow[list[TaskListItem]]:
        """List the tasks that an operator may have made: children and those that a person has copied hold a tag too."""
        items = yield from list_tasks(self.project, limit=_MOST_FOUND, keyword=keyword, without_count=True, **filters)
        return [item for item in items if item.create_method in ("api", "") and not item.is_child_taskflow]

    def _take_up(self, listed: Mapping[str, Mapping[int, list[TaskListItem]]]) -> None:
        """Go on under the tag of the run before the task was cleared, if this run has made no task of its own."""
        if self.tag.base in listed:
            return
        if self.record:
            self.tag = replace(self.tag, base=self.record.base)
        elif listed:
            newest = max(
                listed, key=lambda base: max(item.task_id for items in listed[base].values() for item in items)
            )
            self.tag = replace(self.tag, base=newest)

    def _elect(self, items: list[TaskListItem]) -> int:
        """Choose one of the tasks of one generation, in a way that every try and every process chooses alike."""
        items = sorted(items, key=lambda item: item.task_id)
        selection = next((item for item in items if item.is_started), items[0])
        if self.record and not selection.is_started and self.record.task_id in _ids(items):
            # its start may be queued, though a task with a lower id has come to light since
            selection = next(item for item in items if item.task_id == self.record.task_id)
        for item in items:
            if item is not selection:
                state = "has been started too" if item.is_started else "stays CREATED for ever"
                self._log(
                    f"SOPS task {item.task_id} {item.name!r} was created for the same run as task {selection.task_id}, "
                    f"which is the one that counts; task {item.task_id} {state}.",
                    warning=item.is_started,
                )
        return selection.task_id

    # ---- without a search ----

    def _unsearchable(self, error: errors.SopsError) -> Flow[dict[int, int]]:
        """Do without the search where that is safe.

        :param error: ``get_task_list`` was refused, or is perhaps missing.
        """
        self.may_search = False
        known = self.record
        if known and (known.base == self.tag.base or self._takes_up):
            self.tag = replace(self.tag, base=known.base)
            return {known.generation: known.task_id}
        if self.has_memory or self._none_before:
            return {}  # a task is remembered before it is started, or none was there when it was counted
        lacking = isinstance(error, errors.SopsApiNotFoundError) or perhaps_missing(error)
        if self.first_try:
            proved = isinstance(error, REFUSED) or self._made or (yield from self._site_answers())
            if not proved:
                raise error
            what = f"This site does not have {_LIST}" if lacking else "The app may not call get_task_list"
            self._log(
                f"{what}: this first try goes on, but a retry could not find the SOPS task again and would fail. "
                f"{error}",
                warning=True,
            )
            return {}
        count = yield from self._count()
        if count == 0:
            self._none_before = True
            self._log(f"SOPS counts no task with the tag {self._keyword!r}, so that no earlier try has created one.")
            return {}
        what = f"This site does not have {_LIST}. " if lacking else ""
        counted = f"SOPS counts {count} with the tag {self._keyword!r} in its name. " if count else ""
        grant = "Grant the API, or trigger" if not lacking else "Trigger"
        raise errors.advised(
            error,
            f"{what}Without it this retry cannot know whether an earlier try has started the SOPS task already, so it "
            f"has started nothing. {counted}{grant} a new DAG run once you know that none is running; on Airflow 3.3 "
            "its task state store knows.",
        ) from error.__cause__

    def _site_answers(self) -> Flow[bool]:
        """Ask for something else, which tells an API that is missing from a site that is away."""
        task_spec = self.task_spec
        template = self.project.call("get_template_list", name_keyword=task_spec.template_name)
        if task_spec.template_id is not None:
            template = self.project.call("get_template_info", template_id=task_spec.template_id)
        for call in (self.project.call("query_task_count", group_by="status"), template):
            try:
                yield call
            except errors.SopsApiError:
                return True  # SOPS says no, and so is there
            except errors.SopsError:
                continue
            return True
        return False

    def _count(self) -> Flow[int | None]:
        """Count the tasks with the tag; ``None`` where SOPS does not."""
        try:
            return (yield from count_named(self.project, self._keyword))
        except errors.SopsError as error:
            self._log(f"Nor can the tasks be counted. {error}", True)
            return None

    def _see_alone(self, task_id: int) -> Flow[None]:
        """See that a task that was just created without a search is the only one with the tag.

        That it is counted proves also that none was there when none was counted.

        :raises errors.SopsInvalidAnswerError: there are others, or nothing is proved on a retry.
        """
        if self.has_memory:
            return
        count: int | None = None
        for pause in (0.0, *(_SEARCH_PAUSES if self._none_before else ())):
            yield Sleep(pause)
            count = yield from self._count()
            if count != 0:
                break
        if count == 1 or not (count or self._none_before):
            return
        unseen = errors.SopsInvalidAnswerError(
            f"query_task_count gives {count} for the tag {self._keyword!r}, where SOPS task {task_id}, which was just "
            "created, should be the one. It was not started, since another try may have started one. Look in SOPS for "
            "tasks with this tag; trigger a new DAG run once you know that none is running."
        )
        unseen.task_id = task_id
        raise unseen

    # ---- creating ----

    def _create(self, generation: int) -> Flow[dict[int, int]]:
        """Create a task, and search once more: what counts is what everybody finds.

        :return: the tasks by generation.
        """
        try:
            task_id = yield from self.create(generation)
        except errors.SopsError as error:
            if not may_have_happened(error):
                raise
            for pause in _SEARCH_PAUSES:
                yield Sleep(pause)
                found = yield from self._search()
                if generation in found:
                    return found
            raise errors.advised(
                error,
                "Whether the SOPS task was created is not known; it was not started. A retry searches for it first.",
            ) from error.__cause__
        for pause in (0.0, *_SEARCH_PAUSES):
            yield Sleep(pause)
            found = yield from self._search()
            if generation in found:
                return found
            if not self.may_search:
                yield from self._see_alone(task_id)
                return {**found, generation: task_id}
        unseen = errors.SopsInvalidAnswerError(
            f"get_task_list does not show SOPS task {task_id}, which was just created, under its tag "
            f"{self.tag.base!r}. It was not started, since a retry would not find it and start another one."
        )
        unseen.task_id = task_id
        raise unseen

    def create(self, generation: int) -> Flow[int]:
        """Create a task of a generation, no more.

        :return: its id.
        """
        template_id = yield from self._check_task_spec()
        title = self.task_spec.title
        name, shorter = (self.tag.name(title, generation, most) for most in (MAX_TASK_NAME, MAX_TASK_NAME_BEFORE))
        try:
            answer = yield self._create_call(template_id, name)
        except errors.SopsInvalidParameterError:
            if name == shorter:
                raise
            # a SOPS before 3.6.31 refuses the name; any other reason is refused once more
            answer, name = (yield self._create_call(template_id, shorter)), shorter
        created = models.created_task(answer)
        self._made[created.task_id] = created
        self.lines.append(LogLine(f"Created SOPS task {created.task_id} {name!r}. {created.task_url}".rstrip()))
        return created.task_id

    def _create_call(self, template_id: int, name: str) -> Call:
        task_spec = self.task_spec
        source = task_spec.template_source if task_spec.template_source != "business" else None
        call = self.project.call(
            "create_task",
            template_id=template_id,
            name=name,
            template_source=source,
            constants=dict(task_spec.constants),
            **task_spec.params,
        )
        return replace(call, secrets=tuple(self.secrets))

    def _check_task_spec(self) -> Flow[int]:
        """Find the template and check the names of the constants and nodes, once; names of nodes become ids.

        :return: the template's id.
        """
        if self._template_id is not None:
            return self._template_id
        task_spec = self.task_spec
        template_id = task_spec.template_id
        if template_id is None:
            template_id = yield from find_template(self.project, task_spec.template_name, task_spec.template_source)
        given = {"constants": task_spec.constants, "nodes": [task_spec.params.get(name) for name in NODE_FIELDS]}
        named = [what for what, values in given.items() if any(values)]
        if named:
            template = yield from self._read_template(template_id, named)
            if template is not None:
                self._check_constants(template)
                self._template = template
                self.task_spec = replace(task_spec, params={**task_spec.params, **node_ids(template, task_spec.params)})
        self._template_id = template_id
        return template_id

    def _read_template(self, template_id: int, named: Iterable[str]) -> Flow[Template | None]:
        """Read the template; ``None`` where that may not be done.

        :param named: what is not checked then.
        """
        source = self.task_spec.template_source if self.task_spec.template_source != "business" else None
        try:
            answer = yield self.project.call("get_template_info", template_id=template_id, template_source=source)
        except REFUSED as error:
            what = " and ".join(named)
            self._log(f"The names of the {what} are not checked, as the template may not be read. {error}", True)
            return None
        return models.template(answer)

    def _check_constants(self, template: Template) -> None:
        """Refuse names that the template does not have: SOPS would drop them without a word."""
        passwords = [self.task_spec.constants[key] for key in template.secret_keys if key in self.task_spec.constants]
        self.secrets += secret_texts(passwords)
        unknown = [key for key in self.task_spec.constants if key not in template.constants]
        if unknown:
            known = ", ".join(sorted(template.constants)) or "none"
            raise SopsConfigError(
                "constants",
                f"{called(template)} has no {', '.join(sorted(unknown))}; there are: {known}",
            )

    # ---- before the start ----

    def _check_made(self, task_id: int) -> Flow[None]:
        """Compare a task that is about to be started with the one wanted.

        :raises SopsConfigError: it would run other nodes, or with other constants.
        :raises errors.SopsError: which nodes it would run cannot be read.
        """
        if self.task_spec.constants or self.task_spec.node_fields:
            template_id = yield from self._check_task_spec()
            made = self._made.get(task_id)
            yield from compare(self.project, self.task_spec, template_id, self._template, task_id, made, self._log)

    # ---- after a clear ----

    def stop_earlier(self) -> Flow[None]:
        """Revoke what runs still from before a user cleared the Airflow task: a kill revokes only what it is sure of.

        :raises errors.SopsError: it cannot be read or revoked; two would run at once.
        """
        if not self.earlier_tags:
            return
        for task_id in (yield from self._earlier()):
            try:
                status = yield from self._read_status(task_id)
                if status.is_deleted or status.state not in _ALIVE:
                    continue
                revocation = yield from revoke(self.project, task_id, started=True)
            except errors.SopsNotFoundError:
                continue
            text = f"SOPS task {task_id} {status.name!r} was still {status.state} from before this Airflow task was"
            self.lines.append(LogLine(f"{text} cleared; {revocation.text}.", warning=not revocation.done))

    def _earlier(self) -> Flow[list[int]]:
        """Give the tasks from before the clear: the one that is remembered, else those with the newest tag found."""
        known = self.record
        if known is not None and known.base != self.tag.base:
            return [] if known.done else [known.task_id]
        if not self.may_search:
            return []
        for tag in self.earlier_tags:
            items = yield from self._list(tag.base, is_started=True)
            items = [item for item in items if tag.read(item.name)]
            if items:
                return [item.task_id for item in items if item.is_started and not item.is_finished]
        return []

    # ---- starting ----

    def start(self, selection: Selection) -> Flow[bool]:
        """Revoke what is given up, then start the chosen task.

        :return: whether the start is queued; ``False`` when a task that was to be given up goes on after all, so that
            it is to be chosen anew.
        """
        for task_id in selection.give_up:
            if not (yield from self._give_up(task_id)):
                return False
        yield from self._start(selection.task_id)
        return True

    def _give_up(self, task_id: int) -> Flow[bool]:
        """Revoke a failed task, so that it is not left half alive; read again just before."""
        for _ in range(SENDS):
            status = yield from self._read_status(task_id)
            if status.is_deleted or status.state in _OVER:
                return True
            if status.state is not TaskState.FAILED:
                self._log(f"SOPS task {task_id} goes on after all: {status.state}.")
                return False
            try:
                revocation = yield from revoke(self.project, task_id, started=True)
            except errors.SopsError as error:
                if not may_have_happened(error):
                    raise
                yield Sleep(SEND_PAUSE)
                continue
            self.lines.append(LogLine(f"SOPS task {task_id} has failed; {revocation.text}, and a new one is run."))
        status = yield from self._read_status(task_id)
        return status.is_deleted or status.state in _OVER

    def _start(self, task_id: int) -> Flow[None]:
        """Queue the start. SOPS starts a task once, however often it is asked to."""
        for left in range(SENDS - 1, -1, -1):
            try:
                yield self.project.call("start_task", task_id=task_id)
            except errors.SopsApiError as error:
                said = error.remote_message or ""
                if _CLAIM in said:  # so do those before 3.6.46; later ones say yes, and do not start it
                    self.lines.append(LogLine(f"SOPS does not start task {task_id} before a person has claimed it."))
                elif "already started" in said or "current_flow:finished" in said:
                    self.lines.append(LogLine(f"SOPS task {task_id} had been started already."))
                else:
                    raise
            except errors.SopsError as error:
                if not may_have_happened(error):
                    raise
                self.lines.append(
                    LogLine(f"Whether SOPS task {task_id} was started is not known. {error}", warning=True)
                )
                if left:
                    yield Sleep(SEND_PAUSE)
                continue
            else:
                self.lines.append(LogLine(f"SOPS has queued the start of task {task_id}."))
            return

    def not_started(self, task_id: int, start_timeout: float) -> Flow[RunAborted | None]:
        """Say why a task that has not been seen to start in time has not. It cannot be revoked, and may still start.

        :return: what to fail with; ``None`` when it has started after all.
        """
        status = yield from self._read_status(task_id)
        if status.state is not TaskState.CREATED:
            return None
        subject = f"SOPS task {task_id} {status.name!r} has not started within {start_timeout:.0f} s (start_timeout)"
        page = yield from self._page(task_id)
        if (yield from self._has_no_nodes(task_id)):
            return RunAborted(
                f"{subject}: it has no nodes, and SOPS' engine starts no such task. Look at exclude_task_nodes_id and "
                f"execute_task_nodes_id: the template has to have what these name.{page}",
                status,
            )
        if (yield from self._waits_for_claim(task_id)):
            return RunAborted(
                f"{subject}: it is a function task (flow_type common_func) and waits to be claimed by a person. It can "
                "be neither started nor revoked before that, and starts when it is claimed. Give start_timeout the "
                f"time that this takes; a retry of the Airflow task waits for the same SOPS task.{page}",
                status,
            )
        return RunAborted(
            f"{subject}, though SOPS has queued its start: {NOT_STARTED}. It may still start later. See whether "
            f"SOPS' workers run; a retry of the Airflow task goes on with the same SOPS task.{page}",
            status,
        )

    def _waits_for_claim(self, task_id: int) -> Flow[bool]:
        """Tell whether a person has to claim the task; where SOPS does not say, a function task is taken for one."""
        flow = ""
        try:
            answer = yield self.project.call("get_tasks_status", task_id_list=[task_id], **nocache())
            status = models.tasks_status(answer).get(task_id)
            flow = status.current_flow if status else ""
        except errors.SopsError:
            pass
        return flow == _CLAIM if flow else self.task_spec.params.get("flow_type") == "common_func"

    def _has_no_nodes(self, task_id: int) -> Flow[bool]:
        detail = yield from self._read_detail(task_id)
        return detail is not None and detail.pipeline_tree.get("activities") == {}

    def _page(self, task_id: int) -> Flow[str]:
        detail = yield from self._read_detail(task_id)
        return f" Task page: {detail.task_url}" if detail and detail.task_url else ""

    def _read_detail(self, task_id: int) -> Flow[TaskDetail | None]:
        try:
            answer = yield self.project.call("get_task_detail", task_id=task_id)
            return models.task_detail(answer)
        except errors.SopsError:
            return None

    def _log(self, text: str, warning: bool = False) -> None:
        """Put a line into the log once, however often its reason is met."""
        if text not in self._logged:
            self._logged.add(text)
            self.lines.append(LogLine(text, warning))


def _ids(items: Iterable[TaskListItem]) -> set[int]:
    return {item.task_id for item in items}


def _revoked_before(status: TaskStatus) -> str:
    return (
        f"SOPS task {status.task_id} {status.name!r} was revoked before this try, and as far as can be known not by "
        "this Airflow task. Somebody has stopped it, so no retry runs it again. Clear the Airflow task to run it anew."
    )
