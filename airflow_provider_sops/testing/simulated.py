# SPDX-License-Identifier: Apache-2.0
"""The fake SOPS as a Python object: its tasks, its rights, its faults, and how it answers a call."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_sops.testing import endpoints
from airflow_provider_sops.testing.calling import Call, handle
from airflow_provider_sops.testing.endpoints import DIRECT, ESB, HTML, Caller, Incoming, Refusal, Reply
from airflow_provider_sops.testing.engine.clock import Clock
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.faults import LOGIN_PAGE, Fault, Faults, with_wrong_types
from airflow_provider_sops.testing.refusals import PARAMETER, Crash, refusal
from airflow_provider_sops.testing.releases import NEWEST, find_release
from airflow_provider_sops.testing.site import ALL_RIGHTS, Site
from airflow_provider_sops.testing.templates import Webhook, key_of


@dataclass(slots=True)
class Request:
    """A call that has reached the fake.

    :ivar time: on the fake's clock.
    :ivar endpoint: ``apigw``, ``esb`` or ``direct``.
    :ivar task_ids: the tasks that it is about.
    :ivar connection: number of its TCP connection.
    :ivar params: query or body, without credentials.
    :ivar status: HTTP status of the answer; 0: the connection was closed without one.
    :ivar result: ``result`` of the answer.
    :ivar code: ``code`` of the answer.
    """

    number: int
    time: float
    endpoint: str
    api: str
    method: str
    path: str
    connection: int
    task_ids: tuple[int, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    user: str = ""
    status: int = 0
    result: bool | None = None
    code: Any = None

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)


class Drop(Exception):
    """Close the connection without an answer."""


class SimulatedSops:
    """A SOPS site behind its gateway and its ESB, without the server; what is public of it is FakeSops' too.

    See :class:`~airflow_provider_sops.testing.FakeSops` for the parameters.
    """

    def __init__(
        self,
        *,
        release: str = NEWEST,
        templates: str | Path | None = None,
        replicas: int = 1,
        granted: Collection[str] | None = None,
        users: Mapping[str, Collection[str] | str] | None = None,
        apps: Mapping[str, str] | None = None,
        trusted_apps: Collection[str] = (),
        user_tokens: Mapping[str, str] | None = None,
        access_tokens: Mapping[str, tuple[str, str]] | None = None,
        caches: bool = True,
        start_delay: float | None = 0.1,
        denial_status: int = 200,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.app_code, self.app_secret, self.username = "demo-app", "demo-secret", "admin"
        self.bk_biz_id, self.project_id = 2, 7
        self.other_bk_biz_id, self.other_project_id = 3, 9
        self.site = Site(
            release=find_release(release),
            templates=templates,
            replicas=replicas,
            caches=caches,
            users={self.username: ALL_RIGHTS} if users is None else users,
            start_delay=start_delay,
        )
        self.apps = {self.app_code: self.app_secret} if apps is None else dict(apps)
        self.trusted_apps = set(trusted_apps)
        self.user_tokens = {"demo-token": self.username} if user_tokens is None else dict(user_tokens)
        self.access_tokens = (
            {"demo-access-token": (self.app_code, self.username)} if access_tokens is None else dict(access_tokens)
        )
        self.faults: Faults = Faults()
        self.on_request: Callable[[str, Request], object] | None = None
        self._granted = None if granted is None else set(granted)
        self._denied: set[str] = set()
        self._removed: set[str] = set()
        self._closed: set[str] = {"dispatch_plugin_query"}
        self._canned: dict[str, Any] = {}
        self._denial_status = denial_status
        self._log: list[Request] = []
        self._log_lock = threading.Lock()
        self._connections = 0
        self._turn = itertools.count()
        self._delayed: list[tuple[float | None, Callable[[], object]]] = []
        self._host, self._port = host, port

    # ---- addresses ----

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self._host}:{self._port}"

    @property
    def apigw_url(self) -> str:
        """Base URL of the API gateway's endpoint."""
        return self.url + endpoints.GATEWAY_PATH

    @property
    def esb_url(self) -> str:
        """Base URL of the ESB's endpoint."""
        return self.url + endpoints.ESB_PATH

    @property
    def direct_url(self) -> str:
        """Base URL of SOPS itself, as the gateway calls it."""
        return self.url + endpoints.DIRECT_PATH

    def connection(self, api_type: str = "apigw", **extra: Any) -> dict[str, Any]:
        """An Airflow connection to one of the endpoints, as a dict for ``AIRFLOW_CONN_…``.

        :param api_type: ``apigw`` or ``esb``.
        :param extra: more fields of the connection's extra; None leaves a field out.
        """
        fields = {"api_type": api_type, "bk_username": self.username, "bk_biz_id": self.bk_biz_id} | extra
        return {
            "conn_type": "sops",
            "host": self.esb_url if api_type == ESB else self.apigw_url,
            "login": self.app_code,
            "password": self.app_secret,
            "extra": {name: value for name, value in fields.items() if value is not None},
        }

    # ---- tasks and time ----

    @property
    def clock(self) -> Clock:
        """The fake's time."""
        return self.site.clock

    def advance(self, seconds: float) -> None:
        """Jump over a wait: the fake's time goes ahead."""
        with self.site.lock:
            self.site.clock.advance(seconds)

    def create_task(
        self,
        template: int | str = "Two steps with outputs",
        *,
        name: str | None = None,
        constants: Mapping[str, Any] | None = None,
        start: bool = True,
        flow_type: str = "common",
        user: str | None = None,
        project_id: int | None = None,
        callback_url: str = "",
        callback_version: str = "",
    ) -> int:
        """Make a task directly, without HTTP; nothing of it stands in the request log.

        :param template: id or name.
        :param name: the task's name; None: the template's.
        :param constants: values by bare name or key (``${IP}``).
        :param start: queue its start too; a function task that nobody has claimed stays as it is.
        :param project_id: of the task; None: the template's.
        :param callback_url: where its end, its failures and its revoke are posted to; empty: nowhere.
        :param callback_version: ``v2``: as JSON with the outputs; empty: as a form.
        :return: the task's id.
        :raises KeyError: no such template.
        """
        user = user or self.username
        with self.site.lock:
            wanted = self.site.template(template)
            task = self.site.create_task(
                name=wanted.name if name is None else name,
                project_id=project_id or (self.project_id if wanted.common else wanted.project_id),
                graph=self.site.graph(wanted),
                constants={key if key[:2] == "${" else key_of(key): value for key, value in (constants or {}).items()},
                user=user,
                template=wanted,
                flow_type=flow_type,
                callback_url=callback_url,
                callback_version=callback_version,
            )
            if start and task.current_flow == "execute_task":
                self.site.start_task(task, user)
            return task.id

    def task(self, task_id: int) -> Task:
        """A task, brought up to the present.

        :raises KeyError: there is none.
        """
        with self.site.lock:
            self._release_due()
            task = self.site.task(task_id)
            if task is None:
                raise KeyError(task_id)
            return task

    @property
    def tasks(self) -> list[Task]:
        """All tasks, brought up to the present, the oldest first."""
        with self.site.lock:
            self._release_due()
            return self.site.all_tasks()[::-1]

    def _bring_up(self) -> None:
        with self.site.lock:
            self._release_due()
            self.site.bring_up()

    def start_task(self, task_id: int) -> None:
        """Queue the start of a task, without HTTP.

        :raises Refused: a release that starts at once refuses it.
        """
        with self.site.lock:
            self.site.start_task(self.task(task_id), self.username)

    def operate(self, task_id: int, action: str, user: str = "someone") -> None:
        """A person pauses, resumes, revokes or claims a task. A claimed task is started, too.

        :raises Refused: SOPS refuses it.
        """
        with self.site.lock:
            task = self.task(task_id)
            if action == "claim":
                task.claim(self.clock.now(), user)
                self.site.start_task(task, user)
            else:
                self.site.operate_task(task, user, action)
                task.record(self.clock.now(), user, action)

    def operate_node(
        self,
        task_id: int,
        name: str,
        action: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        data: Any = None,
        user: str = "someone",
    ) -> None:
        """A person retries, skips, ends or answers a node.

        :param name: the node's name.
        :param action: ``retry``, ``skip``, ``forced_fail``, ``callback``, …, as in operate_node of SOPS.
        :raises KeyError: the task has no such node.
        :raises Refused: SOPS refuses it.
        """
        with self.site.lock:
            task = self.task(task_id)
            node_id = task.find_id(name)
            task.operate_node(self.clock.now(), user, node_id, action, inputs=inputs, data=data)
            task.record(self.clock.now(), user, action, node_id)

    def claim(self, task_id: int) -> None:
        """A person claims a function task; it starts then."""
        self.operate(task_id, "claim")

    def delete_task(self, task_id: int) -> None:
        """Delete a task, as a person does on the page."""
        with self.site.lock:
            self.task(task_id).deleted = True

    def expire_task(self, task_id: int) -> None:
        """Let a task's engine data expire: its state is EXPIRED from then on.

        :raises ValueError: this release of SOPS has no such state.
        """
        if not self.site.release.has("engine v2"):
            raise ValueError(f"SOPS {self.site.release.name} has no EXPIRED")
        with self.site.lock:
            self.task(task_id).expire(self.clock.now())

    @property
    def start_delay(self) -> float | None:
        """Seconds from a start request to the start; None: the worker is dead."""
        return self.site.start_delay

    @start_delay.setter
    def start_delay(self, seconds: float | None) -> None:
        self.site.start_delay = seconds

    def revive_worker(self, start_delay: float = 0.1) -> None:
        """A worker lives again: queued starts take effect now."""
        with self.site.lock:
            self.site.revive_worker(start_delay)

    def set_webhook(self, template: int | str, endpoint: str, **settings: Any) -> None:
        """Give a template a webhook, in the place of the one that it has: what happens to its tasks is posted there.

        :param template: id or name.
        :param endpoint: address that is posted to.
        :param settings: events, headers, authorization, retry_times, interval and timeout; see
            :class:`~airflow_provider_sops.testing.templates.Webhook`.
        :raises KeyError: no such template.
        :raises ValueError: a setting cannot be so, or this release of SOPS has no webhooks.
        """
        with self.site.lock:
            self.site.set_webhook(self.site.template(template), Webhook(endpoint, **settings))

    def remove_webhook(self, template: int | str) -> None:
        """Take its webhook from a template.

        :raises KeyError: no such template.
        """
        with self.site.lock:
            self.site.set_webhook(self.site.template(template), None)

    @property
    def callbacks(self) -> list[tuple[str, dict[str, Any]]]:
        """What callback URLs are told so far, without retries: ``(url, fields)``."""
        with self.site.lock:
            self.site.all_tasks()
            return list(self.site.callbacks)

    # ---- rights ----

    def grant(self, *apis: str) -> None:
        """Let the app call these APIs."""
        self._denied -= set(apis)
        if self._granted is not None:
            self._granted |= set(apis)

    def deny(self, *apis: str) -> None:
        """Take these APIs from the app."""
        self._denied |= set(apis)

    def remove_api(self, *apis: str) -> None:
        """Be an old server that does not have these APIs."""
        self._removed |= set(apis)

    def restore_api(self, *apis: str) -> None:
        """Have removed APIs again."""
        self._removed -= set(apis)

    def close_api(self, *apis: str) -> None:
        """Let SOPS itself refuse these APIs: the app is not on its own list of those that may call them (3540100)."""
        self._closed |= set(apis)

    def open_api(self, *apis: str) -> None:
        """Put the app on that list again."""
        self._closed -= set(apis)

    def serve_canned(self, answers: Mapping[str, Any]) -> None:
        """Answer APIs with fixed bodies; credentials and grants are still checked.

        :param answers: API -> body.
        """
        self._canned.update(answers)

    # ---- the request log ----

    @property
    def requests(self) -> list[Request]:
        """Calls so far, in the order in which they came."""
        with self._log_lock:
            return list(self._log)

    def count(self, api: str | None = None) -> int:
        """Number of calls so far, of one API or of all."""
        with self._log_lock:
            return len(self._log) if api is None else sum(request.api == api for request in self._log)

    @property
    def connections(self) -> int:
        """Number of TCP connections so far, those of the control plane left out."""
        return self._connections

    def clear_requests(self) -> None:
        """Empty the request log."""
        with self._log_lock:
            self._log.clear()

    def new_connection(self) -> int:
        """A client has connected.

        :return: number of the connection.
        """
        with self._log_lock:
            self._connections += 1
            return self._connections

    # ---- faults ----

    def release(self) -> int:
        """Let the effects of all delayed calls happen now.

        :return: how many there were.
        """
        with self.site.lock:
            delayed, self._delayed = self._delayed, []
            for _, act in delayed:
                act()
            return len(delayed)

    def _release_due(self) -> None:
        now = self.clock.now()
        due = [entry for entry in self._delayed if entry[0] is not None and entry[0] <= now]
        self._delayed = [entry for entry in self._delayed if entry not in due]
        for _, act in due:
            act()

    def _racing(self, task: Task) -> bool:
        """Whether the task's end has not been written yet, by an ``end_race`` that lasts for a time."""
        if task.root_state != "FINISHED" or task.finish_time is None:
            return False
        return any(
            fault.kind == "end_race"
            and fault.task_id in (None, task.id)
            and "reads" not in fault.options
            and self.clock.now() < task.finish_time + fault.get("seconds", float("inf"))
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
        request = self._record(incoming, connection)
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
            self._delay(faults["delayed_effect"], lambda: self._through_endpoint(incoming, request, faults))
            raise Drop
        reply = _planned_reply(request, faults)
        if reply is None:
            with self.site.lock:
                self._release_due()
                reply = self._through_endpoint(incoming, request, faults)
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

    def _record(self, incoming: Incoming, connection: int) -> Request:
        address = incoming.address
        with self._log_lock:
            request = Request(
                number=len(self._log) + 1,
                time=self.clock.now(),
                endpoint=address.endpoint,
                api=address.name,
                method=incoming.method,
                path=incoming.path,
                connection=connection,
                task_ids=incoming.task_ids(),
                params={name: value for name, value in incoming.params.items() if name not in endpoints.CREDENTIALS},
            )
            self._log.append(request)
        return request

    def _delay(self, fault: Fault, act: Callable[[], object]) -> None:
        seconds = fault.get("seconds")
        with self.site.lock:
            self._delayed.append((None if seconds is None else self.clock.now() + seconds, act))

    def _through_endpoint(self, incoming: Incoming, request: Request, faults: Mapping[str, Fault]) -> Reply:
        address = incoming.address
        endpoint, api = address.endpoint, address.api
        if api is None or address.name in self._removed:
            if endpoint == DIRECT:
                return endpoints.page_not_found(self.url + incoming.path)
            return endpoints.refuse(endpoint, 1640401)
        try:
            caller = self._caller(incoming)
            if endpoint != DIRECT and not endpoints.is_granted(self._granted, self._denied, api.name):
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
            return endpoints.page_not_found(f"{self.direct_url}/{address.rest}")
        if incoming.method != api.method:
            return Reply(405, "", {"Allow": api.method}, HTML)
        if api.name in self._canned:
            return Reply(200, self._canned[api.name])
        if not caller.user:
            message = "username cannot be empty, make sure api gateway has sent correct params: "
            return endpoints.business(refusal(message, PARAMETER), traced=False)
        replicas = self.site.replicas
        poison = faults.get("poison")
        call = Call(
            site=self.site,
            api=api,
            user=caller.user,
            trusted=caller.app in self.trusted_apps,
            ids=ids,
            query=_asked(incoming),
            raw=incoming.raw,
            path=incoming.path,
            replica=replicas[next(self._turn) % len(replicas)],
            stale="stale" in faults,
            racing=(lambda task: task.root_state == "FINISHED") if "end_race" in faults else self._racing,
            closed=api.name in self._closed,
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
        return endpoints.authenticate(given, self.apps, self.user_tokens, self.access_tokens)


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
