# SPDX-License-Identifier: Apache-2.0
"""The fake SOPS of another process, with the methods of :class:`FakeSops`."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import requests


class FakeSopsClient:
    """Steers a fake SOPS that runs in another process, over its control plane.

    :param url: where it listens, as it prints it.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.faults = _Faults(self)

    def call(self, name: str, /, **args: Any) -> Any:
        """One call of the control plane.

        :raises RuntimeError: the fake refuses it; the message says why.
        """
        with requests.Session() as session:
            session.trust_env = False  # it is here, behind no proxy
            answer = session.post(f"{self.url}/fake/{name}", json=args, timeout=30).json()
        if "error" in answer:
            raise RuntimeError(f"{name}: {answer['error']}")
        return answer["value"]

    def status(self) -> dict[str, Any]:
        """Addresses, ids and time of the fake."""
        status: dict[str, Any] = self.call("status")
        return status

    def connection(self, api_type: str = "apigw") -> dict[str, Any]:
        """An Airflow connection to one of the endpoints."""
        connection: dict[str, Any] = self.call("connection", api_type=api_type)
        return connection

    def create_task(self, template: int | str = "Two steps with outputs", **args: Any) -> int:
        """Make a task; see :meth:`FakeSops.create_task`."""
        return int(self.call("create_task", template=template, **args))

    def create_tasks(self, count: int, template: int | str = "Two steps with outputs", **args: Any) -> list[int]:
        """Make several tasks alike."""
        ids: list[int] = self.call("create_tasks", template=template, count=count, **args)
        return ids

    def task(self, task_id: int) -> SimpleNamespace:
        """A task: ``state``, ``starts``, ``operations``, ``outputs``, ``nodes``, …"""
        return SimpleNamespace(**self.call("task", task_id=task_id))

    @property
    def tasks(self) -> list[SimpleNamespace]:
        """All tasks, the oldest first."""
        return [SimpleNamespace(**task) for task in self.call("tasks")]

    @property
    def requests(self) -> list[SimpleNamespace]:
        """Calls so far."""
        return [SimpleNamespace(**request) for request in self.call("requests")]

    def count(self, api: str | None = None) -> int:
        """Number of calls so far, of one API or of all."""
        return int(self.call("count", api=api))

    @property
    def connections(self) -> int:
        """Number of TCP connections so far, those of the control plane left out."""
        return int(self.status()["connections"])

    def clear_requests(self) -> None:
        """Empty the request log."""
        self.call("clear_requests")

    def advance(self, seconds: float) -> None:
        """Jump over a wait."""
        self.call("advance", seconds=seconds)

    def start_task(self, task_id: int) -> None:
        """Queue the start of a task."""
        self.call("start_task", task_id=task_id)

    def operate(self, task_id: int, action: str, user: str = "someone") -> None:
        """A person pauses, resumes, revokes or claims a task."""
        self.call("operate", task_id=task_id, action=action, user=user)

    def operate_node(self, task_id: int, name: str, action: str, **args: Any) -> None:
        """A person retries, skips, ends or answers a node."""
        self.call("operate_node", task_id=task_id, name=name, action=action, **args)

    def claim(self, task_id: int) -> None:
        """A person claims a function task."""
        self.call("claim", task_id=task_id)

    def delete_task(self, task_id: int) -> None:
        """Delete a task."""
        self.call("delete_task", task_id=task_id)

    def expire_task(self, task_id: int) -> None:
        """Let a task's engine data expire."""
        self.call("expire_task", task_id=task_id)

    def set_webhook(self, template: int | str, endpoint: str, **settings: Any) -> None:
        """Give a template a webhook; see :meth:`FakeSops.set_webhook`."""
        self.call("set_webhook", template=template, endpoint=endpoint, **settings)

    def remove_webhook(self, template: int | str) -> None:
        """Take its webhook from a template."""
        self.call("remove_webhook", template=template)

    def set_start_delay(self, seconds: float | None) -> None:
        """Seconds from a start request to the start; None: the worker is dead."""
        self.call("set_start_delay", seconds=seconds)

    def revive_worker(self, start_delay: float = 0.1) -> None:
        """A worker lives again."""
        self.call("revive_worker", start_delay=start_delay)

    def grant(self, *apis: str) -> None:
        """Let the app call these APIs."""
        self.call("grant", apis=apis)

    def deny(self, *apis: str) -> None:
        """Take these APIs from the app."""
        self.call("deny", apis=apis)

    def remove_api(self, *apis: str) -> None:
        """Be an old server that does not have these APIs."""
        self.call("remove_api", apis=apis)

    def restore_api(self, *apis: str) -> None:
        """Have removed APIs again."""
        self.call("restore_api", apis=apis)

    def close_api(self, *apis: str) -> None:
        """Let SOPS itself refuse these APIs (3540100)."""
        self.call("close_api", apis=apis)

    def open_api(self, *apis: str) -> None:
        """Let SOPS take them again."""
        self.call("open_api", apis=apis)

    def serve_canned(self, answers: Mapping[str, Any]) -> None:
        """Answer APIs with fixed bodies."""
        self.call("serve_canned", answers=answers)

    def release(self) -> int:
        """Let the effects of all delayed calls happen now."""
        return int(self.call("release"))


class _Faults:
    def __init__(self, client: FakeSopsClient) -> None:
        self._client = client

    def add(self, api: str | None = None, *, kind: str, **options: Any) -> None:
        """Set a fault; see :meth:`Faults.add`."""
        self._client.call("add_fault", api=api, kind=kind, **options)

    def clear(self) -> None:
        """Remove all faults."""
        self._client.call("clear_faults")
