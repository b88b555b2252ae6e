# SPDX-License-Identifier: Apache-2.0
"""The operator that pushes the outputs of a finished SOPS task into XCom."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_sops.connection import DEFAULT_CONN_ID
from airflow_provider_sops.links.sops import SopsTaskLink, push_task_url
from airflow_provider_sops.operator_arguments import TASK, Field, Templated, listed, read_texts

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context, XComArg


class SopsGetTaskOutputsOperator(Templated, BaseOperator):
    """Push the outputs of a finished SOPS task into XCom.

    Each output is pushed twice by name, as ``IP`` and as ``${IP}``, and all are returned as a dict by bare name, so
    that ``op.output["IP"]``, ``ti.xcom_pull("op", key="${IP}")`` and ``ti.xcom_pull("op")["IP"]`` give the same value,
    with its JSON type. Nothing is pushed unless all was read and can be pushed. The asset events of its ``outlets``
    hold the ended task, see :mod:`airflow_provider_sops.assets`.

    :param sops_task_id: the SOPS task, an int, a string or an XComArg (templated).
    :param keys: the outputs to push, in either spelling; by default all (templated).
    :param bk_biz_id: its business (or project, see ``scope``); by default the connection's (templated).
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's (templated).
    :param sops_conn_id: the connection (templated).
    :param assume_finished: where only ``get_task_detail`` may be called, an end without outputs may be a finish or a
        revoke; take it for a finish.
    :return: the outputs by bare name.
    :raises SopsOutputsException: the task is unfinished, failed or revoked, or a key is absent.
    :raises SopsException: (one of its kinds) SOPS gives no good answer.
    """

    fields_read: ClassVar[Mapping[str, Field]] = {**TASK, "keys": Field(read_texts)}
    template_fields = tuple(fields_read)
    operator_extra_links: Collection[BaseOperatorLink] = (SopsTaskLink(),)
    ui_color = "#e1ecff"

    def __init__(
        self,
        *,
        sops_task_id: int | str | XComArg,
        keys: Iterable[str] | XComArg | None = None,
        bk_biz_id: int | str | XComArg | None = None,
        scope: str | XComArg | None = None,
        sops_conn_id: str | XComArg = DEFAULT_CONN_ID,
        assume_finished: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sops_task_id: Any = sops_task_id
        self.keys = listed(keys)
        self.bk_biz_id: Any = bk_biz_id
        self.scope: Any = scope
        self.sops_conn_id: Any = sops_conn_id
        self.assume_finished = assume_finished
        self.note_given()

    def execute(self, context: Context) -> dict[str, Any]:
        """Read, check, push and return the outputs."""
        from airflow_provider_sops.asset_events import note_in_outlets
        from airflow_provider_sops.compat import asset_outlets
        from airflow_provider_sops.core.states import TaskState
        from airflow_provider_sops.exceptions import SopsOutputsException, airflow_errors
        from airflow_provider_sops.hooks.sops import SopsHook
        from airflow_provider_sops.xcom_outputs import fetch_outputs, push_outputs

        with airflow_errors():
            self.read_fields()
        hook = SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)
        try:
            outputs = fetch_outputs(
                hook,
                self.sops_task_id,
                self.keys,
                log=self.log,
                do_xcom_push=self.do_xcom_push,
                assume_finished=self.assume_finished,
            )
        except SopsOutputsException as error:
            push_task_url(context, error.task_url, do_xcom_push=self.do_xcom_push)
            raise
        push_task_url(context, outputs.detail.task_url, do_xcom_push=self.do_xcom_push)
        push_outputs(
            context,
            outputs.values,
            log=self.log,
            do_xcom_push=self.do_xcom_push,
            extra_links=self.operator_extra_links,
        )
        outlets = asset_outlets(self)
        note_in_outlets(context, outlets, outputs.detail, TaskState.FINISHED, outputs.values, self.log)
        return dict(outputs.values)
