# SPDX-License-Identifier: Apache-2.0
"""The fake SOPS server."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from airflow_provider_sops.testing import control, doors
from airflow_provider_sops.testing.api import APIS, Call, Crash, handle
from airflow_provider_sops.testing.doors import DIRECT, ESB, GATEWAY, Address, Caller, Refusal, Reply
from airflow_provider_sops.testing.engine import Clock, Task
from airflow_provider_sops.testing.faults import Fault, Faults, with_wrong_types
from airflow_provider_sops.testing.page import task_page
from airflow_provider_sops.testing.site import ALL_RIGHTS, Site

HTML = "text/html; charset=utf-8"
LOGIN_PAGE = "<!DOCTYPE html><html><head><title>登录</title></head><body><form>Please log in</form></body></html>"


@dataclass(slots=True)
class Request:
    """A call that has reached the fake.

    :ivar time: on the fake's clock.
    :ivar task_ids: the tasks that it is about.
    :ivar connection: number of its TCP connection.
    :ivar params: query or body, without credentials.
    :ivar status: HTTP status of the answer; 0: the connection was closed without one.
    :ivar result: ``result`` of the answer.
    :ivar code: ``code`` of the answer.
    """

    number: int
    time: float
    door: str
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


class _Drop(Exception):
    """Close the connection without an answer."""


class FakeSops:
    """A stand-in for a SOPS site, over real HTTP on this machine.

    Use it as a context manager. It answers in threads of its own; tests look at it and change it from theirs.

    :param templates: TOML file with templates; None: the default set.
    :param replicas: number of web processes, each with caches of its own.
    :param granted: APIs that the app may call; None: all.
    :param users: user -> IAM actions (``"*"``: all). Default: ``admin`` may do everything.
    :param apps: app code -> secret. Default: ``demo-app`` / ``demo-secret``.
    :param trusted_apps: apps for which SOPS does not ask IAM.
    :param user_tokens: bk_token -> user.
    :param access_tokens: access token -> (app code, user).
    :param caches: whether SOPS' caches (10 s, 60 s) work.
    :param start_delay: seconds from start_task to the start; None: no worker takes it up.
    :param host: address to listen on.
    :param port: 0: a free one.
    :ivar on_request: called as ``on_request("before" | "after", request)`` in the server's thread, before a call is
        handled, and after it was handled but before its answer is sent.
    """

    def __init__(
        self,
        *,
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
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.app_code, self.app_secret, self.username = "demo-app", "demo-secret", "admin"
        self.bk_biz_id, self.project_id = 2, 7
        self.other_bk_biz_id, self.other_project_id = 3, 9
        self.site = Site(
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
        self.faults = Faults()
        self.on_request: Callable[[str, Request], object] | None = None
        self._granted = None if granted is None else set(granted)
        self._denied: set[str] = set()
        self._removed: set[str] = set()
        self._canned: dict[str, Any] = {}
        self._requests: list[Request] = []
        self._numbers = itertools.count(1)
        self._turn = itertools.count()
        self._connections = itertools.count(1)
        self._connection_count = 0
        self._delayed: list[tuple[float | None, Callable[[], object]]] = []
        self._log_lock = threading.Lock()
        self._host, self._port = host, port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    # ---- life ----

    def start(self) -> Self:
        """Listen and answer, in threads of its own."""
        self._server = _Server((self._host, self._port), self)
        self._port = self._server.server_address[1]
        self.site.url = self.url
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="fake-sops", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close all connections and stop."""
        if self._server is not None:
            self._server.shutdown()
            self._server.close_connections()
            self._server.server_close()
            self._server = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ---- addresses ----

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self._host}:{self._port}"

    @property
    def apigw_url(self) -> str:
        """Base URL of the API gateway's door."""
        return self.url + doors.GATEWAY_PATH

    @property
    def esb_url(self) -> str:
        """Base URL of the ESB's door."""
        return self.url + doors.ESB_PATH

    @property
    def direct_url(self) -> str:
        """Base URL of SOPS itself, as the gateway calls it."""
        return self.url + doors.DIRECT_PATH

    def connection(self, api_type: str = "apigw", **extra: Any) -> dict[str, Any]:
        """An Airflow connection to one of the doors, as a dict for ``AIRFLOW_CONN_…``.

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
        **more: Any,
    ) -> int:
        """Make a task directly, without HTTP; nothing of it stands in the request log.

        :param template: id or name.
        :param constants: values by bare name or key (``${IP}``).
        :param start: queue its start too.
        :return: the task's id.
        :raises KeyError: no such template.
        """
        with self.site.lock:
            wanted = self.site.template(template, project_id or self.project_id)
            values = {key if key.startswith("${") else "${%s}" % key: value for key, value in (constants or {}).items()}
            task = self.site.create_task(
                name=wanted.name if name is None else name,
                project_id=project_id or (self.project_id if wanted.common else wanted.project_id),
                graph=self.site.graph(wanted),
                constants=values,
                user=user or self.username,
                template=wanted,
                flow_type=flow_type,
                **more,
            )
            if start:
                self.site.start_task(task, user or self.username)
            return task.id

    def task(self, task_id: int) -> Task:
        """A task, brought up to the present.

        :raises KeyError: there is none.
        """
        with self.site.lock:
            task = self.site.task(task_id)
            if task is None:
                raise KeyError(task_id)
            return task

    @property
    def tasks(self) -> list[Task]:
        """All tasks, brought up to the present, the oldest first."""
        with self.site.lock:
            return self.site.all_tasks()[::-1]

    def start_task(self, task_id: int) -> None:
        """Queue the start of a task, without HTTP."""
        with self.site.lock:
            self.site.start_task(self.task(task_id), self.username)

    def operate(self, task_id: int, action: str, user: str = "someone") -> None:
        """A person pauses, resumes, revokes or claims a task.

        :raises Refused: SOPS refuses it.
        """
        with self.site.lock:
            task = self.task(task_id)
            task.note(self.clock.now(), user, action)
            if action == "claim":
                task.claim(self.clock.now(), user)
                self.site.start_task(task, user)
            else:
                {"pause": task.pause, "resume": task.resume, "revoke": task.revoke}[action](self.clock.now())

    def operate_node(
        self, task_id: int, name: str, action: str, *, inputs: Mapping[str, Any] | None = None, data: Any = None
    ) -> None:
        """A person retries, skips, ends or answers a node.

        :param name: the node's name.
        :param action: ``retry``, ``skip``, ``forced_fail`` or ``callback``.
        :raises KeyError: no such node was reached.
        :raises Refused: SOPS refuses it.
        """
        with self.site.lock:
            task, now = self.task(task_id), self.clock.now()
            node = task.node(name)
            task.note(now, "someone", f"{action} {name}")
            if action == "retry":
                task.retry(now, node, inputs or {})
            elif action == "skip":
                task.skip(now, node)
            elif action == "callback":
                task.callback(now, node, data)
            elif action == "forced_fail":
                task.forced_fail(now, node, "The node has been terminated by someone.")
            else:
                raise ValueError(action)

    def claim(self, task_id: int) -> None:
        """A person claims a function task; it starts then."""
        self.operate(task_id, "claim")

    def delete_task(self, task_id: int) -> None:
        """Delete a task, as a person does on the page."""
        with self.site.lock:
            self.task(task_id).deleted = True

    def expire_task(self, task_id: int) -> None:
        """Let a task's engine data expire."""
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

    @property
    def callbacks(self) -> list[tuple[str, dict[str, Any]]]:
        """Posts to callback URLs so far."""
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
            return list(self._requests)

    def count(self, api: str | None = None) -> int:
        """Number of calls so far, of one API or of all."""
        with self._log_lock:
            return len(self._requests) if api is None else sum(request.api == api for request in self._requests)

    @property
    def connections(self) -> int:
        """Number of TCP connections that were accepted so far."""
        return self._connection_count

    def clear_requests(self) -> None:
        """Empty the request log."""
        with self._log_lock:
            self._requests.clear()

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
        for entry in due:
            self._delayed.remove(entry)
            entry[1]()

    def _racing(self, task: Task) -> bool:
        if task.root_state != "FINISHED" or task.finish_time is None:
            return False
        for fault in self.faults:
            if fault.kind == "end_race" and fault.task_id in (None, task.id):
                seconds = fault.get("seconds")
                if seconds is None or self.clock.now() < task.finish_time + seconds:
                    return True
        return False

    # ---- answering ----

    def accepted(self) -> int:
        """Number of a new TCP connection."""
        with self._log_lock:
            self._connection_count += 1
            return next(self._connections)

    def log(self, address: Address, method: str, path: str, connection: int) -> Request:
        """Write a call into the log."""
        request = Request(next(self._numbers), self.clock.now(), address.door, address.name, method, path, connection)
        with self._log_lock:
            self._requests.append(request)
        return request

    def answer(
        self, request: Request, address: Address, query: dict[str, str], raw: bytes, headers: Mapping[str, str]
    ) -> tuple[Reply, list[Fault]]:
        """Answer a call.

        :return: the reply, and the faults that are to hit its sending.
        :raises _Drop: there is none.
        """
        body = _json(raw) if request.method == "POST" else None
        params: dict[str, Any] = body if isinstance(body, dict) else {} if request.method == "POST" else dict(query)
        request.params = {name: value for name, value in params.items() if name not in doors.CREDENTIALS}
        request.task_ids = _task_ids(address, params)
        if self.on_request is not None:
            self.on_request("before", request)
        faults = self.faults.take(address.name, request.task_ids, lambda fault: self._applies(fault, request))
        by_kind = {fault.kind: fault for fault in faults}
        if "latency" in by_kind:
            time.sleep(by_kind["latency"].get("seconds", 1.0))
        if "drop" in by_kind:
            raise _Drop
        act = self._act(request, address, query, raw, params, headers, by_kind)
        if "delayed_effect" in by_kind:
            seconds = by_kind["delayed_effect"].get("seconds")
            with self.site.lock:
                self._delayed.append((None if seconds is None else self.clock.now() + seconds, act))
            raise _Drop
        reply = self._faulty_reply(request, by_kind)
        if reply is None:
            with self.site.lock:
                self._release_due()
                reply = act()
        if "wrong_types" in by_kind:
            reply.body = with_wrong_types(reply.body)
        if isinstance(reply.body, dict):
            request.result, request.code = reply.body.get("result"), reply.body.get("code")
        request.status = reply.status
        if self.on_request is not None:
            self.on_request("after", request)
        if "drop_after" in by_kind:
            request.status = 0
            raise _Drop
        return reply, faults

    def _applies(self, fault: Fault, request: Request) -> bool:
        if fault.kind == "end_race":
            if "reads" not in fault.options:
                return False  # lasts for a time, not for a number of answers
            tasks = [self.site.task(task_id) for task_id in request.task_ids]
            return any(task is not None and task.root_state == "FINISHED" for task in tasks)
        if fault.kind == "poison":
            return request.api == "get_tasks_status"
        return True

    def _faulty_reply(self, request: Request, by_kind: Mapping[str, Fault]) -> Reply | None:
        if "function" in by_kind:
            answer = by_kind["function"].get("function")(request)
            if answer is not None:
                status, body = answer
                return Reply(status, body)
        if "status" in by_kind:
            fault = by_kind["status"]
            status = fault.get("status", 502)
            extra = {} if fault.get("retry_after") is None else {"Retry-After": str(fault.get("retry_after"))}
            reply = doors.refuse(request.door, fault.get("code") or doors.code_of_status(status))
            reply.headers |= extra
            reply.status = status
            if fault.get("message") and isinstance(reply.body, dict):
                reply.body["message"] = fault.get("message")
            if "body" in fault.options:
                reply.body = fault.get("body")
            return reply
        if "html" in by_kind:
            return Reply(by_kind["html"].get("status", 200), LOGIN_PAGE, {}, HTML)
        if "redirect" in by_kind:
            return Reply(302, "", {"Location": by_kind["redirect"].get("location", "/login/")}, HTML)
        return None

    def _act(
        self,
        request: Request,
        address: Address,
        query: dict[str, str],
        raw: bytes,
        params: dict[str, Any],
        headers: Mapping[str, str],
        by_kind: Mapping[str, Fault],
    ) -> Callable[[], Reply]:
        def act() -> Reply:
            with self.site.lock:
                return self._through_door(request, address, query, raw, params, headers, by_kind)

        return act

    def _through_door(
        self,
        request: Request,
        address: Address,
        query: dict[str, str],
        raw: bytes,
        params: dict[str, Any],
        headers: Mapping[str, str],
        by_kind: Mapping[str, Fault],
    ) -> Reply:
        door, api = address.door, address.api
        if api is None or address.name in self._removed:
            if door == DIRECT:
                return doors.page_not_found(self.url + request.path)
            return doors.refuse(door, 1640401)
        try:
            given = doors.credentials(door, headers.get("X-Bkapi-Authorization"), params)
            if door == DIRECT:
                if not given:
                    return Reply(403, "This API can only be accessed through API gateway", {}, HTML)
                caller = Caller(given.get("bk_app_code", ""), given.get("bk_username", ""))
            else:
                caller = doors.authenticate(given, self.apps, self.user_tokens, self.access_tokens)
                if not doors.is_granted(self._granted, self._denied, address.name):
                    raise Refusal(1640301, f"app={caller.app} api={address.name}")
            request.user = caller.user
            ids = doors.esb_ids(api, params) if door == ESB else address.ids
        except Refusal as refusal:
            return doors.refuse(door, refusal.code, refusal.detail)
        if ids is None:
            return doors.page_not_found(self.url + "/apigw/" + request.path.split("/prod/")[-1].removeprefix("/apigw/"))
        if request.method != api.method:
            return Reply(405, "", {"Allow": api.method}, HTML)
        if address.name in self._canned:
            return Reply(200, self._canned[address.name])
        if not caller.user:
            message = "username cannot be empty, make sure api gateway has sent correct params: "
            return _business({"result": False, "message": message, "code": 3540000})
        replicas = self.site.replicas
        call = Call(
            site=self.site,
            api=api,
            user=caller.user,
            trusted=caller.app in self.trusted_apps,
            ids=ids,
            query=query if request.method == "GET" else {},
            raw=raw,
            path=request.path,
            replica=replicas[next(self._turn) % len(replicas)],
            stale="stale" in by_kind,
            racing=(lambda task: True) if "end_race" in by_kind else self._racing,
            poisoned=frozenset(
                task_id
                for fault in by_kind.values()
                if fault.kind == "poison"
                for task_id in (request.task_ids if fault.task_id is None else [fault.task_id])
            ),
        )
        call.cache_key = raw.decode("utf-8", "replace") if request.method == "POST" else repr(sorted(query.items()))
        try:
            return _business(handle(call))
        except Crash:
            answer = {"result": False, "code": "50000", "message": "系统异常,请联系管理员处理", "data": None}
            reply = _business(answer)
            reply.status = 500
            return reply


