# SPDX-License-Identifier: Apache-2.0
"""Operators: run a SOPS task, operate one or a node of it, push its outputs into XCom."""

from __future__ import annotations

from airflow_provider_sops.operators.approval import SopsApprovalOperator
from airflow_provider_sops.operators.get_task_outputs import SopsGetTaskOutputsOperator
from airflow_provider_sops.operators.operate import SopsOperateNodeOperator, SopsOperateTaskOperator
from airflow_provider_sops.operators.run_task import SopsRunTaskOperator

__all__ = [
    "SopsApprovalOperator",
    "SopsGetTaskOutputsOperator",
    "SopsOperateNodeOperator",
    "SopsOperateTaskOperator",
    "SopsRunTaskOperator",
]
