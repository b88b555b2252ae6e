# SPDX-License-Identifier: Apache-2.0
"""How a call is answered: recorded, hit by faults, and taken through its endpoint to SOPS."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_sops.testing import endpoints
from airflow_provider_sops.testing.access import Access, Caller
from airflow_provider_sops.testing.api import Api, Call, handle
from airflow_provider_sops.testing.endpoints import DIRECT, ESB, HTML, Incoming, Refusal, Reply
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.faults import LOGIN_PAGE, Fault, Faults, with_wrong_types
from airflow_provider_sops.testing.refusals import PARAMETER, Crash, refusal
from airflow_provider_sops.testing.request_log import Request, RequestLog
from airflow_provider_sops.testing.site import Site


class Drop(Exception):
    """Close the connection without an answer."""


class Responder:
    """Answers calls.

    :param denial_status: HTTP status with which a user's missing permission is said, by a release that leaves the
        choice to the site.
    :ivar canned: API -> fixed body.
    :ivar on_request: see :class:`~airflow_provider_sops.testing.FakeSops`.
    """

    def __init__(self, site: Site, access: Access, faults: Faults, log: RequestLog, denial_status: int) -> None:
        self.site = site
        self.access = access
        self.faults = faults
        self.log = log
        self.canned: dict[str, Any] = {}
        self.on_request: Callable[[str, Request], object] | None = None
        self._denial_status = denial_status
        self._turn = itertools.count()
        self._delayed: list[tuple[float, Callable[[], object]]] = []  # without a time of its own: inf

    def release(self, until: float = math.inf) -> int:
        """Let the effects of delayed calls happen.

        :param until: only of those whose time comes no later than this.
        :return: how many there were.
        """
        due = [act for at, act in self._delayed if at <= until]
        self._delayed = [(at, act) for at, act in self._delayed if at > until]
        for act in due:
            act()
        return len(due)

    def release_due(self) -> None:
        """Let the effects of delayed calls happen whose time has come."""
        self.release(self.site.clock.now())

    def _racing(self, task: Task) -> bool:
        """Whether the task's end has not been written yet, by an ``end_race`` that lasts for a time."""
        if task.root_state != "FINISHED" or task.finish_time is None:
            return False
        return any(
            fault.kind == "end_race"
            and fault.task_id in (None, task.id)
            and "reads" not in fault.options
            and self.site.clock.now() < task.finish_time + fault.get("seconds", math.inf)
            for fault in self.faults
        )

    def _can_hit(self, fault: Fault, request: Request) -> bool:
        if fault.kind == "end_race":
            tasks = [self.site.task(task_id) for task_id in request.task_ids]
            return "reads" in fault.options and any(task and task.root_state == "FINISHED" for task in tasks)
        return fault.kind != "poison" or request.api == "get_tasks_status"

    # ---- answering ----

    def respond(self, incoming: Incoming, connection: int) -> tuple[Reply, frozenset[str]]:
        """Answer a call.

        :param connection: number of the TCP connection.
        :return: the reply, and the kinds of faults that are to hit it on its way.
        :raises Drop: the connection is to be closed without a reply.
        """
        request = self.log.record(incoming, connection)
        if self.on_request is not None:
            self.on_request("before", request)
        with self.site.lock:
            hits = self.faults.take(request.api, request.task_ids, lambda fault: self._can_hit(fault, request))
        faults = {fault.kind: fault for fault in hits}
        if "latency" in faults:
            time.sleep(faults["latency"].get("seconds", 1.0))
        if "drop" in faults:
            raise Drop
        if "delayed_effect" in faults:
            with self.site.lock:
                at = self.site.clock.now() + faults["delayed_effect"].get("seconds", math.inf)
                self._delayed.append((at, lambda: self.through_endpoint(incoming, request, faults)))
            raise Drop
        reply = _planned_reply(request, faults)
        if reply is None:
            with self.site.lock:
                self.release_due()
                reply = self.through_endpoint(incoming, request, faults)
            if request.endpoint == ESB:
                reply = endpoints.through_esb(reply, request.api)
        if "wrong_types" in faults:
            reply.body = with_wrong_types(reply.body)
        if isinstance(reply.body, dict):
            request.result, request.code = reply.body.get("result"), reply.body.get("code")
        request.status = 0 if "drop_after" in faults else reply.status
        if self.on_request is not None:
            self.on_request("after", request)
        if "drop_after" in faults:
            raise Drop
        return reply, frozenset(faults)

    def through_endpoint(self, incoming: Incoming, request: Request, faults: Mapping[str, Fault]) -> Reply:
        """What the call's endpoint answers: a refusal of its own, or what SOPS says."""
        address = incoming.address
        endpoint, api = address.endpoint, address.api
        if api is None or address.name in self.access.removed:
            if endpoint == DIRECT:
                return endpoints.page_not_found(self.site.url + incoming.path)
            return endpoints.refuse(endpoint, 1640401)
        try:
            caller = self._caller(incoming)
            if endpoint != DIRECT and not self.access.is_granted(api.name):
                return endpoints.refuse(endpoint, 1640301, f'app_code="{caller.app}" api="{api.name}"')
            request.user = caller.user
            ids = endpoints.esb_ids(api, incoming.params) if endpoint == ESB else address.ids
        except Refusal as refused:
            return endpoints.refuse(endpoint, refused.code, refused.detail)
        if endpoint == DIRECT and caller == Caller("", ""):
            # 3.3 turns every 403 into a 405
            status = 403 if self.site.release.has("permission by code") else 405
            return Reply(status, "This API can only be accessed through API gateway", {}, HTML)
        if ids is None or not self.site.release.has_api(api.name):
            return endpoints.page_not_found(f"{self.site.url}{endpoints.DIRECT_PATH}/{address.rest}")
        if incoming.method != api.method:
            return Reply(405, "", {"Allow": api.method}, HTML)
        if api.name in self.canned:
            return Reply(200, self.canned[api.name])
        if not caller.user:
            message = "username cannot be empty, make sure api gateway has sent correct params: "
            return endpoints.business(refusal(message, PARAMETER), traced=False)
        return self._through_sops(api, caller, ids, incoming, request, faults)

    def _through_sops(
        self,
        api: Api,
        caller: Caller,
        ids: Mapping[str, int],
        incoming: Incoming,
        request: Request,
        faults: Mapping[str, Fault],
    ) -> Reply:
        replicas = self.site.replicas
        poison = faults.get("poison")
        call = Call(
            site=self.site,
            api=api,
            user=caller.user,
            trusted=caller.app in self.access.trusted_apps,
            ids=ids,
            query=_asked(incoming),
            raw=incoming.raw,
            path=incoming.path,
            replica=replicas[next(self._turn) % len(replicas)],
            stale="stale" in faults,
            racing=(lambda task: task.root_state == "FINISHED") if "end_race" in faults else self._racing,
            closed=api.name in self.access.closed,
            denial_status=self._denial_status,
            poisoned=() if poison is None else request.task_ids if poison.task_id is None else (poison.task_id,),
        )
        try:
            answer, traced, status = handle(call)
        except Crash:
            answer = {"result": False, "code": "50000", "message": "系统异常,请联系管理员处理", "data": None}
            return endpoints.business(answer, traced=False, status=500)
        reply = endpoints.business(answer, traced=traced, status=status)
        if not self.site.release.has("trace_id"):
            del reply.headers["Sops-Trace-Id"]
        if api.rest:
            reply.headers["Allow"] = "GET, OPTIONS"
        return reply

    def _caller(self, incoming: Incoming) -> Caller:
        given = endpoints.credentials(incoming)
        if incoming.address.endpoint == DIRECT:  # the gateway has checked them
            return Caller(given.get("bk_app_code", ""), given.get("bk_username", ""))
        return self.access.authenticate(given)


