# SPDX-License-Identifier: Apache-2.0
"""Which waits their trigger may start by itself, without a worker: what Airflow's scheduler is told of them.

Imported when a DAG file asks for it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import XComArg
from airflow.triggers.base import StartTriggerArgs
from jinja2 import TemplateError, meta

from airflow_provider_sops.compat import START_FROM_TRIGGER_SINCE, TRIGGERS_START_TASKS, is_unmapped
from airflow_provider_sops.trigger_end import (
    has_own_methods,
    is_end_from_trigger_asked,
    why_not_here,
    why_worker_needed,
)
from airflow_provider_sops.triggers.sops import SopsTaskTrigger
from airflow_provider_sops.wait_spec import TRIGGER_TIMEOUT_MARGIN, policy_fields

#: What templates can use in a worker, and what a triggerer's supervisor does not answer.
_NOT_IN_TRIGGERERS = frozenset(
    {
        "asset_state_store",
        "inlet_events",
        "loop",
        "prev_data_interval_end_success",
        "prev_data_interval_start_success",
        "prev_end_date_success",
        "prev_start_date_success",
        "task_state_store",
    }
)


def set_start_from_trigger(sensor: Any) -> None:
    """Let Airflow's scheduler start a sensor in the triggerer, where this Airflow can do that.

    It is set on the instance, never on the class, by which Airflow would start mapped tasks.

    :param sensor: a sensor all of whose arguments are set.
    :raises ValueError: names why the trigger cannot start it.
    """
    if is_unmapped(sensor):
        return
    if not sensor.deferrable:
        raise ValueError("start_from_trigger: needs deferrable=True")
    if not TRIGGERS_START_TASKS:
        return
    if why := _why_not_started(sensor):
        raise _cannot_start(why)
    fields = {name: _as_template(sensor, name, getattr(sensor, name)) for name in sensor.template_fields}
    limit = sensor.execution_timeout
    trigger = SopsTaskTrigger(
        **fields,
        **policy_fields(sensor.policy),
        **_end_fields(sensor),
        poll_interval=sensor.poke_interval,
        timeout=sensor.timeout,
        execution_timeout=None if limit is None else limit.total_seconds(),
    )
    _check_templates(sensor, trigger, fields)
    path, kwargs = trigger.serialize()
    timeout = timedelta(seconds=sensor.timeout + TRIGGER_TIMEOUT_MARGIN)
    sensor.start_trigger_args = StartTriggerArgs(path, "execute_complete", trigger_kwargs=kwargs, timeout=timeout)
    sensor.start_from_trigger = True


def log_why_worker_starts(sensor: Any) -> None:
    """Log why a worker has started a sensor that asked to be started by its trigger, unless it was left to it.

    ``dag.test()`` and ``airflow tasks test`` have nothing but workers.
    """
    why = ""
    if not TRIGGERS_START_TASKS:
        why = f"it needs Airflow {START_FROM_TRIGGER_SINCE} or newer"
    elif is_unmapped(sensor):  # it was asked to by default_args
        why = "Airflow starts mapped tasks in a worker"
    if why:
        sensor.log.info("A worker starts this wait, not its trigger: %s.", why)


def _why_not_started(sensor: Any) -> str:
    """Return why a trigger cannot start a sensor, whatever its fields are; empty when nothing speaks against it.

    Before a trigger runs, Airflow makes the context of its task, with nothing around it: a parameter that is not valid
    then, or an asset that is to be looked up, ends the triggerer with all its waits.
    """
    if sensor.get_dag() is None:
        return "it is made outside of its DAG, so that the DAG's params and macros cannot be seen"
    typed = [name for name in sensor.params if (param := sensor.params.get_param(name)).schema or not param.has_value]
    reasons = {
        "its class has a start of its own (execute, poke)": has_own_methods(sensor, "execute", "poke"),
        "it is in a mapped task group": sensor.get_closest_mapped_task_group() is not None,
        "it has inlets or outlets": sensor.inlets or sensor.outlets,
        f"these params have a type, or no default: {', '.join(typed)}; use dag_run.conf": typed,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _cannot_start(why: str) -> ValueError:
    return ValueError(f"start_from_trigger: a trigger cannot start this task: {why}")


def _end_fields(sensor: Any) -> dict[str, Any]:
    """Return what the trigger is to do at the end; where it cannot end the task, the worker that does says why."""
    ends = is_end_from_trigger_asked(sensor) and not why_worker_needed(sensor) and not why_not_here()
    return {
        "end_from_trigger": ends,
        "push_outputs": sensor.push_outputs,
        "do_xcom_push": sensor.do_xcom_push,
    }


def _as_template(sensor: Any, field: str, value: Any) -> Any:
    """Return an argument as it can stand in the serialized DAG; what comes from another task, as a template.

    :raises ValueError: what Airflow renders there is not what it renders in a worker.
    """
    if isinstance(value, XComArg):
        from airflow.sdk.definitions.xcom_arg import PlainXComArg

        if not isinstance(value, PlainXComArg):
            raise _cannot_start(f"{field} is made of other tasks' results by map, zip or concat")
        if field == "keys":
            raise _cannot_start("keys is a list from another task, which is rendered as text")
        if value.operator.is_mapped or value.operator.get_closest_mapped_task_group() is not None:
            raise _cannot_start(f"{field} comes from a mapped task")
        # as XComArg writes itself, which would pull those of all mapped instances
        return str(value).replace(") }}", ", map_indexes=-1) }}")
    if field != "keys" or value is None:
        return value
    if isinstance(value, str) and getattr(sensor.get_dag(), "render_template_as_native_obj", False):
        raise _cannot_start("keys is one template, which is rendered as text, not as a native object")
    return [_as_template(sensor, f"an item of {field}", one) for one in ([value] if isinstance(value, str) else value)]


def _check_templates(sensor: Any, trigger: SopsTaskTrigger, fields: dict[str, Any]) -> None:
    """Check that the trigger's own environment can render the fields: it knows nothing of the DAG's macros and filters.

    :raises ValueError: names the field.
    """
    environment = trigger.get_template_env()
    macros = getattr(sensor.get_dag(), "user_defined_macros", None) or {}
    for name, value in fields.items():
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str):
                continue
            try:
                environment.compile(text)
                unknown = meta.find_undeclared_variables(environment.parse(text)) & {*macros, *_NOT_IN_TRIGGERERS}
            except TemplateError as error:
                raise _cannot_start(f"{name} cannot be rendered in a triggerer: {error}") from error
            if unknown:
                raise _cannot_start(f"{name} uses what is not known in a triggerer: {', '.join(sorted(unknown))}")
