# SPDX-License-Identifier: Apache-2.0
"""An HTTP reply, whoever wrote it, and what can be read from it before it is known who did."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_provider_sops.core.redact import scrub
from airflow_provider_sops.core.text import LONGEST_WORD, read_int, storable

#: Bytes of a strange reply that are looked at for an excerpt; no secret is as long.
_MOST_EXCERPTED = 65_536
#: Characters of an excerpt.
_LONGEST_EXCERPT = 120


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What a transport hands back; the names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json_object(self) -> Mapping[str, Any] | None:
        """Parse the body; ``None`` when it is no JSON object."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def request_id(self, body: Mapping[str, Any] | None) -> str:
        """Find the id under which SOPS or the gateway logged the request; empty where there is none.

        :param body: the parsed body.
        """
        for name in ("trace_id", "request_id"):
            value = (body or {}).get(name)
            if isinstance(value, str) and value:
                return value
        return self.headers.get("x-bkapi-request-id") or self.headers.get("sops-trace-id") or ""

    @property
    def date(self) -> float | None:
        """When it was written, by the server's clock, in seconds since the epoch; ``None`` where it has no date."""
        return _http_date(self.headers.get("date", ""))

    @property
    def retry_after(self) -> float | None:
        """The seconds that ``Retry-After`` asks to wait; it is a number or an HTTP date."""
        value = self.headers.get("retry-after", "").strip()
        if not value:
            return None
        seconds = read_int(value)
        if seconds is not None:
            return float(seconds)
        until = _http_date(value)
        if until is None:
            return None
        now = self.date  # the clock that the other date is of, which may not be ours
        return max(0.0, until - (datetime.now(UTC).timestamp() if now is None else now))

    def excerpt(self, secrets: Iterable[str]) -> str:
        """Describe a reply that nobody expects: its type, its length and how it begins.

        :param secrets: are replaced before anything is cut.
        """
        text = " ".join(scrub(self.body[:_MOST_EXCERPTED].decode("utf-8", "replace"), secrets).split())
        kind = scrub(self.headers.get("content-type", "no content type"), secrets).partition(";")[0]
        shown = f"{text[:_LONGEST_EXCERPT]}…" if len(text) > _LONGEST_EXCERPT else text
        return f"{storable(kind, LONGEST_WORD)}, {len(self.body)} bytes" + (f", {shown!r}" if shown else "")


def _http_date(value: str) -> float | None:
    """Read an HTTP date as seconds since the epoch; ``None`` when it is none."""
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
