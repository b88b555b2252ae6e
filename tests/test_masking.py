# SPDX-License-Identifier: Apache-2.0
"""What Airflow is told to mask in the logs of all tasks: credentials, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import redact

from airflow_provider_sops.hooks import sops as hooks
from airflow_provider_sops.hooks.sops import SopsHook
from airflow_provider_sops.masking import maskable
from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator
from airflow_provider_sops.testing import FakeSops
from tests import secrets
from tests.tasks import TaskInstance, collect_log

Connect = Callable[..., None]


def test_each_secret_once_and_none_that_is_too_short() -> None:
    found = ["hunter2", "hunter2", "", "1", "prod", "admin", "airflow", "AirFlow"]
    assert maskable(found) == ["hunter2", "admin"]


@pytest.mark.parametrize(("least", "kept"), [("8", ["longer-one"]), ("2", ["longer-one", "prod", "ab"])])
def test_how_short_is_what_airflow_is_set_to(monkeypatch: pytest.MonkeyPatch, least: str, kept: list[str]) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__MIN_LENGTH_MASKED_SECRET", least)
    assert maskable(["longer-one", "prod", "ab", "c"]) == kept


def test_what_no_process_can_send_is_masked_as_it_is_shown() -> None:
    assert maskable(["pass\0word", "pass\ud800word"]) == ["pass\0word", "pass\\ud800word"]


def test_only_credentials_of_a_connection_are_masked(
    sops: FakeSops, connect: Connect, api_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked: list[str] = []
    monkeypatch.setattr(hooks, "mask_secret", masked.append)
    headers = {
        "X-Stage": "production",
        "X-Number": "12345",
        "X-Request-Source": "airflow-of-the-site",
        "X-Token": "ab",
        "Authorization": f"Bearer {secrets.HEADER_SECRET}",
        "Cookie": "lang=chinese; sid=abcdefgh",
    }
    connect(sops, api_type, tenant_id="system", headers=headers)
    SopsHook().call("get_user_project_list")
    assert masked == [
        secrets.APP_SECRET,
        f"Bearer {secrets.HEADER_SECRET}",
        secrets.HEADER_SECRET,
        "lang=chinese; sid=abcdefgh",
    ]


def test_other_dags_logs_stay_as_they_are(sops: FakeSops, connect: Connect, api_type: str) -> None:
    connect(sops, api_type, tenant_id="systemx", headers={"X-Stage": "productx", "X-Secret": "Zq7headersecret"})
    SopsHook().call("get_user_project_list")
    assert redact("filesystemx of productx") == "filesystemx of productx"
    assert redact(f"{secrets.APP_SECRET} and Zq7headersecret") == "*** and ***"


def test_a_proxys_password_is_masked_as_it_is_and_as_it_is_written(
    sops: FakeSops, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked: list[str] = []
    monkeypatch.setattr(hooks, "mask_secret", masked.append)
    connect(sops, proxies={"https": "http://me:Zq7%20pass%2Fword@proxy.example.com:3128"})
    SopsHook().call("get_user_project_list")
    assert masked == [secrets.APP_SECRET, "Zq7%20pass%2Fword", "Zq7 pass/word"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", []),
        (987654, ["987654"]),
        ({"tag": "variable", "value": "Zq7wrapped"}, ["Zq7wrapped"]),
        (["Zq7first", {"key": "Zq7second"}], ["Zq7first", "Zq7second"]),
    ],
)
def test_passwords_of_any_shape_are_masked(
    sops: FakeSops, connect: Connect, monkeypatch: pytest.MonkeyPatch, value: Any, expected: list[str]
) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow_provider_sops.xcom_outputs.mask_secret", masked.append)
    connect(sops)
    task_id = sops.create_task("Password output", constants={"password": value})
    sops.advance(10)
    operator = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=task_id, do_xcom_push=False)
    lines = collect_log(operator)
    operator.execute(TaskInstance().context)
    assert sorted(masked) == expected
    assert not [line for line in lines if "Zq7" in line]
