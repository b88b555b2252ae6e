# SPDX-License-Identifier: Apache-2.0
"""The operators that operate a SOPS task, or a node of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_sops.connection import DEFAULT_CONN_ID
from airflow_provider_sops.core.wait.policy import check_choice
from airflow_provider_sops.links.sops import SopsTaskLink, push_task_url
from airflow_provider_sops.operator_arguments import (
    TASK,
    Duration,
    Field,
    Templated,
    as_seconds,
    read_mapping,
    read_text,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context, XComArg

    from airflow_provider_sops.core.models import TaskDetail
    from airflow_provider_sops.hooks.sops import SopsHook

#: What is wrong with ``flow_id``, by whether the action is the one that needs it.
_FLOW_ID = {True: "the action skip_exg needs it", False: "only the action skip_exg takes it"}


class SopsOperateTaskOperator(Templated, BaseOperator):
    """Start, pause, resume or revoke a SOPS task.

    What is so already is success, with a line in the log: revoking a task that has ended, pausing a paused one. What
    the task's state does not allow is an error that says what would help.

    :param sops_task_id: the SOPS task, an int, a string or an XComArg (templated).
    :param action: ``start``, ``pause``, ``resume`` or ``revoke`` (templated).
    :param bk_biz_id: its business (or project, see ``scope``); by default the connection's (templated).
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's (templated).
    :param sops_conn_id: the connection (templated).
    :raises SopsInvalidOperationException: the task's state does not allow it.
    :raises SopsException: (one of its kinds) SOPS or its gateway refused, in its own words.
    """

    fields_read: ClassVar[Mapping[str, Field]] = {**TASK, "action": Field(read_text, required=True)}
    template_fields = tuple(fields_read)
    operator_extra_links: Collection[BaseOperatorLink] = (SopsTaskLink(),)
    ui_color = "#e1ecff"

    def __init__(
        self,
        *,
        sops_task_id: int | str | XComArg,
        action: str | XComArg,
        bk_biz_id: int | str | XComArg | None = None,
        scope: str | XComArg | None = None,
        sops_conn_id: str | XComArg = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sops_task_id: Any = sops_task_id
        self.action: Any = action
        self.bk_biz_id: Any = bk_biz_id
        self.scope: Any = scope
        self.sops_conn_id: Any = sops_conn_id
        self.note_given()

    def execute(self, context: Context) -> None:
        """Do it, once."""
        from airflow_provider_sops.core.operate.operate_task import TASK_ACTIONS, operate_task
        from airflow_provider_sops.exceptions import airflow_errors
        from airflow_provider_sops.hooks.sops import SopsHook
        from airflow_provider_sops.task_log import log_lines

        with airflow_errors():
            self.read_fields()
            check_choice("action", self.action, TASK_ACTIONS)
        hook = SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)
        task_id = self.sops_task_id
        _push_page(context, hook, task_id, do_xcom_push=self.do_xcom_push)
        log_lines(self.log, hook.run(operate_task(hook.project, task_id, self.action)))


class SopsOperateNodeOperator(Templated, BaseOperator):
    """Operate a node of a SOPS task: retry or skip a failed one, answer one that waits, pause, resume or fail one.

    What is so already is success, with a line in the log: skipping or calling back a node that has finished. What the
    state of the task or of the node does not allow is an error that says what would help, as SOPS says yes to much that
    changes nothing. It ends when something has come of it.

    :param sops_task_id: the SOPS task, an int, a string or an XComArg (templated).
    :param action: what to do (templated); of a node that has failed: ``retry``, ``skip``, or of an exclusive gateway
        ``skip_exg``; of one that waits for it, as a pause node does: ``callback``; of one that runs: ``forced_fail``;
        of one that the task has not come to: ``pause``, and ``resume`` when it has; of a subprocess that runs:
        ``pause_subproc``, and ``resume_subproc``.
    :param sops_node_id: the node's id in the SOPS task, which is another one than in its template (templated); or:
    :param sops_node_name: the name of the one node in the SOPS task that is called so (templated).
    :param data: what a callback hands over, a dict (templated).
    :param inputs: what a retry runs with instead of all the node's inputs, a dict (templated).
    :param flow_id: for ``skip_exg``: the id of the flow out of the gateway by which the task goes on (templated).
    :param node_timeout: how long to wait until the node is reached (seconds or ``timedelta``).
    :param bk_biz_id: its business (or project, see ``scope``); by default the connection's (templated).
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's (templated).
    :param sops_conn_id: the connection (templated).
    :raises SopsTaskFailedException: the node was not reached, or nothing has come of what SOPS said yes to.
    :raises SopsInvalidOperationException: the state of the task or of the node does not allow it.
    :raises SopsException: (one of its kinds) SOPS or its gateway refused, in its own words.
    :raises SopsConfigException: the SOPS task has no such node, or several.
    """

    fields_read: ClassVar[Mapping[str, Field]] = {
        **TASK,
        "action": Field(read_text, required=True),
        "sops_node_id": Field(read_text),
        "sops_node_name": Field(read_text),
        "data": Field(read_mapping),
        "inputs": Field(read_mapping),
        "flow_id": Field(read_text),
    }
    template_fields = tuple(fields_read)
    operator_extra_links: Collection[BaseOperatorLink] = (SopsTaskLink(),)
    ui_color = "#e1ecff"

    def __init__(
        self,
        *,
        sops_task_id: int | str | XComArg,
        action: str | XComArg,
        sops_node_id: str | XComArg | None = None,
        sops_node_name: str | XComArg | None = None,
        data: Mapping[str, Any] | XComArg | None = None,
        inputs: Mapping[str, Any] | XComArg | None = None,
        flow_id: str | XComArg | None = None,
        node_timeout: Duration = 60.0,
        bk_biz_id: int | str | XComArg | None = None,
        scope: str | XComArg | None = None,
        sops_conn_id: str | XComArg = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (sops_node_id is None) == (sops_node_name is None):
            raise ValueError("sops_node_id, sops_node_name: give one of them")
        self.sops_task_id: Any = sops_task_id
        self.action: Any = action
        self.sops_node_id: Any = sops_node_id
        self.sops_node_name: Any = sops_node_name
        self.data: Any = data
        self.inputs: Any = inputs
        self.flow_id: Any = flow_id
        self.node_timeout = as_seconds("node_timeout", node_timeout)
        self.bk_biz_id: Any = bk_biz_id
        self.scope: Any = scope
        self.sops_conn_id: Any = sops_conn_id
        self.note_given()

    def execute(self, context: Context) -> None:
        """Wait until the node is reached, and do it, once."""
        from airflow_provider_sops.core.errors import SopsConfigError
        from airflow_provider_sops.core.operate.errors import RunAborted
        from airflow_provider_sops.core.operate.find_node import check_flow, find_node
        from airflow_provider_sops.core.operate.operate_node import NODE_ACTIONS, operate_node
        from airflow_provider_sops.exceptions import SopsTaskFailedException, airflow_errors
        from airflow_provider_sops.hooks.sops import SopsHook
        from airflow_provider_sops.task_log import log_lines

        with airflow_errors():
            self.read_fields()
            hook = SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)
            task_id = self.sops_task_id
            check_choice("action", self.action, NODE_ACTIONS)
            if (self.action == "skip_exg") != (self.flow_id is not None):
                raise SopsConfigError("flow_id", _FLOW_ID[self.action == "skip_exg"])
            detail = _push_page(context, hook, task_id, do_xcom_push=self.do_xcom_push)
            node_id = self.sops_node_id
            if node_id is None:
                detail = detail or hook.get_task_detail(task_id)
                node_id = find_node(detail, self.sops_node_name or "", self.action).id
            if detail is not None and self.flow_id is not None:
                check_flow(detail, node_id, self.flow_id)
        params = {"data": self.data, "inputs": self.inputs, "flow_id": self.flow_id}
        flow = operate_node(hook.project, task_id, node_id, self.action, params=params, patience=self.node_timeout)
        try:
            log_lines(self.log, hook.run(flow))
        except RunAborted as problem:
            raise SopsTaskFailedException(str(problem)) from problem


def _push_page(context: Context, hook: SopsHook, task_id: int, *, do_xcom_push: bool) -> TaskDetail | None:
    """Push the address of the SOPS task's page, where its detail may be read."""
    from airflow_provider_sops.exceptions import SopsException

    try:
        detail = hook.get_task_detail(task_id)
    except SopsException:
        return None
    push_task_url(context, detail.task_url, do_xcom_push=do_xcom_push)
    return detail
