# SPDX-License-Identifier: Apache-2.0
"""An Airflow without Required Actions says so when the DAG is read."""

from __future__ import annotations

import pytest

from airflow_provider_sops.compat.required_actions import HAS_REQUIRED_ACTIONS
from airflow_provider_sops.operators import approval
from airflow_provider_sops.operators.sops import SopsApprovalOperator


@pytest.fixture(params=[False, True], ids=["as told", "really"])
def _without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Airflow before 3.1; really, where the tests run with one."""
    if request.param and HAS_REQUIRED_ACTIONS:
        pytest.skip("this Airflow has them")
    if not request.param:
        monkeypatch.setattr(approval, "HAS_REQUIRED_ACTIONS", False)


@pytest.mark.usefixtures("_without")
def test_it_names_what_to_use() -> None:
    with pytest.raises(ValueError, match=r"needs Airflow 3\.1 or newer.*SopsOperateNodeOperator"):
        SopsApprovalOperator(task_id="approve", sops_task_id=1)
    with pytest.raises(ValueError, match=r"needs Airflow 3\.1 or newer.*SopsOperateNodeOperator"):
        SopsApprovalOperator.partial(task_id="approve")
