# SPDX-License-Identifier: Apache-2.0
"""What `Test` says of a connection to an old SOPS: what the site does not have, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sops.hooks.sops import SopsHook
from airflow_provider_sops.testing import FakeSops
from tests.old_sites import deny_users, lack, through_esb

Connect = Callable[..., None]
PROJECTS, TASKS, TEMPLATES = "get_user_project_list", "get_task_list", "get_template_list"
DETAIL, STATUS = "get_task_detail", "get_task_status"
NO_PROJECTS = f"{PROJECTS}: this site does not have it (SOPS has it since 3.5.5)"
NO_TASKS = f"{TASKS}: this site does not have it (SOPS has it since 3.6.22), so a retry cannot find its SOPS task again"
NO_DETAIL = f"{DETAIL}: this site does not have it (SOPS has it since 3.3.8)"


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ([TASKS], f"{PROJECTS}: granted (3 projects); {NO_TASKS}; {DETAIL}: granted."),
        ([PROJECTS, TASKS], f"{NO_PROJECTS}; {NO_TASKS}; {DETAIL}: granted."),
        ([PROJECTS, TASKS, DETAIL], f"{NO_PROJECTS}; {NO_TASKS}; {NO_DETAIL}; {STATUS}: granted."),
        ([PROJECTS], f"{NO_PROJECTS}; {DETAIL}: granted."),
    ],
    ids=["3.6.1", "3.5", "3.1", "a gateway made by hand"],
)
def test_an_old_site_works(sops: FakeSops, connect: Connect, api_type: str, missing: list[str], says: str) -> None:
    connect(sops, api_type)
    lack(sops, *missing)
    works, message = SopsHook().test_connection()
    assert works, message
    base = sops.esb_url if api_type == "esb" else sops.apigw_url
    assert message == f"{base} answers and the credentials are right; {says}"


def test_a_gateway_without_the_list_of_tasks_says_so_too(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    sops.remove_api(TASKS)
    works, message = SopsHook().test_connection()
    assert works
    assert NO_TASKS in message


def test_a_redirect_once_is_none_the_next_time(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    lack(sops, PROJECTS, times=1)
    works, message = SopsHook().test_connection()
    assert works
    assert message.endswith(f"right; {PROJECTS}: granted (3 projects); {DETAIL}: granted.")


def test_a_site_that_redirects_all_is_no_old_one(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    lack(sops)
    works, message = SopsHook().test_connection()
    assert not works
    assert ("redirects (HTTP 302)" if api_type == "apigw" else "seems to be no address of SOPS' API") in message
    assert sops.count() == 4


def test_no_read_is_there(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type)
    lack(sops, DETAIL, STATUS)
    works, message = SopsHook().test_connection()
    assert not works
    assert message.endswith(f"{NO_DETAIL}; {STATUS}: this site does not have it.")


@pytest.mark.parametrize("release", ["3.3", "3.4"])
def test_a_user_who_may_see_nothing_of_an_old_site(
    sops: FakeSops, connect: Connect, api_type: str, release: str
) -> None:
    connect(sops, api_type)
    lack(sops, PROJECTS, TASKS)
    deny_users(sops, release, TEMPLATES)
    works, message = SopsHook().test_connection()
    assert not works
    assert "; but user 'admin' may not see cmdb_biz 2 (" in message
    sops.faults.clear()
    lack(sops, PROJECTS, TASKS)
    sops.faults.add(TEMPLATES, kind="status", status=504, times=None)  # a list that is too long says nothing
    assert SopsHook().test_connection()[0]


@pytest.mark.parametrize(
    "said",
    [
        "business[4242] does not exist",
        "business[bk_biz_id=4242] does not exist",
        "project(4242) with scope(cmdb_biz) does not exist.",
    ],
)
def test_a_business_that_an_old_site_does_not_know(sops: FakeSops, connect: Connect, api_type: str, said: str) -> None:
    connect(sops, api_type, bk_biz_id=4242)
    lack(sops, PROJECTS, TASKS)
    body: dict[str, Any] = {"result": False, "message": said} | ({"code": 1306000} if api_type == "esb" else {})
    sops.faults.add(DETAIL, kind="function", times=None, function=lambda request: (200, body))
    works, message = SopsHook().test_connection()
    assert not works
    assert message.endswith("; but SOPS knows no cmdb_biz 4242: check bk_biz_id and scope.")
    body["message"] = "task[id=1] of business[bk_biz_id=4242] does not exist"
    assert "SOPS knows no" not in SopsHook().test_connection()[1]


def test_a_site_that_lets_nobody_in_is_not_called_old(sops: FakeSops, connect: Connect) -> None:
    connect(sops, "esb")
    sops.faults.add(PROJECTS, kind="function", times=None, function=lambda request: through_esb(405))
    works, message = SopsHook().test_connection()
    assert works
    assert "does not have it" not in message
    assert "SOPS 3.3 and 3.4 answer 405 also to an app or credentials that they do not accept" in message
