# SPDX-License-Identifier: Apache-2.0
"""Flows: what takes several calls, written once for both clients and without I/O.

A flow is a generator. It yields a :class:`~airflow_provider_sops.core.api.calls.Call` and is sent the answer, or the
error is raised at that place; it yields a :class:`Sleep` to wait; it yields a :class:`LogLine` or :class:`Secrets` to
report something at once; and it returns its result. ``SopsClient.run`` and ``AsyncSopsClient.run`` carry the same flow
out, so what decides knows nothing of how requests are sent::

    def name_of_task(project: Project, task_id: int) -> Flow[str]:
        for _ in range(3):
            answer = yield project.call("get_task_detail", task_id=task_id)
            if answer.data["name"]:
                return answer.data["name"]
            yield LogLine(f"SOPS task {task_id} has no name yet.")
            yield Sleep(2.0)
        return ""

    name = client.run(name_of_task(project, 10), report=print)

A flow calls another one with ``yield from``. A test runs it with plain values: ``next``, ``send`` and ``throw``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.calls import Call

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sleep:
    """What a flow yields to wait; nothing is sent back that it could use."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line for the task's log."""

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Secrets:
    """Values to mask in the log from now on; a flow yields them before it sends or logs anything that may hold them."""

    values: tuple[str, ...] = field(repr=False)


#: Yields calls, sleeps and reports, is sent answers or thrown errors, and returns a result.
Flow = Generator["Call | Sleep | LogLine | Secrets", Answer, T]
#: Takes what a flow reports, at once.
Report = Callable[["LogLine | Secrets"], None]


def ignore(report: LogLine | Secrets) -> None:
    """Drop what a flow reports; for callers that have no log."""
