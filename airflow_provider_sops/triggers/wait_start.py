# SPDX-License-Identifier: Apache-2.0
"""The start of a wait by its trigger: it does what a worker does before it defers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY, AirflowException

from airflow_provider_sops.compat import (
    ask_airflow,
    delete_xcom,
    is_mapped_over,
    push_from_trigger,
    state_in_airflow,
    xcom_in_airflow,
)
from airflow_provider_sops.connection import choose_project
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.operator_arguments import WAIT, read_values
from airflow_provider_sops.trigger_end import LEFT_TO_WORKER, why_no_length
from airflow_provider_sops.triggers.shared_pollers import look_up_site
from airflow_provider_sops.triggers.task_end import DEFERRED, keys_of_outputs, link_xcoms
from airflow_provider_sops.wait_spec import TRIGGER_TIMEOUT_MARGIN
from airflow_provider_sops.xcom_keys import TASK_URL_KEY

if TYPE_CHECKING:
    from airflow_provider_sops.connection import Site
    from airflow_provider_sops.core.api.project import Project
    from airflow_provider_sops.wait_spec import WaitSpec

#: Seconds for which waits that start one after the other share what a connection says.
_LOOK_UP_EVERY = 10.0
_sites: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, tuple[float, asyncio.Task[Site]]]] = WeakKeyDictionary()


class _RenderedFor:
    """Airflow's task instance as templates see it in a triggerer, where XComs can be pulled one at a time only.

    Airflow's own ``xcom_pull`` asks for those of all mapped instances unless it is told which, and a triggerer's
    supervisor never answers that.
    """

    def __init__(self, task_instance: Any) -> None:
        self._task_instance = task_instance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task_instance, name)

    def xcom_pull(self, *args: Any, map_indexes: Any = -1, **kwargs: Any) -> Any:
        """Pull an XCom of a task that is not mapped."""
        return self._task_instance.xcom_pull(*args, map_indexes=map_indexes, **kwargs)


def rendering_context(context: Mapping[str, Any]) -> Any:
    """Return the context with which the fields of a wait are rendered in a triggerer."""
    ti = _RenderedFor(context["ti"])
    return {**context, "ti": ti, "task_instance": ti}


async def start_wait(spec: WaitSpec, timeout_after: datetime | None, log: Any, task_instance: Any) -> WaitSpec | None:
    """Do what a worker does before it defers: forget an earlier run's XComs, check the arguments, find the project.

    :param spec: the order for the wait, rendered.
    :param timeout_after: when Airflow ends the wait by its own timeout; what the deadline is counted from, also when a
        triggerer starts it once more.
    :param log: the logger of the trigger.
    :param task_instance: the Airflow task, with its operator as it was serialized.
    :return: the order with all that was still open; ``None`` when a worker is to start the wait, which says what is
        wrong as it always does.
    :raises AirflowException: XComs of an earlier run could not be deleted.
    """
    if task_instance.try_number > 1 and not await _delete_earlier_xcoms(task_instance):
        log.info("This wait is over: the Airflow task does not wait for it any more.")
        return None
    try:
        values = read_values(WAIT, {name: getattr(spec, name) for name in WAIT}, ())
        project = await _find_project(values)
    except Exception as error:  # whatever it is, a worker comes to it too, and its log is where it is looked for
        reason = error if isinstance(error, SopsConfigError) else type(error).__name__
        log.info("A worker will start this wait, not its trigger: %s", reason)
        return None
    deadline = _deadline(spec, timeout_after)
    known = {**values, "bk_biz_id": project.bk_biz_id, "scope": project.scope}
    return spec._replace(**known, deadline=deadline, **_end_fields(spec, log, task_instance))


async def _find_project(values: Mapping[str, Any]) -> Project:
    conn_id, bk_biz_id, scope = values["sops_conn_id"], values.get("bk_biz_id"), values.get("scope")
    site = None if bk_biz_id and scope else await _site_of(conn_id)

    def given() -> Site:
        assert site is not None
        return site

    return choose_project(conn_id, bk_biz_id, scope, given)


async def _site_of(sops_conn_id: str) -> Site:
    """Look a connection up, once for all waits that start together."""
    sites = _sites.setdefault(asyncio.get_running_loop(), {})
    until, lookup = sites.get(sops_conn_id, (0.0, None))
    if lookup is None or time.monotonic() >= until:
        lookup = asyncio.get_running_loop().create_task(look_up_site(sops_conn_id))
        sites[sops_conn_id] = (time.monotonic() + _LOOK_UP_EVERY, lookup)
    return await asyncio.shield(lookup)


def _deadline(spec: WaitSpec, timeout_after: datetime | None) -> float:
    """Return when the wait ends (seconds since the epoch): Airflow has counted its own timeout from the start."""
    assert spec.timeout is not None
    if timeout_after is None:
        return time.time() + spec.timeout
    airflows = spec.timeout + TRIGGER_TIMEOUT_MARGIN
    if spec.execution_timeout is not None:
        airflows = min(airflows, spec.execution_timeout)
    aware = timeout_after if timeout_after.tzinfo else timeout_after.replace(tzinfo=UTC)
    return aware.timestamp() - airflows + spec.timeout


def _end_fields(spec: WaitSpec, log: Any, task_instance: Any) -> dict[str, Any]:
    """Return what is known of the end by now: of the DAG as it was serialized, with what a cluster policy has set."""
    if not spec.end_from_trigger:
        return {}
    operator = task_instance.task
    mapped_over = is_mapped_over(operator, task_instance)
    reasons = {
        "its outlets get their asset events from a worker": operator.outlets,
        "its on_success_callback runs in a worker": operator.has_on_success_callback,
        why_no_length(spec.do_xcom_push, mapped_over): True,
    }
    if why := next((reason for reason, holds in reasons.items() if reason and holds), ""):
        log.info(LEFT_TO_WORKER, f"{why}.")
        return {"end_from_trigger": False}
    return {"mapped_over": mapped_over}


async def _delete_earlier_xcoms(task_instance: Any) -> bool:
    """Delete what an earlier run has pushed, as Airflow does where a worker starts a task.

    Airflow does not tell a trigger which XComs there are. What the earlier run returned names its outputs.

    :return: whether the task still waits; what stood still before it came here would delete what another has pushed.
    """
    try:
        if await ask_airflow(state_in_airflow, task_instance) != DEFERRED:
            return False
        result = await ask_airflow(xcom_in_airflow, task_instance, XCOM_RETURN_KEY)
        known = {XCOM_RETURN_KEY, TASK_URL_KEY, *(key for key, _ in link_xcoms("http://any"))}
        # what names the others goes last
        for key in sorted(known | keys_of_outputs(result), key=lambda key: (key == XCOM_RETURN_KEY, key)):
            await ask_airflow(delete_xcom, task_instance, key)
    except Exception as error:
        raise AirflowException(
            f"The XComs of an earlier run of this task could not be deleted ({type(error).__name__}), so that a later "
            "task might have taken them for new ones. The wait was not started; no SOPS task was touched. Clear the "
            "Airflow task when Airflow's API server is well."
        ) from error
    return True


async def push_link(url: str, log: Any, task_instance: Any) -> bool:
    """Push the address of the SOPS task's page for the link, so that it is there while the task is waited for.

    :return: whether it is there.
    """
    try:
        for key, value in link_xcoms(url):
            through_backend = key == TASK_URL_KEY
            await ask_airflow(push_from_trigger, task_instance, key, value, through_backend=through_backend)
    except Exception as error:  # whatever the way to Airflow raises: the wait is worth more
        log.warning("The link to the SOPS task could not be pushed: %s. Its page: %s", type(error).__name__, url)
        return False
    return True
