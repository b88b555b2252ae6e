# SPDX-License-Identifier: Apache-2.0
"""A call on its way to a view of the API: parameters, project, IAM, cache; and its answer on the way back."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from airflow_provider_sops.testing.answers import Project
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.flags import boolean
from airflow_provider_sops.testing.refusals import (
    FORBIDDEN,
    OPERATION_FAILED,
    PARAMETER,
    UNKNOWN,
    Answer,
    Crash,
    Refused,
    Stop,
    denial,
    missing,
    no_place,
    no_user,
    refusal,
)
from airflow_provider_sops.testing.releases import Release
from airflow_provider_sops.testing.site import Replica, Site

CACHE_SIZE = 1024
NO_PROJECT = Project(0, 0, "")


@dataclass(slots=True)
class Call:
    """A call that has come through a endpoint.

    :param ids: the numbers from the path by name.
    :param query: query parameters, without credentials in the ESB endpoint.
    :param raw: body of a POST.
    :param stale: a replica answers that lags behind.
    :param racing: says for a task whether its end has not been written yet.
    :param poisoned: ids of tasks whose status cannot be computed.
    :param closed: the app is not on SOPS' own list of those that may make it.
    :param denial_status: HTTP status with which a user's missing permission is said, by a release that leaves the
        choice to the site.
    """

    site: Site
    api: Api
    user: str
    trusted: bool
    ids: Mapping[str, int]
    query: Mapping[str, str]
    raw: bytes
    path: str
    replica: Replica
    stale: bool = False
    racing: Callable[[Task], bool] = lambda task: False
    poisoned: Collection[int] = ()
    closed: bool = False
    denial_status: int = 200
    body: dict[str, Any] = field(default_factory=dict)
    project: Project = NO_PROJECT

    @property
    def now(self) -> float:
        """The fake's time."""
        return self.site.clock.now()

    @property
    def release(self) -> Release:
        """What SOPS it is."""
        return self.site.release

    def flag(self, name: str) -> bool:
        """A flag of get_task_status: anything but an empty value counts, also ``0`` and ``false``."""
        return bool(self.query.get(name))

    def get_bool(self, name: str) -> bool | None:
        """A real boolean parameter.

        :raises Stop: it is none.
        """
        value = self.query.get(name)
        if value is None or value == "":
            return None
        return boolean(name, value)


class Answered(NamedTuple):
    """What SOPS answers.

    :ivar traced: whether it puts a trace id into it.
    :ivar status: HTTP status.
    """

    answer: Answer
    traced: bool
    status: int = 200


@dataclass(frozen=True, slots=True)
class Api:
    """One API.

    :param ids: the ids in its path, in order.
    :param action: the IAM action that it needs; empty: none, or the view asks for itself.
    :param rest: made with another framework: no trace id in the body, an ``Allow`` header.
    """

    name: str
    method: str
    ids: tuple[str, ...]
    action: str
    view: Callable[[Call], Answer]
    rest: bool = False


APIS: dict[str, Api] = {}


