# SPDX-License-Identifier: Apache-2.0
"""The order for one try of :class:`~airflow_provider_sops.operators.sops.SopsRunTaskOperator`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.compat import asset_outlets
from airflow_provider_sops.core.run.task_run import OnRetry
from airflow_provider_sops.core.run.task_spec import TaskSpec
from airflow_provider_sops.core.variables import sops_key
from airflow_provider_sops.core.wait.policy import WaitPolicy

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperatorLink

#: Arguments of the operator that SOPS takes as parameters of ``create_task`` by the same names.
_PARAMS = (
    "flow_type",
    "exclude_task_nodes_id",
    "execute_task_nodes_id",
    "template_schemes_id",
    "simplify_vars",
)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What the operator's arguments say, once they are rendered and checked. All durations are seconds."""

    #: the SOPS task to create; without a title it is named after DAG and task
    task_spec: TaskSpec
    policy: WaitPolicy
    sops_conn_id: str
    wait_for_completion: bool
    deferrable: bool
    poll_interval: float
    start_timeout: float
    #: ``None``: for ever
    execution_timeout: float | None
    revoke_on_kill: bool
    on_retry: OnRetry
    #: a cleared task takes up the SOPS task that there is
    reattach: bool
    retries: int
    #: push each output as an XCom of its own
    push_outputs: bool
    do_xcom_push: bool
    extra_links: tuple[BaseOperatorLink, ...]
    #: whose asset events hold the SOPS task
    outlets: tuple[Any, ...]


def task_spec_of(fields: Mapping[str, Any]) -> TaskSpec:
    """Make the SOPS task to create of the operator's templated arguments.

    :param fields: the checked arguments by name.
    """
    return TaskSpec(
        title=fields["task_name"] or "",
        template_id=fields["template_id"],
        template_name=fields["template_name"] or "",
        template_source=fields["template_source"],
        constants={sops_key(name): value for name, value in (fields["constants"] or {}).items()},
        params={name: fields[name] for name in _PARAMS if fields[name] not in (None, [])},
    )


def run_spec_of(operator: Any) -> RunSpec:
    """Make the order of what an operator's arguments were rendered to.

    :param operator: its templated arguments are checked.
    """
    timeout = operator.execution_timeout
    return RunSpec(
        task_spec=task_spec_of({name: getattr(operator, name) for name in operator.fields_read}),
        policy=operator.policy,
        sops_conn_id=operator.sops_conn_id,
        wait_for_completion=operator.wait_for_completion,
        deferrable=operator.deferrable,
        poll_interval=operator.poll_interval,
        start_timeout=operator.start_timeout,
        execution_timeout=None if timeout is None else timeout.total_seconds(),
        revoke_on_kill=operator.revoke_on_kill,
        on_retry="retry_failed_nodes" if operator.on_retry == "retry_failed_nodes" else "rerun",
        reattach=operator.on_clear == "reattach",
        retries=operator.retries or 0,
        push_outputs=operator.push_outputs,
        do_xcom_push=operator.do_xcom_push,
        extra_links=tuple(operator.operator_extra_links),
        outlets=tuple(asset_outlets(operator)),
    )
