# SPDX-License-Identifier: Apache-2.0
"""The calls that have reached the fake."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_sops.testing.endpoints import CREDENTIALS, Incoming
from airflow_provider_sops.testing.engine.clock import Clock


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


class RequestLog:
    """The calls so far, in the order in which they came.

    :param clock: the fake's time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._connections = 0

    @property
    def requests(self) -> list[Request]:
        """All of them."""
        with self._lock:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """Number of TCP connections so far."""
        return self._connections

    def connect(self) -> int:
        """A client has connected.

        :return: number of the connection.
        """
        with self._lock:
            self._connections += 1
            return self._connections

    def record(self, incoming: Incoming, connection: int) -> Request:
        """A call has come."""
        address = incoming.address
        with self._lock:
            request = Request(
                number=len(self._requests) + 1,
                time=self._clock.now(),
                endpoint=address.endpoint,
                api=address.name,
                method=incoming.method,
                path=incoming.path,
                connection=connection,
                task_ids=incoming.task_ids(),
                params={name: value for name, value in incoming.params.items() if name not in CREDENTIALS},
            )
            self._requests.append(request)
        return request

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._requests.clear()
