# SPDX-License-Identifier: Apache-2.0
"""The page of a SOPS task, served by Airflow's own app and read from a fake SOPS over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_sops.testing import FakeSops
from tests.web.conftest import Site, add_instance

Connect = Callable[..., None]


def test_a_finished_task(site: Site, sops: FakeSops, connect: Connect) -> None:
    connect(sops)
    task_id = sops.create_task(constants={"IP": "10.0.0.8", "EXIT": "0"}, name="检查主机 10.0.0.8")
    sops.advance(60)
    add_instance(xcoms={"sops_task_id": task_id})
    answer = site.page()
    assert answer.status_code == 200, answer.text
    assert "检查主机 10.0.0.8" in answer.text
    assert "FINISHED, 3 of 3 nodes done" in answer.text
    assert "10.0.0.8" in answer.text