def _asked(incoming: Incoming) -> dict[str, str]:
    """The query as it reaches SOPS: the ESB keeps the credentials for itself."""
    if incoming.method != "GET":
        return {}
    if incoming.address.endpoint != ESB:
        return incoming.query
    return {name: value for name, value in incoming.query.items() if name not in endpoints.CREDENTIALS}


def _planned_reply(request: Request, faults: Mapping[str, Fault]) -> Reply | None:
    """The reply of a fault that takes the place of SOPS' own."""
    if "function" in faults:
        answer = faults["function"].get("function")(request)
        if answer is not None:
            return Reply(*answer)
    if "status" in faults:
        fault = faults["status"]
        status = fault.get("status", 502)
        reply = endpoints.refuse(request.endpoint, fault.get("code") or endpoints.code_of_status(status))
        reply.status = status
        if fault.get("retry_after") is not None:
            reply.headers["Retry-After"] = str(fault.get("retry_after"))
        if fault.get("message"):
            reply.body["message"] = fault.get("message")
        if "body" in fault.options:
            reply.body = fault.get("body")
        return reply
    if "html" in faults:
        return Reply(faults["html"].get("status", 200), LOGIN_PAGE, {}, HTML)
    if "redirect" in faults:
        return Reply(302, "", {"Location": faults["redirect"].get("location", "/login/")}, HTML)
    return None
