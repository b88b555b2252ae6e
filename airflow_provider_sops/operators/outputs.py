# SPDX-License-Identifier: Apache-2.0
"""How operators read a SOPS task's outputs and push them into XCom."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY, BaseOperator, mask_secret

from airflow_provider_sops.compat import NONE_IS_PUSHED, link_key
from airflow_provider_sops.exceptions import SopsOutputsException
from airflow_provider_sops.links.sops import TASK_URL_KEY
from airflow_provider_sops.masking import maskable
from airflow_provider_sops.sops.explain import explain
from airflow_provider_sops.sops.outputs import OutputsUnavailable, TaskOutputs, read_outputs, select, task_page
from airflow_provider_sops.sops.states import TaskState
from airflow_provider_sops.sops.variables import sops_key
from airflow_provider_sops.waiting import TASK_ID_KEY, WAIT_ENDED_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.sops.models import TaskDetail

#: Characters that an XCom's key may not hold, since Airflow puts keys into addresses.
_NOT_IN_KEYS = ("?", "#")


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
        failed = problem.status is not None and problem.status.state is TaskState.FAILED
        page = hook.run(task_page(task_id, hook.place))
        why = f"\n{hook.run(explain(task_id, hook.place, problem.status))}" if failed else ""
        raise _unusable(f"{problem}{why or (page and f' Task page: {page}')}", page) from problem
    for notice in read.notices:
        operator.log.warning("%s", notice)
    for secret in maskable(read.detail.secret_values):
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
        message = f"SOPS task {task_id} {read.detail.name!r} has {error.args[0]}"
        raise _unusable(message, read.detail.task_url) from error
    _check_serialisable(read.detail, selected.values)
    return selected


def _unusable(message: str, task_url: str) -> SopsOutputsException:
    error = SopsOutputsException(message)
    error.task_url = task_url
    return error


def push_outputs(context: Context, operator: BaseOperator, outputs: Mapping[str, Any]) -> None:
    """Push each output by its bare name and by its key in SOPS, unless the operator pushes no XComs."""
    if not operator.do_xcom_push:
        return
    ti = context["ti"]
    own_keys = {
        XCOM_RETURN_KEY,
        TASK_URL_KEY,
        TASK_ID_KEY,
        WAIT_ENDED_KEY,
        *map(link_key, operator.operator_extra_links),
    }
    for name, value in outputs.items():
        if value is None and not NONE_IS_PUSHED:
            continue
        if any(character in name for character in _NOT_IN_KEYS):
            operator.log.warning("Output %s is in the returned dict only: its name cannot be an XCom key.", name)
            continue
        if name in own_keys:
            operator.log.warning("Output %s is pushed as %s only: the bare name is taken.", name, sops_key(name))
        else:
            ti.xcom_push(key=name, value=value)
        ti.xcom_push(key=sops_key(name), value=value)


def _check_serialisable(detail: TaskDetail, outputs: Mapping[str, Any]) -> None:
    for name, value in outputs.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            message = (
                f"Output {sops_key(name)} of SOPS task {detail.task_id} cannot be pushed into XCom ({error}); "
                "nothing was pushed. Name the outputs you need in keys."
            )
            raise _unusable(message, detail.task_url) from error
