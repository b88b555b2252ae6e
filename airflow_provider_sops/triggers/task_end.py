# SPDX-License-Identifier: Apache-2.0
"""The good end of a task by its trigger: it pushes what a worker would have pushed, and then ends the task."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY

from airflow_provider_sops.compat import ask_airflow, link_key, push_from_trigger, state_in_airflow
from airflow_provider_sops.core import errors
from airflow_provider_sops.core.task_outputs import OutputsUnavailable, read_outputs
from airflow_provider_sops.exceptions import SopsOutputsException
from airflow_provider_sops.links.sops import SopsTaskLink, is_web_address
from airflow_provider_sops.trigger_end import LEFT_TO_WORKER
from airflow_provider_sops.trigger_events import Outcome, read_event
from airflow_provider_sops.wait_results import has_outputs, result_of, with_outputs
from airflow_provider_sops.xcom_keys import TASK_ID_KEY, TASK_URL_KEY
from airflow_provider_sops.xcom_outputs import XComsToPush, output_xcoms, use_outputs

if TYPE_CHECKING:
    from airflow_provider_sops.core.call_flow import Flow
    from airflow_provider_sops.core.models import TaskStatus
    from airflow_provider_sops.core.task_outputs import TaskOutputs
    from airflow_provider_sops.wait_spec import WaitSpec

#: Bytes of outputs that go through a triggerer, which may have thousands of waits that end at once.
MAX_OUTPUT_BYTES = 64 * 1024
#: What Airflow says of a task that still waits for its trigger.
DEFERRED = "deferred"
_LINK = SopsTaskLink()


class _LeftToWorker(Exception):
    """A worker must end the task; the message says why."""


async def end_task(
    spec: WaitSpec,
    event: dict[str, Any],
    run: Callable[[Flow[Any]], Awaitable[Any]],
    log: Any,
    task_instance: Any,
    *,
    pushed_url: str = "",
) -> bool:
    """Do what a worker does after a good end: read and check the outputs, and push all XComs.

    What was pushed before a triggerer was killed is pushed again: an XCom is replaced by its like.

    :param event: the event that would resume the task in a worker.
    :param run: carries out a flow with the client of the wait.
    :param log: the logger of the trigger.
    :param task_instance: the Airflow task that waits.
    :param pushed_url: the address of the SOPS task's page, if this trigger has pushed it for the link.
    :return: whether the task can be ended now; if not, the event is to be fired, and a worker does it all.
    """
    if event["outcome"] != Outcome.SUCCESS or task_instance is None:
        return False
    try:
        observation = read_event(spec.sops_task_id, event).observation
        assert observation.status is not None
        outputs = await _outputs(spec, observation.status, run, log)
        to_push = end_xcoms(spec, observation.status, outputs, pushed_url=pushed_url)
        for warning in to_push.warnings:
            log.warning("%s", warning)
        await _push(spec, to_push, task_instance)
    except _LeftToWorker as why:
        log.info(LEFT_TO_WORKER, why)
        return False
    except Exception as error:  # a fault here must not fail a task that has ended well
        log.warning(LEFT_TO_WORKER, type(error).__name__)
        return False
    log.info("SOPS task %s %r %s.", spec.sops_task_id, observation.status.name, observation.reason)
    return True


async def _outputs(
    spec: WaitSpec, status: TaskStatus, run: Callable[[Flow[Any]], Awaitable[Any]], log: Any
) -> TaskOutputs | None:
    """Read and check the outputs; ``None`` where none are taken.

    :raises _LeftToWorker: they cannot be read or pushed, or are large.
    """
    assume_finished = spec.policy.assume_finished
    if spec.returns_outputs:
        taken = has_outputs(status, assume_finished=False)
    else:
        taken = spec.push_outputs and has_outputs(status, assume_finished=assume_finished)
    if not taken:
        return None
    try:
        read = await run(read_outputs(spec.sops_task_id, spec.project, assume_finished=assume_finished))
        outputs: TaskOutputs = await ask_airflow(_check, spec, read, log)
    except (errors.SopsError, OutputsUnavailable, SopsOutputsException) as error:
        raise _LeftToWorker(error) from error
    return outputs


def _check(spec: WaitSpec, read: TaskOutputs, log: Any) -> TaskOutputs:
    """Check outputs as a worker does, unless they are large: that would take long.

    :raises _LeftToWorker: they are.
    """
    if spec.do_xcom_push and (size := _size(read.values)) > MAX_OUTPUT_BYTES:
        raise _LeftToWorker(f"the outputs have {size} bytes, more than {MAX_OUTPUT_BYTES}.")
    return use_outputs(read, spec.keys, log=log, do_xcom_push=spec.do_xcom_push)


def _size(values: Mapping[str, Any]) -> int:
    return len(json.dumps(dict(values), ensure_ascii=False).encode(errors="surrogatepass"))


def end_xcoms(spec: WaitSpec, status: TaskStatus, outputs: TaskOutputs | None, *, pushed_url: str = "") -> XComsToPush:
    """Return the XComs of a good end.

    What the task returns comes first: it names the outputs, so that all of them can be deleted when it runs again, even
    if a kill comes between two of them.

    :param outputs: those that are taken; ``None``: there are none.
    :param pushed_url: an address that is there already.
    """
    if not spec.do_xcom_push:
        return XComsToPush()
    values: Mapping[str, Any] = {} if outputs is None else outputs.values
    if spec.returns_outputs:
        url = status.task_url if outputs is None else outputs.detail.task_url
        own: list[tuple[str, Any]] = [(TASK_ID_KEY, spec.sops_task_id)]
        result = dict(values)
    else:
        url = status.task_url
        own = []
        result = with_outputs(result_of(status), values) if spec.push_outputs else result_of(status)
    if url != pushed_url:
        own += link_xcoms(url)
    of_outputs = output_xcoms(values, [_LINK]) if spec.push_outputs else XComsToPush()
    return XComsToPush(((XCOM_RETURN_KEY, result), *own, *of_outputs.xcoms), of_outputs.warnings)


def link_xcoms(url: str) -> list[tuple[str, Any]]:
    """Return the XComs of the link to a SOPS task's page; none where the address may not be shown."""
    return [(TASK_URL_KEY, url), (link_key(_LINK), url)] if is_web_address(url) else []


def keys_of_outputs(result: Any) -> set[str]:
    """Return the keys of the outputs that an earlier run of a sensor has pushed, from what it returned."""
    outputs = result.get("outputs") if isinstance(result, Mapping) else None
    return {key for key, _ in output_xcoms(outputs, [_LINK]).xcoms} if isinstance(outputs, Mapping) else set()


async def _push(spec: WaitSpec, to_push: XComsToPush, task_instance: Any) -> None:
    """Push the XComs, if the task still waits: what stood still may belong to a try that is over.

    :raises _LeftToWorker: Airflow does not take them, or the task waits no more.
    """
    try:
        state = await ask_airflow(state_in_airflow, task_instance)
        if state != DEFERRED:
            raise _LeftToWorker(f"it does not wait any more, Airflow says that it is {state}.")
        for key, value in to_push.xcoms:
            length = len(value) if key == XCOM_RETURN_KEY and spec.mapped_over else None
            await ask_airflow(push_from_trigger, task_instance, key, value, length)
    except _LeftToWorker:
        raise
    except Exception as error:  # whatever the way to Airflow raises
        raise _LeftToWorker(f"its XComs could not be pushed, {type(error).__name__}.") from error
