# SPDX-License-Identifier: Apache-2.0
"""Finding in Airflow's logs the tracebacks that nobody expects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

#: What a task of ours may fail with.
_EXPECTED = re.compile(
    r"\b(Sops\w+Exception|AirflowSensorTimeout|AirflowTaskTimeout|AirflowException: This task was|UndefinedError)\b"
)
_HEAD = "Traceback (most recent call last)"
_OURS = "airflow_provider_sops"
#: What says that the way between a triggerer and its supervisor is broken.
_BROKEN = re.compile(r"out of order|Trigger runner (process has died|failed)|DeadlockImminentError")


def find_tracebacks(files: Iterable[Path]) -> list[str]:
    """Return each traceback of ours that no task was meant to fail with, and each word of a broken triggerer."""
    found = []
    for path in files:
        if path.suffix not in (".log", ".out"):
            continue
        text = path.read_text(errors="replace")
        found += [f"{path}: {block}" for block in _blocks(text) if _OURS in block and not _EXPECTED.search(block)]
        found += [f"{path}: {line}" for line in text.splitlines() if _BROKEN.search(line)]
    return found


def _blocks(text: str) -> Iterator[str]:
    """The tracebacks of a log: of plain text, or in the JSON of a line."""
    for line in text.splitlines():
        if line.startswith("{") and '"error_detail"' in line:
            yield from _of_json(json.loads(line)["error_detail"])
    for part in text.split(_HEAD)[1:]:
        lines = part.splitlines()[1:]
        end = next((number for number, line in enumerate(lines) if line and line[0] not in " |\t"), len(lines))
        yield "\n".join(lines[: end + 3])


def _of_json(details: Any) -> Iterator[str]:
    if isinstance(details, list) and details and isinstance(details[-1], dict):
        files = [str(frame.get("filename")) for one in details for frame in one.get("frames", ())]
        names = [f"{one.get('exc_type')}: {one.get('exc_value')}" for one in details]
        yield "\n".join([*files, *names])
