# SPDX-License-Identifier: Apache-2.0
"""Parameters that several views read: pages, time zones, times, ids."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_provider_sops.testing import answers
from airflow_provider_sops.testing.api.call import Call
from airflow_provider_sops.testing.refusals import INVALID_OPERATION, VALIDATION, Crash, Stop, refusal


def zone_of(call: Call) -> tzinfo | None:
    """The time zone that times are asked for in; None: none is."""
    name = call.query.get("expected_timezone")
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"expected_timezone {name} is unknown."
        answer = {"result": False, "data": "", "message": message, "code": VALIDATION}
        raise Stop(answer, traced=False) from None


def page_of(call: Call) -> tuple[int, int]:
    """Offset and limit of a list. SOPS gives no more than 200 rows, at first as many as were asked for."""
    counted = call.release.has("get_task_list.count")
    try:
        limit = int(call.query.get("limit", 100 if counted else 15))
        offset = int(call.query.get("offset", 0))
        if min(limit, offset) < 0:
            raise ValueError("offset and limit must be greater or equal to 0.")
    except ValueError as error:
        message = f"[API] pagination error: {error}"
        raise Stop({"result": False, "data": "", "message": message, "code": INVALID_OPERATION}) from None
    return offset, min(200, limit) if counted else limit


def time_of(name: str, value: str) -> float:
    """A time that is given as text.

    :param name: the parameter's name.
    :raises Stop: it is none.
    """
    try:
        moment = datetime.fromisoformat(re.sub(r"\s+([+-]\d{2}:?\d{2})$", r"\1", value.strip()))
    except ValueError:
        raise Stop(refusal({name: ["Enter a valid date/time."]}, VALIDATION, data="")) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=answers.SERVER_ZONE)
    return moment.timestamp()


def ids_of(values: list[Any]) -> list[int]:
    """Ids as the database takes them: strings and fractions too, null is nobody's.

    :raises Crash: one is no number.
    """
    try:
        return [int(value) for value in values if value is not None]
    except (TypeError, ValueError):
        raise Crash from None
