# SPDX-License-Identifier: Apache-2.0
"""The link to the task's page: addresses of the web only, wherever they come from."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat import sdk

from airflow_provider_sops.links.sops import SopsTaskLink, is_web_address, push_task_url
from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from tests.tasks import TaskInstance

GOOD = ["http://sops.example.com/taskflow/execute/7/?instance_id=5", "https://sops.example.com", "HTTPS://x/"]
BAD: list[Any] = [
    "javascript:alert(1)",
    "JavaScript://x/%0aalert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "ftp://x/",
    "//sops.example.com/x",
    "/taskflow/execute/7/",
    "http:///x",
    "http://[broken",
    "sops.example.com",
    "",
]


@pytest.mark.parametrize("url", GOOD)
def test_an_address_of_the_web(url: str) -> None:
    assert is_web_address(url)


@pytest.mark.parametrize("url", BAD)
def test_what_is_none(url: str) -> None:
    assert not is_web_address(url)
    ti = TaskInstance()
    push_task_url({"ti": ti}, url, do_xcom_push=True)  # type: ignore[typeddict-item]
    assert ti.xcoms == {}


@pytest.mark.parametrize("url", [*GOOD, *BAD, None, 5, ["http://x/"]])
def test_the_link_shows_what_was_pushed_if_it_may_be_shown(url: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stored:
        """Airflow's XComs, for one key."""

        @staticmethod
        def get_value(*, ti_key: object, key: str) -> Any:
            return url if key == "sops_task_url" else None

    assert hasattr(sdk.XCom, "get_value")
    monkeypatch.setattr(sdk, "XCom", Stored)
    operator = SopsTaskSensor(task_id="wait", sops_task_id=1)
    shown = SopsTaskLink().get_link(operator, ti_key=None)  # type: ignore[arg-type]
    assert shown == (url if url in GOOD else "")


@pytest.mark.parametrize("operator", [SopsTaskSensor, SopsGetTaskOutputsOperator])
def test_sensor_and_operator_have_the_link(operator: Any) -> None:
    (link,) = operator.operator_extra_links
    assert isinstance(link, SopsTaskLink)
    assert link.name == "SOPS task"
