# SPDX-License-Identifier: Apache-2.0
"""The fake SOPS of another process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import requests


class FakeSopsClient:
    """Steers a fake SOPS that runs in another process, over its control plane.

    It has the methods of :class:`FakeSops` that a test steers it with, such as :meth:`FakeSops.create_task`,
    :meth:`FakeSops.advance`, :meth:`FakeSops.operate`, :meth:`FakeSops.deny` or :meth:`FakeSops.count`, with the same
    arguments, as far as JSON can say them. Besides, ``status()`` gives its addresses, ids and time, and
    ``set_start_delay(seconds)`` sets what is an attribute there.

    :param url: where it listens, as it prints it.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return functools.partial(self.call, name)

    def call(self, name: str, /, *args: Any, **options: Any) -> Any:
        """Call a method there.

        :param args: its arguments; those with a name in ``options``.
        :return: what it returns, as JSON.
        :raises RuntimeError: the fake refuses it; the message says why.
        """
        with requests.Session() as session:
            session.trust_env = False  # it is here, behind no proxy
            body = {"args": args, "options": options}
            answer = session.post(f"{self.url}/fake/{name}", json=body, timeout=30).json()
        if "error" in answer:
            raise RuntimeError(f"{name}: {answer['error']}")
        return answer["value"]

    def create_task(self, template: int | str = "Two steps with outputs", **options: Any) -> int:
        """Make a task; see :meth:`FakeSops.create_task`."""
        return int(self.call("create_task", template, **options))

    def create_tasks(self, count: int, template: int | str = "Two steps with outputs", **options: Any) -> list[int]:
        """Make several tasks alike."""
        return list(map(int, self.call("create_tasks", count, template, **options)))

    def count(self, api: str | None = None) -> int:
        """Number of calls so far, of one API or of all."""
        return int(self.call("count", api))

    def task(self, task_id: int) -> SimpleNamespace:
        """A task: ``state``, ``starts``, ``operations``, ``outputs``, ``nodes``, …"""
        return SimpleNamespace(**self.call("task", task_id))

    @property
    def tasks(self) -> list[SimpleNamespace]:
        """All tasks, the oldest first."""
        return [SimpleNamespace(**task) for task in self.call("tasks")]

    @property
    def requests(self) -> list[SimpleNamespace]:
        """Calls so far."""
        return [SimpleNamespace(**request) for request in self.call("requests")]

    @property
    def connections(self) -> int:
        """Number of TCP connections so far, those of the control plane left out."""
        return int(self.call("status")["connections"])

    @property
    def faults(self) -> SimpleNamespace:
        """What goes wrong: ``faults.add`` and ``faults.clear``, see :class:`Faults`."""
        return SimpleNamespace(
            add=functools.partial(self.call, "add_fault"), clear=functools.partial(self.call, "clear_faults")
        )
