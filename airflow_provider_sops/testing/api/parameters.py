# SPDX-License-Identifier: Apache-2.0
"""Parameters that several views read: flags, pages, time zones, times, ids."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_provider_sops.testing.answers.times import SERVER_ZONE
from airflow_provider_sops.testing.api.call import Call
from airflow_provider_sops.testing.refusals import INVALID_OPERATION, PARAMETER, VALIDATION, Crash, Stop, refusal


def boolean(name: str, value: Any) -> bool:
    """A flag whose value is checked.

    :raises Stop: it is none.
    """
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in ("true", "t", "1", "yes", "y", "on"):
        return True
    if word in ("false", "f", "0", "no", "n", "off"):
        return False
    raise Stop(refusal({name: ["Must be a valid boolean."]}, PARAMETER))


def query_flag(call: Call, name: str) -> bool | None:
    """A checked flag of the query; None: it is not there.

    :raises Stop: it is none.
    """
    value = call.query.get(name)
    return boolean(name, value) if value else None


def list_flag(call: Call, name: str) -> bool | None:
    """``is_started`` or ``is_finished`` of get_task_list (V3.6.22, V3.9.2 and V3.28.17: gcloud/apigw/views).

    :return: None: tasks of both kinds are listed.
    :raises Stop: it is none.
    :raises Crash: the database is asked for what is none.
    """
    if call.release.has("checked list parameters"):
        return query_flag(call, name)
    value = call.query.get(name)
    if not call.release.has("list flags of a form"):  # as its database takes them
        if value not in (None, "True", "t", "1", "False", "f", "0"):
            raise Crash
        return None if value is None else value in ("True", "t", "1")
    if value is None:  # a box that is not ticked
        return None if call.release.has("list flags may be left out") else False
    return value.lower() not in ("false", "0", "")


def zone_of(call: Call) -> tzinfo | None:
    """The time zone that times are asked for in; None: none is."""
    name = call.query.get("expected_timezone")
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        answer = refusal(f"expected_timezone {name} is unknown.", VALIDATION, data="")
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
        raise Stop(refusal(f"[API] pagination error: {error}", INVALID_OPERATION, data="")) from None
    return offset, min(200, limit) if counted else limit


def time_of(call: Call, name: str, missing: float) -> float:
    """A time of the query.

    :param missing: what stands for one that is not given.
    :raises Stop: it is none.
    """
    value = call.query.get(name, "")
    if not value:
        return missing
    try:
        moment = datetime.fromisoformat(re.sub(r"\s+([+-]\d{2}:?\d{2})$", r"\1", value.strip()))
    except ValueError:
        raise Stop(refusal({name: ["Enter a valid date/time."]}, VALIDATION, data="")) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=SERVER_ZONE)
    return moment.timestamp()


def ids_of(values: list[Any]) -> list[int]:
    """Ids as the database takes them: strings and fractions too, null is nobody's.

    :raises Crash: one is no number.
    """
    try:
        return [int(value) for value in values if value is not None]
    except (TypeError, ValueError):
        raise Crash from None
