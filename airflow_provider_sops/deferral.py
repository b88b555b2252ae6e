# SPDX-License-Identifier: Apache-2.0
"""Deferring a sensor or an operator to the trigger."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_sops.triggers.sops import SopsApprovalTrigger, SopsTaskTrigger
from airflow_provider_sops.wait_spec import TRIGGER_TIMEOUT_MARGIN

if TYPE_CHECKING:
    from airflow_provider_sops.approval_spec import ApprovalState
    from airflow_provider_sops.wait_spec import WaitSpec


def defer_wait(
    defer: Callable[..., NoReturn], spec: WaitSpec, *, hold: float, kwargs: dict[str, Any] | None = None
) -> NoReturn:
    """Let a trigger wait, and the task go on with ``execute_complete``.

    :param defer: the operator's ``defer``.
    :param spec: the order for the wait; when it was deferred is added here.
    :param hold: seconds for which the trigger may hold its event, see
        :func:`~airflow_provider_sops.configuration.deferral_hold`.
    :param kwargs: what ``execute_complete`` is given besides the event.
    :raises TaskDeferred: always.
    """
    now = time.time()
    timeout = None
    if spec.deadline is not None:
        # the trigger ends the wait in time by itself; Airflow's own timeout is for when no triggerer runs
        timeout = timedelta(seconds=max(0.0, spec.deadline - now) + TRIGGER_TIMEOUT_MARGIN + hold)
    trigger = SopsTaskTrigger(**spec._replace(deferred_at=now).kwargs())
    defer(trigger=trigger, method_name="execute_complete", kwargs=kwargs, timeout=timeout)


def defer_approval(defer: Callable[..., NoReturn], spec: WaitSpec, state: ApprovalState) -> NoReturn:
    """Let a trigger wait for what an approval needs next, and the task go on with ``execute_complete``.

    :param defer: the operator's ``defer``.
    :param spec: the order for the wait for the SOPS task; when it was deferred is added here.
    :param state: what the approval knows.
    :raises TaskDeferred: always.
    """
    trigger = SopsApprovalTrigger(spec._replace(deferred_at=time.time()).kwargs(), state.fields())
    # Airflow's own resumption hands over its answer and these alone
    defer(trigger=trigger, method_name="execute_complete", kwargs={"state": state.fields()})
