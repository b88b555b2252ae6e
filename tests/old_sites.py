# SPDX-License-Identifier: Apache-2.0
"""What an old SOPS says through each endpoint, put before a fake one by faults."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.testing.faults import Fault


def redirected(request: Any) -> tuple[Any, ...]:
    """A redirect, as SOPS answers where it has no such API, and as a login page does."""
    if request.endpoint == "esb":
        return through_esb(302)
    return 302, "", {"Location": "/?page_not_found=x"}


def through_esb(status: int, code: int = 1306201) -> tuple[int, dict[str, Any]]:
    """Say in ESB's words what SOPS has answered with an HTTP status that is not 200."""
    message = f"Component request third-party system [SOPS] interface error: Status Code: {status}, Error Message: x"
    return 200, {"result": False, "code": code, "message": message, "data": None, "request_id": "r-1"}


def lack(fake: FakeSops, *apis: str, times: int | None = None) -> list[Fault]:
    """Be a site that does not have these APIs; without any, one of which every address is redirected."""
    wanted: tuple[str | None, ...] = apis or (None,)
    return [fake.faults.add(api, kind="function", times=times, function=redirected) for api in wanted]


#: IAM's denials, by the release that says so: body and HTTP status.
ACTIONS = {"system_id": "bk_sops", "actions": [{"id": "task_view", "name": "任务查看"}, {"id": "project_view"}]}
OPERATE = "you have no permission to operate"
DENIALS: dict[str, tuple[int, dict[str, Any]]] = {
    "3.3": (200, {"result": False, "message": "user[admin] does not have perm[view] of task[id=1]"}),
    "3.4": (
        200,
        {"result": False, "message": OPERATE, "code": 9900403, "permission": [{"action_id": "task_view"}]},
    ),
    "3.6": (200, {"result": False, "message": OPERATE, "code": "9900403", "permission": ACTIONS}),
    "3.20 with another prefix": (499, {"result": False, "message": OPERATE, "code": 9900403, "permission": ACTIONS}),
    "3.31": (
        200,
        {"result": False, "message": "iam authentication exception, please check, action:task_view", "code": 3599999},
    ),
}


def denial(release: str, endpoint: str) -> tuple[int, dict[str, Any]]:
    """Say that the user may not, as a release does through a endpoint."""
    status, body = DENIALS[release]
    if endpoint == "esb" and status != 200:
        return through_esb(status)
    if endpoint == "esb" and "code" not in body:
        return status, {**body, "code": 1306000}
    return status, body


def deny_users(fake: FakeSops, release: str, *apis: str) -> None:
    """Refuse the user of every call of these APIs, or of all, as a release does."""
    wanted: tuple[str | None, ...] = apis or (None,)
    for api in wanted:
        fake.faults.add(api, kind="function", times=None, function=lambda request: denial(release, request.endpoint))