def _business(answer: dict[str, Any]) -> Reply:
    """An answer of SOPS itself: it carries a trace id, in the body and in a header."""
    trace_id = uuid.uuid4().hex
    return Reply(200, answer | {"trace_id": trace_id}, {"Sops-Trace-Id": trace_id})


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw or b"{}")
    except ValueError:
        return None


def _task_ids(address: Address, params: Mapping[str, Any]) -> tuple[int, ...]:
    given: list[Any] = []
    if address.ids and "task_id" in address.ids:
        given = [address.ids["task_id"]]
    elif isinstance(params.get("task_id_list"), list):
        given = params["task_id_list"]
    elif "task_id" in params:
        given = [params["task_id"]]
    ids = []
    for value in given:
        try:
            ids.append(int(value))
        except (TypeError, ValueError):
            continue
    return tuple(ids)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], fake: FakeSops) -> None:
        self.fake = fake
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)

    def remember(self, connection: socket.socket, is_open: bool) -> None:
        """Keep track of the open connections."""
        with self._open_lock:
            (self._open.add if is_open else self._open.discard)(connection)

    def close_connections(self) -> None:
        """Close what clients keep alive, so that they notice that the server is gone."""
        with self._open_lock:
            for connection in list(self._open):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.number = self.server.fake.accepted() if not self._is_control() else 0
        self.server.remember(self.connection, True)

    def _is_control(self) -> bool:
        try:
            return b" /fake/" in self.connection.recv(64, socket.MSG_PEEK)
        except OSError:
            return False

    def finish(self) -> None:
        self.server.remember(self.connection, False)
        try:
            super().finish()
        except OSError:
            return

    def log_message(self, format: str, *args: Any) -> None:
        """The request log is in memory."""

    def version_string(self) -> str:
        return "gunicorn"

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = do_GET

    def _handle(self) -> None:
        fake = self.server.fake
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        if parts.path.startswith("/fake/"):
            status, body = control.handle(fake, self.command, parts.path, query, _json(raw))
            self._send(Reply(status, body))
            return
        address = doors.find(parts.path)
        if address is None:
            self._send(self._page(parts.path, query))
            return
        request = fake.log(address, self.command, parts.path, self.number)
        try:
            reply, faults = fake.answer(request, address, query, raw, self.headers)
        except _Drop:
            self._close()
            return
        if address.door != DIRECT:
            reply.headers.setdefault("X-Bkapi-Request-Id", uuid.uuid4().hex)
        self._send(reply, {fault.kind for fault in faults}, self.headers.get("Accept-Language", ""))

    def _page(self, path: str, query: Mapping[str, str]) -> Reply:
        fake = self.server.fake
        if path.startswith(("/taskflow/execute/", "/function/execute/")):
            with fake.site.lock:
                wanted = query.get("instance_id", "")
                task = fake.site.task(int(wanted)) if wanted.isdigit() else None
                if task is not None:
                    return Reply(200, task_page(task, fake.site.projects[task.project_id], fake.clock.now()), {}, HTML)
            return Reply(404, "<!DOCTYPE html><title>404</title><p>There is no such task.</p>", {}, HTML)
        if path == "/":
            return Reply(200, "<!DOCTYPE html><title>fake SOPS</title><p>This is a fake SOPS.</p>", {}, HTML)
        return doors.page_not_found(fake.url + path)

    def _close(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _send(self, reply: Reply, kinds: Collection[str] = (), language: str = "") -> None:
        data = reply.data()
        length = len(data)
        if "not_json" in kinds:
            data = data[: max(1, len(data) // 2)]
            length = len(data)
        if "truncate" in kinds:
            data = data[: max(1, len(data) // 2)]
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Vary", "Accept-Language, Cookie")
        english = language.lower().startswith("en") or "blueking_language=en" in (self.headers.get("Cookie") or "")
        self.send_header("Content-Language", "en" if english else "zh-hans")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()
        if "truncate" in kinds:
            self._close()


assert set(APIS) and GATEWAY  # the APIs register themselves on import
