# SPDX-License-Identifier: Apache-2.0
"""The way of a call to its view and back: parameters, project, IAM, cache."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from airflow_provider_sops.testing.answers.projects import Project
from airflow_provider_sops.testing.api.call import Call
from airflow_provider_sops.testing.api.permissions import ask_iam
from airflow_provider_sops.testing.refusals import (
    FORBIDDEN,
    OPERATION_FAILED,
    PARAMETER,
    UNKNOWN,
    Answer,
    Crash,
    Refused,
    Stop,
    no_place,
    no_user,
    refusal,
)

CACHE_SIZE = 1024


class Answered(NamedTuple):
    """What SOPS answers.

    :ivar traced: whether it puts a trace id into it.
    :ivar status: HTTP status.
    """

    answer: Answer
    traced: bool
    status: int = 200


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
        ask_iam(call)
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
    """The project for the number in the ``bk_biz_id`` place: a business', or, with another scope, its own."""
    scope = call.params.get("scope", "cmdb_biz")
    scope_id = call.ids["bk_biz_id"]
    for project in call.site.projects.values():
        if scope_id == (project.bk_biz_id if scope == "cmdb_biz" else project.id):
            return project
    raise no_place(call.release, scope_id, scope)


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