def as_api(
    method: str, ids: tuple[str, ...], action: str = "", rest: bool = False
) -> Callable[[Callable[[Call], Answer]], Callable[[Call], Answer]]:
    """Make a function the view of the API of its name; see :class:`Api`."""

    def register(view: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        APIS[view.__name__] = Api(view.__name__, method, ids, action, view, rest)
        return view

    return register


# ---- the way to a view ----


def handle(call: Call) -> Answered:
    """Answer a call: find the project, ask IAM, look into the cache, run the view.

    :raises Crash: the answer is HTTP 500.
    """
    answered = _answered(call)
    traced = answered.traced and call.release.has("trace_id")
    answer = answered.answer
    if not call.release.has("codes"):
        answer = {name: value for name, value in answer.items() if name != "code"}
    return Answered(answer, traced, answered.status)


def _answered(call: Call) -> Answered:
    # Measured: the path, the user and the sorted query or the body are the key; the app is not.
    key = (call.path, call.user, call.raw if call.api.method == "POST" else tuple(sorted(call.query.items())))
    try:
        if call.api.method == "POST":
            call.body = call.release.read(call.api.name, _body(call))
        call.query = call.release.read(call.api.name, call.query)
        if call.closed:
            return Answered(refusal("you have no permission to call this api.", FORBIDDEN), True)
        if not (call.trusted or call.release.has("IAM") or call.user in call.site.users):
            raise no_user(call.user)
        if "bk_biz_id" in call.api.ids:
            call.project = _project(call)
        _ask_iam(call)
        return Answered(_cached(call, key), not call.api.rest)
    except Stop as stop:
        return Answered(stop.answer, stop.traced, stop.status)
    except Refused as refused:
        return Answered(_refused(call, refused), True)


def _refused(call: Call, refused: Refused) -> Answer:
    if call.release.has("engine v2") or "Traceback" not in refused.message:
        return refusal(refused.message, refused.code)
    # the first engine says it in one line
    code = OPERATION_FAILED if call.api.name == "operate_task" else UNKNOWN
    return refusal(refused.message.strip().splitlines()[-1].partition(": ")[2], code)


def _body(call: Call) -> dict[str, Any]:
    if not call.raw.strip():
        if call.api.name in ("create_task", "create_and_start_task"):
            message = "非法请求: 数据错误, 请求不是合法的Json格式 | validate"
            raise Stop(refusal(message, PARAMETER, data=None), traced=False)
        if call.api.name != "start_task":
            raise Crash
        return {}
    try:
        body = json.loads(call.raw.decode("utf-8", errors="replace"))
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Stop(refusal("invalid param format", PARAMETER), traced=False)
    return body


def _project(call: Call) -> Project:
    source: Mapping[str, Any] = call.body if call.api.method == "POST" else call.query
    scope = source.get("scope", "cmdb_biz")
    scope_id = call.ids["bk_biz_id"]
    project = call.site.project_of(scope_id, scope)
    if project is None:
        raise no_place(call.release, scope_id, scope)
    return project


def _ask_iam(call: Call) -> None:
    action = call.api.action
    if not action or call.trusted:
        return
    if call.api.name == "node_callback" and not call.release.has("scope"):
        action = "manage_business"
    if "task_id" in call.ids:
        _look_for_task(call)
    if "template_id" in call.ids:
        common = is_common(call)
        template = call.site.templates.get(call.ids["template_id"])
        if template is None or template.common != common:
            kind = "CommonTemplate" if common else "TaskTemplate"
            words = f"{'common ' if common else ''}template[id={call.ids['template_id']}] does not exist"
            raise missing(call.release, f"{kind}(id={call.ids['template_id']}) does not exist.", words)
    require(call, action)


def _look_for_task(call: Call) -> None:
    """What SOPS finds out before it asks IAM: whether there is the task. Before 3.6 also whose it is."""
    if not call.release.has("scope") and call.api.name not in ("start_task", "operate_task"):
        return  # 3.3 asks about the business only
    task_id = call.ids["task_id"]
    task = call.site.tasks.get(task_id)
    if task is None or not (call.release.has("IAM") or task.project_id == call.project.id):
        raise missing(
            call.release, f"TaskFlowInstance(id={task_id}) does not exist.", f"task[id={task_id}] does not exist"
        )


def require(call: Call, action: str) -> None:
    """Ask IAM for one action.

    :raises Stop: the user does not have it.
    """
    if not call.trusted and not call.site.may(call.user, action):
        raise denial(call.release, call.user, action, _perm(call, action), call.denial_status)


def _perm(call: Call, action: str) -> str:
    """What a user lacks, in the words of 3.3: it asks about a task or template only where something is changed."""
    if call.api.name in ("start_task", "operate_task"):
        return f"perm[perm={action}] of task[id={call.ids['task_id']}]"
    if call.api.name == "create_task":
        return f"perm[perm={action}] of template[id={call.ids['template_id']}]"
    return f"perm of business:[bk_biz_id={call.project.bk_biz_id}]"


def is_common(call: Call) -> bool:
    """Whether a call is about common templates."""
    source: Mapping[str, Any] = call.body if call.api.method == "POST" else call.query
    return source.get("template_source", "business") not in ("business", "project")


def _cached(call: Call, key: tuple[Any, ...]) -> Answer:
    seconds = call.release.caches.get(call.api.name, 0)
    if not seconds or not call.site.caches or call.stale:
        return call.api.view(call)
    cache = call.replica.cache
    found = cache.get(key)
    if found is not None and found[0] > call.now:
        answer: Answer = found[1]
        return answer
    answer = call.api.view(call)
    if call.api.name != "get_task_status" or (answer["result"] and answer["data"].get("state") != "CREATED"):
        cache.pop(key, None)
        cache[key] = (call.now + seconds, answer)
        if len(cache) > CACHE_SIZE:
            del cache[next(iter(cache))]  # the oldest
    return answer
