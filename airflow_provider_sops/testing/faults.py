# SPDX-License-Identifier: Apache-2.0
"""Faults on demand: what goes wrong, for which API, and how often."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Faults"]

#: kind -> what it does
KINDS = {
    "latency": "answer `seconds` later (wall clock)",
    "drop": "close the connection before anything is done",
    "drop_after": "do what is asked, then close the connection without an answer",
    "delayed_effect": "close the connection; do what is asked at release(), or `seconds` later on the fake's clock",
    "status": "answer with HTTP `status`, `code`, `message`, `retry_after` in the endpoint's own shape",
    "html": "HTTP 200 with a login page",
    "redirect": "302 to `location`",
    "truncate": "promise more bytes than are sent, then close the connection",
    "not_json": "a body that is not JSON although it says so; half of the answer",
    "wrong_types": "the right JSON with wrong types: a list where a dict belongs, a number as the state, …",
    "stale": "a replica that lags behind: the status before the last change",
    "end_race": "FINISHED without an end time, for `reads` answers or `seconds` after the end",
    "poison": "get_tasks_status refuses a batch because of `task_id`",
    "function": "`function(request)` gives the answer: (status, body), or None to go on as usual",
}
LOGIN_PAGE = "<!DOCTYPE html><html><head><title>登录</title></head><body><form>Please log in</form></body></html>"


@dataclass(slots=True, eq=False)
class Fault:
    """A fault that waits for its requests.

    :param api: name of the API; None: any.
    :param times: number of requests that it hits; None: until it is removed.
    :param after: number of requests that it lets pass first.
    """

    kind: str
    api: str | None
    times: int | None
    after: int
    task_id: int | None
    options: dict[str, Any]
    hits: int = 0

    def get(self, option: str, default: Any = None) -> Any:
        """An option of the fault."""
        return self.options.get(option, default)


class Faults:
    """The faults that are set."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(
        self,
        api: str | None = None,
        *,
        kind: str,
        times: int | None = 1,
        after: int = 0,
        task_id: int | None = None,
        **options: Any,
    ) -> Fault:
        """Set a fault.

        :param api: name of the API that it hits; None: any.
        :param kind: one of :data:`KINDS`.
        :param times: how many requests it hits; None: all, until it is removed.
        :param after: how many matching requests it lets pass first.
        :param task_id: only requests for this task; for ``poison``, the task that spoils its batch.
        :raises ValueError: no such kind.
        """
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are {', '.join(KINDS)}")
        if "reads" in options:
            times = int(options["reads"])
        fault = Fault(kind, api, times, after, task_id, options)
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Remove one fault."""
        with self._lock:
            self._faults = [other for other in self._faults if other is not fault]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter(list(self._faults))

    def take(self, api: str, task_ids: tuple[int, ...], applies: Callable[[Fault], bool]) -> list[Fault]:
        """The faults that hit a request; they are counted.

        :param applies: says for a fault whose API and task match whether it has something to hit.
        """
        if not self._faults:
            return []
        hit = []
        with self._lock:
            for fault in list(self._faults):
                if fault.api not in (None, api) or (fault.task_id is not None and fault.task_id not in task_ids):
                    continue
                if not applies(fault):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.hits += 1
                if fault.times is not None and fault.hits >= fault.times:
                    self._faults.remove(fault)
                hit.append(fault)
        return hit


def with_wrong_types(body: Any) -> Any:
    """An answer whose types are wrong, although it is JSON."""
    if not isinstance(body, dict):
        return body
    data = body.get("data")
    if isinstance(data, list):
        return body | {"data": {"rows": [_spoilt(row) for row in data]}}
    if isinstance(data, dict) and "state" in data:
        return body | {"data": data | {"state": 5, "finish_time": {"at": 1}}}
    return body | {"data": [data]}


def _spoilt(row: Any) -> Any:
    return row | {"status": []} if isinstance(row, dict) else row
