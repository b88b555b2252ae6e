# SPDX-License-Identifier: Apache-2.0
"""The releases of SOPS that the fake can be: what each has, ignores and caches.

Source: SOPS' public code by tag, as in :mod:`airflow_provider_sops.core.api.sops_releases`; only 3.34 was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.core.api import sops_releases

#: The releases that the fake can be, the newest first. Two numbers stand for the last one of them.
RELEASES = ("3.34", "3.28", "3.20", "3.9", "3.6.22", "3.5.5", "3.3")
NEWEST = RELEASES[0]

#: What no client relies on but what the fake does: the first release that has it, or that does it so.
SINCE: Mapping[str, str] = {
    "apply_webhook_configs": "3.34.5",  # and all of webhooks
    "auto retry of nodes": "3.13.1",
    "callback_version": "3.33.9",
    "checked list parameters": "3.31.6",
    "codes": "3.5.1",
    "engine v2": "3.6.46",  # starts are queued; names are the nodes' own; EXPIRED; a bad task is an error and no crash
    "expected_timezone": "3.20.3",
    "IAM": "3.6.0",
    "independent subprocesses": "3.26.0",
    "is_child_taskflow": "3.33.11",
    "list flags of a form": "3.9.0",
    "list flags may be left out": "3.20.3",  # in 3.18, too
    "operations need a start": "3.7.12",
    "permission by code": "3.4.0",
    "permission by 3599999": "3.31.0",
    "retryable": "3.6.4",
    "revoke looks first": "3.5.1",
    "subprocess_id": "3.5.5",
    "subprocess_id may be unknown": "3.6.0",
    "tasks at once": "3.13.1",
    "trace_id": "3.6.40",
    "words of 3.28": "3.28.0",
}
ALL_SINCE: Mapping[str, str] = {**sops_releases.SINCE, **SINCE}

#: Parameters that not every release reads: (API, parameter) -> what it must have. Others drop them without a word.
_CREATE = {
    name: f"create_task.{name}"
    for name in ("callback_url", "execute_task_nodes_id", "simplify_vars", "template_schemes_id")
} | {"callback_version": "callback_version"}
_PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "create_task": _CREATE,
    "create_and_start_task": _CREATE,
    "get_task_detail": {"include_webhook_history": "apply_webhook_configs"},
    "get_task_list": {
        "create_method": "get_task_list.create_method",
        "create_time_start": "get_task_list.create_time_start",
        "create_time_end": "get_task_list.create_time_start",
        "template_id": "get_task_list.template_id",
        "without_count": "get_task_list.without_count",
    },
    "get_task_node_detail": {"loop": "get_task_node_detail.loop"},
    "get_task_status": {
        "subprocess_id": "subprocess_id",
        "with_ex_data": "get_task_status.ex_data",
        "with_failed_node_info": "get_task_status.failed_node_info",
        "with_auto_retry_status": "get_task_status.auto_retry_status",
    },
    "get_template_info": {"include_constants": "get_template_info.include_constants"},
    "get_template_list": {"name_keyword": "get_template_list.name_keyword"},
}
_PARAMETERS_OF_ALL = {"scope": "scope", "expected_timezone": "expected_timezone"}

#: API -> seconds for which its answers are cached, by the release from which on.
_CACHES: Mapping[str, Mapping[str, float]] = {
    "get_task_detail": {"0": 0, "3.6.40": 60},
    "get_task_status": {"0": 0, "3.6.31": 10, "3.6.40": 60, "3.23.2": 10},
    "get_tasks_status": {"0": 0, "3.6.31": 10},
}


@dataclass(frozen=True, slots=True)
class Release:
    """A release of SOPS.

    :param name: one of :data:`RELEASES`.
    :param facts: keys of :data:`ALL_SINCE` that it has.
    :param caches: API -> seconds for which its answers are cached.
    """

    name: str
    facts: frozenset[str]
    caches: Mapping[str, float]

    def has(self, what: str) -> bool:
        """Return whether it has something.

        :param what: a key of :data:`ALL_SINCE`.
        :raises KeyError: it is none.
        """
        ALL_SINCE[what]
        return what in self.facts

    def has_api(self, api: str) -> bool:
        """Return whether it has an API; those that no table names are in every release."""
        return api in self.facts or api not in ALL_SINCE

    def read(self, api: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that it reads; the others are dropped, as SOPS does with what it does not know."""
        needs = {**_PARAMETERS_OF_ALL, **_PARAMETERS.get(api, {})}
        return {name: value for name, value in params.items() if name not in needs or self.has(needs[name])}


def find_release(name: str) -> Release:
    """Return one of the releases that the fake can be.

    :raises ValueError: the fake cannot be this one; the message names those that it can be.
    """
    if name not in RELEASES:
        raise ValueError(f"the fake SOPS cannot be release {name!r}; there are {', '.join(RELEASES)}")
    return Release(
        name=name,
        facts=frozenset(what for what, since in ALL_SINCE.items() if _reached(name, since)),
        caches={
            api: [seconds for since, seconds in steps.items() if _reached(name, since)][-1]
            for api, steps in _CACHES.items()
        },
    )


def _reached(name: str, since: str) -> bool:
    release = sops_releases.numbers(name)
    return release >= sops_releases.numbers(since)[: len(release)]
