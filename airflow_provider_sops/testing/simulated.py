# SPDX-License-Identifier: Apache-2.0
"""The fake SOPS as a Python object: its tasks, its rights, its faults, and how it answers a call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from airflow_provider_sops.testing import endpoints
from airflow_provider_sops.testing.access import Access
from airflow_provider_sops.testing.endpoints import ESB
from airflow_provider_sops.testing.engine.clock import Clock
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.faults import Faults
from airflow_provider_sops.testing.releases import NEWEST, find_release
from airflow_provider_sops.testing.request_log import Request, RequestLog
from airflow_provider_sops.testing.responder import Responder
from airflow_provider_sops.testing.site import ALL_RIGHTS, Site
from airflow_provider_sops.testing.templates.variables import key_of
from airflow_provider_sops.testing.templates.webhook import Webhook


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
        self.access = Access(
            apps=self.apps,
            trusted_apps=set(trusted_apps),
            user_tokens={"demo-token": self.username} if user_tokens is None else dict(user_tokens),
            access_tokens=(
                {"demo-access-token": (self.app_code, self.username)} if access_tokens is None else dict(access_tokens)
            ),
            granted=None if granted is None else set(granted),
        )
        self.faults: Faults = Faults()
        self.log = RequestLog(self.site.clock)
        self.responder = Responder(self.site, self.access, self.faults, self.log, denial_status)
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
            self.responder.release_due()
            task = self.site.task(task_id)
            if task is None:
                raise KeyError(task_id)
            return task

    @property
    def tasks(self) -> list[Task]:
        """All tasks, brought up to the present, the oldest first."""
        with self.site.lock:
            self.responder.release_due()
            return self.site.all_tasks()[::-1]

    def _bring_up(self) -> None:
        with self.site.lock:
            self.responder.release_due()
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
            :class:`~airflow_provider_sops.testing.templates.webhook.Webhook`.
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
        self.access.denied.difference_update(apis)
        if self.access.granted is not None:
            self.access.granted.update(apis)

    def deny(self, *apis: str) -> None:
        """Take these APIs from the app."""
        self.access.denied.update(apis)

    def remove_api(self, *apis: str) -> None:
        """Be an old server that does not have these APIs."""
        self.access.removed.update(apis)

    def restore_api(self, *apis: str) -> None:
        """Have removed APIs again."""
        self.access.removed.difference_update(apis)

    def close_api(self, *apis: str) -> None:
        """Let SOPS itself refuse these APIs: the app is not on its own list of those that may call them (3540100)."""
        self.access.closed.update(apis)

    def open_api(self, *apis: str) -> None:
        """Put the app on that list again."""
        self.access.closed.difference_update(apis)

    # ---- calls ----

    @property
    def on_request(self) -> Callable[[str, Request], object] | None:
        """What is called before and after each call is handled."""
        return self.responder.on_request

    @on_request.setter
    def on_request(self, hook: Callable[[str, Request], object] | None) -> None:
        self.responder.on_request = hook

    @property
    def requests(self) -> list[Request]:
        """Calls so far, in the order in which they came."""
        return self.log.requests

    def count(self, api: str | None = None) -> int:
        """Number of calls so far, of one API or of all."""
        return sum(api in (None, request.api) for request in self.log.requests)

    @property
    def connections(self) -> int:
        """Number of TCP connections so far, those of the control plane left out."""
        return self.log.connections

    def clear_requests(self) -> None:
        """Empty the request log."""
        self.log.clear()

    def serve_canned(self, answers: Mapping[str, Any]) -> None:
        """Answer APIs with fixed bodies; credentials and grants are still checked.

        :param answers: API -> body.
        """
        self.responder.canned.update(answers)

    def release(self) -> int:
        """Let the effects of all delayed calls happen now.

        :return: how many there were.
        """
        with self.site.lock:
            return self.responder.release()
