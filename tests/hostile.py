# SPDX-License-Identifier: Apache-2.0
"""Text that no database and no log can hold, a fake SOPS that is full of it, and a look at what has come of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from airflow_provider_sops.testing import FakeSops

#: every control character but tab and newline, and two lone surrogates
CODE_POINTS = [*(code for code in range(0x20) if code not in (0x09, 0x0A)), *range(0x7F, 0xA0), 0xD800, 0xDFFF]
#: each of them between letters, so that none is at an end or beside another one
TEXT = "a" + "a".join(map(chr, CODE_POINTS)) + "z"
#: the same as it must be shown
SHOWN = "a" + "a".join(f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in CODE_POINTS) + "z"
_UNSTORABLE = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")


def assert_storable(value: Any, where: str = "it") -> None:
    """Every Airflow's database and every channel between its processes can hold a value."""
    if isinstance(value, str):
        found = _UNSTORABLE.search(value)
        assert found is None, f"{where} holds {found.group()!r}: {value!r}"
        assert len(value) <= 20_000, f"{where} has {len(value)} characters"
        value.encode()
    elif isinstance(value, dict):
        for key, one in value.items():
            assert_storable(key, f"a key of {where}")
            assert_storable(one, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for one in value:
            assert_storable(one, f"an item of {where}")
    elif isinstance(value, int) and not isinstance(value, bool):
        assert -(2**63) <= value < 2**63, f"{where} has more than 64 bits"


def assert_event(event: Any) -> None:
    """A trigger's event can be stored."""
    assert_storable(event, "event")
    json.dumps(event, ensure_ascii=False, allow_nan=False).encode()


def fill(fake: FakeSops, task_id: int, text: str = TEXT) -> None:
    """Put a text wherever SOPS has one of a task: its name, its nodes' names, and why they failed, which is logged."""
    task = fake.task(task_id)
    task.name = text
    for spec in task.graph.nodes.values():
        if spec.name:
            spec.name = text
    for node in task.graph.tree["activities"].values():
        node["name"] = text
    for reached in task.nodes.values():
        reached.inputs = {text: text}
        if reached.ex_data:
            reached.ex_data = text


def say(status: int, body: Any, **headers: str) -> dict[str, Any]:
    """Return a fault of the fake that answers so, with all that is not ASCII as JSON escapes it."""
    text = body if isinstance(body, str) else json.dumps(body)
    return {"kind": "function", "function": lambda request: (status, text, headers), "times": None}


def refuse(message: Any, code: Any = 3540400) -> dict[str, Any]:
    """Return a fault by which SOPS says no."""
    return say(200, {"result": False, "code": code, "message": message, "data": None, "trace_id": TEXT})


def change(data: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Return a fault by which ``get_task_status`` answers with other data than this."""
    status = {"id": "n1", "state": "RUNNING", "name": "name", "children": {}, "elapsed_time": 1}
    status |= {"start_time": "2026-11-22 21:03:25 +0800", "finish_time": None}
    return say(200, {"result": True, "code": 0, "data": {**status, **data(status)}})
