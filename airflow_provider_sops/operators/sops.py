# SPDX-License-Identifier: Apache-2.0
"""Operators: push a SOPS task's outputs into XCom."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY, BaseOperator, mask_secret

from airflow_provider_sops.connection import DEFAULT_CONN_ID
from airflow_provider_sops.exceptions import SopsOutputsException, airflow_errors
from airflow_provider_sops.links.sops import TASK_URL_KEY, SopsTaskLink, push_task_url
from airflow_provider_sops.sops.calls import parse_id
from airflow_provider_sops.sops.explain import explain
from airflow_provider_sops.sops.models import TaskState
from airflow_provider_sops.sops.outputs import OutputsUnavailable, TaskOutputs, read_outputs, select
from airflow_provider_sops.sops.variables import sops_key

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.hooks.sops import SopsHook

#: Characters that an XCom's key may not hold, since Airflow puts keys into addresses.
_NOT_IN_KEYS = ("?", "#")


class SopsGetTaskOutputsOperator(BaseOperator):
    """Push the outputs of a finished SOPS task into XCom.

    Each output is pushed twice by name, as ``IP`` and as ``${IP}``, and all are returned as a dict by bare name, so
    that ``op.output["IP"]``, ``ti.xcom_pull("op", key="${IP}")`` and ``ti.xcom_pull("op")["IP"]`` give the same value,
    with its JSON type. Nothing is pushed unless all was read and can be pushed.

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

    template_fields = ("sops_task_id", "keys", "bk_biz_id", "scope", "sops_conn_id")
    operator_extra_links = (SopsTaskLink(),)
    ui_color = "#e1ecff"

    def __init__(
        self,
        *,
        sops_task_id: int | str,
        keys: Iterable[str] | None = None,
        bk_biz_id: int | str | None = None,
        scope: str | None = None,
        sops_conn_id: str = DEFAULT_CONN_ID,
        assume_finished: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sops_task_id = sops_task_id
        self.keys = keys
        self.bk_biz_id = bk_biz_id
        self.scope = scope
        self.sops_conn_id = sops_conn_id
        self.assume_finished = assume_finished

    def execute(self, context: Context) -> dict[str, Any]:
        """Read, check, push and return the outputs."""
        from airflow_provider_sops.hooks.sops import SopsHook

        hook = SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)
        with airflow_errors():
            task_id = parse_id("sops_task_id", self.sops_task_id)
        keys = [self.keys] if isinstance(self.keys, str) else self.keys
        outputs = fetch_outputs(self, hook, task_id, keys, assume_finished=self.assume_finished)
        push_task_url(context, self, outputs.detail.task_url)
        push_outputs(context, self, outputs.values)
        return dict(outputs.values)


def fetch_outputs(
    operator: BaseOperator,
    hook: SopsHook,
    task_id: int,
    keys: Iterable[str] | None = None,
    *,
    assume_finished: bool = False,
) -> TaskOutputs:
    """Read a finished task's outputs, mask the secret ones in logs, and check that they can be pushed.

    :raises SopsOutputsException: the task is unfinished, failed or revoked, or a key is absent.
    """
    try:
        read: TaskOutputs = hook.run(read_outputs(task_id, hook.place, assume_finished=assume_finished))
    except OutputsUnavailable as problem:
        message = str(problem)
        if problem.status is not None and problem.status.state is TaskState.FAILED:
            message = f"{message}\n{hook.run(explain(task_id, hook.place, problem.status))}"
        raise SopsOutputsException(message) from problem
    for notice in read.notices:
        operator.log.warning("%s", notice)
    for secret in read.detail.secret_values:
        mask_secret(secret)
    operator.log.info(
        "SOPS task %s %r finished at %s with outputs: %s",
        task_id,
        read.detail.name,
        read.detail.finish_time,
        ", ".join(sops_key(name) for name in read.values) or "none",
    )
    try:
        selected = replace(read, values=select(read.values, keys))
    except KeyError as error:
        raise SopsOutputsException(f"SOPS task {task_id} {read.detail.name!r} has {error.args[0]}") from error
    _check_serialisable(task_id, selected.values)
    return selected


def push_outputs(context: Context, operator: BaseOperator, outputs: Mapping[str, Any]) -> None:
    """Push each output by its bare name and by its key in SOPS, unless the operator pushes no XComs."""
    if not operator.do_xcom_push:
        return
    ti = context["ti"]
    own_keys = {XCOM_RETURN_KEY, TASK_URL_KEY, "sops_task_id"} | {
        getattr(link, "xcom_key", TASK_URL_KEY)  # a link has no XCom of its own on Airflow 2
        for link in operator.operator_extra_links
    }
    for name, value in outputs.items():
        if any(character in name for character in _NOT_IN_KEYS):
            operator.log.warning("Output %s is in the returned dict only: its name cannot be an XCom key.", name)
            continue
        if name in own_keys:
            operator.log.warning("Output %s is pushed as %s only: the bare name is taken.", name, sops_key(name))
        else:
            ti.xcom_push(key=name, value=value)
        ti.xcom_push(key=sops_key(name), value=value)


def _check_serialisable(task_id: int, outputs: Mapping[str, Any]) -> None:
    for name, value in outputs.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SopsOutputsException(
                f"Output {sops_key(name)} of SOPS task {task_id} cannot be pushed into XCom ({error}); "
                "nothing was pushed. Name the outputs you need in keys."
            ) from error
