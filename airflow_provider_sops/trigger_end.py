# SPDX-License-Identifier: Apache-2.0
"""Which waits their trigger may end by itself: what the worker leg after a wait does that a trigger cannot do.

Some of it is seen when a DAG file is read, so this is imported then; the rest when a wait is deferred.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_sops.compat import (
    END_FROM_TRIGGER_SINCE,
    TRIGGERS_PUSH_XCOMS,
    has_listeners,
    is_mapped_over,
    is_unmapped,
)
from airflow_provider_sops.links.sops import SopsTaskLink

#: What the log says where a worker ends a task though its trigger was to.
LEFT_TO_WORKER = "A worker will end this task, not its trigger: %s"

#: Airflow's own way to store XComs, by its names in its versions.
_OWN_XCOM_BACKENDS = (
    "airflow.sdk.execution_time.xcom.BaseXCom",
    "airflow.sdk.bases.xcom.BaseXCom",
    "airflow.models.xcom.BaseXCom",
)


def check_end_from_trigger(operator: Any, *, defers: bool) -> None:
    """Check ``end_from_trigger=True`` when a DAG file is read.

    An operator of a mapped task is made when it runs: it does not fail by this, its end is left to a worker.

    :param operator: a sensor or operator all of whose arguments are set.
    :param defers: it waits in the triggerer.
    :raises ValueError: names why the trigger cannot end it.
    """
    if not operator.end_from_trigger or is_unmapped(operator):
        return
    if not defers:
        raise ValueError("end_from_trigger: needs deferrable=True, and of an operator that it waits for the end")
    if why := why_worker_needed(operator):
        raise ValueError(f"end_from_trigger: a trigger cannot end this task: {why}")


def why_worker_needed(operator: Any) -> str:
    """Return why only a worker can end a task, as far as the operator alone shows it; empty when nothing speaks for it.

    What is set after the operator was made, as by a cluster policy, is seen when the wait is deferred.
    """
    if not TRIGGERS_PUSH_XCOMS:
        return f"it needs Airflow {END_FROM_TRIGGER_SINCE} or newer"
    backend = conf.get("core", "xcom_backend", fallback=None)
    reasons = {
        "its outlets get their asset events from a worker": operator.outlets,
        "its on_success_callback runs in a worker": operator.on_success_callback,
        "its post_execute runs in a worker": _has_post_execute(operator),
        "its class has an end of its own (execute_complete, resume_execution)": has_own_methods(
            operator, "execute_complete", "resume_execution"
        ),
        "multiple_outputs is a worker's matter": getattr(operator, "multiple_outputs", False),
        "its result is the DAG's result (returns_dag_result)": getattr(operator, "returns_dag_result", False),
        "its map_index_template is rendered at its end": getattr(operator, "map_index_template", None),
        "its rendered fields are written anew at its end": getattr(operator, "overwrite_rtif_after_execution", False),
        "it has links of its own, which a worker makes": _has_other_links(operator),
        f"[core] xcom_backend is {backend}": backend and backend not in _OWN_XCOM_BACKENDS,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _has_post_execute(operator: Any) -> bool:
    if getattr(operator, "_post_execute_hook", None) is not None:
        return True
    return getattr(operator.post_execute, "__func__", None) is not BaseOperator.post_execute


def has_own_methods(operator: Any, *names: str) -> bool:
    """Return whether a class derived from ours has one of these methods of its own."""
    methods = (getattr(type(operator), name) for name in names)
    return any(not method.__module__.startswith(f"{__package__}.") for method in methods)


def _has_other_links(operator: Any) -> bool:
    return any(type(link) is not SopsTaskLink for link in operator.operator_extra_links)


def is_end_from_trigger_asked(operator: Any) -> bool:
    """Return whether the trigger is to end the task where it can, as the task says or else the site.

    :raises SopsConfigException: the site's configuration is wrong.
    """
    from airflow_provider_sops.configuration import end_from_trigger

    given: bool | None = operator.end_from_trigger
    return end_from_trigger() if given is None else given


def trigger_end_fields(
    operator: Any, ti: Any, *, push_outputs: bool, keys: list[str] | None = None, returns_outputs: bool = False
) -> dict[str, Any]:
    """Return the fields of a :class:`~airflow_provider_sops.wait_spec.WaitSpec` with which its trigger ends the task.

    Why a worker is needed after all is logged.

    :param operator: what waits.
    :param returns_outputs: it returns the outputs alone.
    :return: no fields when it was not asked for, or a worker is needed.
    :raises SopsConfigException: the site's configuration is wrong.
    """
    if not is_end_from_trigger_asked(operator):
        return {}
    mapped_over = is_mapped_over(operator, ti)
    why = why_worker_needed(operator) or why_not_here() or why_no_length(operator.do_xcom_push, mapped_over)
    if why:
        operator.log.info(LEFT_TO_WORKER, f"{why}.")
        return {}
    return {
        "end_from_trigger": True,
        "push_outputs": push_outputs,
        "keys": keys,
        "do_xcom_push": operator.do_xcom_push,
        "returns_outputs": returns_outputs,
        "mapped_over": mapped_over,
    }


def why_not_here() -> str:
    """Return why no trigger may end a task in this Airflow; empty when nothing speaks against it."""
    return "a plugin of this Airflow listens to the ends of tasks" if has_listeners() else ""


def why_no_length(do_xcom_push: bool, mapped_over: bool) -> str:
    """Return why a trigger cannot record the length of what a task returns; empty when it can, or need not."""
    return "a later task is expanded over it, and do_xcom_push is off" if mapped_over and not do_xcom_push else ""
