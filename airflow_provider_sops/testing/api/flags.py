# SPDX-License-Identifier: Apache-2.0
"""How SOPS reads flags that are sent to it as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_sops.testing.refusals import PARAMETER, Crash, Stop, refusal
from airflow_provider_sops.testing.releases import Release


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


def list_flag(release: Release, query: Mapping[str, str], name: str) -> bool | None:
    """``is_started`` or ``is_finished`` of get_task_list (V3.6.22, V3.9.2 and V3.28.17: gcloud/apigw/views).

    :return: None: tasks of both kinds are listed.
    :raises Stop: it is none.
    :raises Crash: the database is asked for what is none.
    """
    value = query.get(name)
    if release.has("checked list parameters"):
        return None if value is None or value == "" else boolean(name, value)
    if not release.has("list flags of a form"):  # as its database takes them
        if value not in (None, "True", "t", "1", "False", "f", "0"):
            raise Crash
        return None if value is None else value in ("True", "t", "1")
    if value is None:  # a box that is not ticked
        return None if release.has("list flags may be left out") else False
    return value.lower() not in ("false", "0", "")
