# SPDX-License-Identifier: Apache-2.0
"""The order for a deferred wait: what sensor and operator hand to the trigger, and what stands in the trigger's row."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from typing import Any, NamedTuple, Self

from airflow_provider_sops.core.api.calls import parse_scope
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.policy import WaitPolicy
from airflow_provider_sops.operator_arguments import make_policy

__all__ = ["WaitSpec"]

#: Seconds after the trigger's own deadline at which Airflow ends a deferral whose trigger does not run.
TRIGGER_TIMEOUT_MARGIN = 120.0


class WaitSpec(NamedTuple):
    """The order for a deferred wait: ids and plain values only, no secret.

    A named tuple, which is small, and quick to import: DAG files may import the trigger.

    Its fields are the trigger's arguments. Rows of the database hold them by these names, so a field is never renamed,
    and a new one comes last and has a default.

    :param sops_task_id: id of the SOPS task.
    :param bk_biz_id: its business (or project, see ``scope``).
    :param scope: ``cmdb_biz`` or ``project``.
    :param sops_conn_id: id of the connection.
    :param poll_interval: seconds between two reads; never less than SOPS' cache of 10 seconds.
    :param deadline: seconds since the epoch at which the wait ends; ``None``: never.
    :param allowed_states: final states that count as success.
    :param on_failed: ``fail`` or ``wait``.
    :param failed_grace: seconds that the task may stay FAILED; ``None``: the default of ``on_failed``.
    :param on_suspended: ``wait`` or ``fail``.
    :param max_outage: seconds for which failed reads are tolerated.
    :param assume_finished: take an end whose state cannot be read for FINISHED.
    :param revoke_on_kill: revoke the SOPS task when a user kills the waiting Airflow task (Airflow 3.3 and newer).
    :param start_deadline: seconds since the epoch at which the task must have started; ``None``: any time.
    :param keep_when_cleared: do not revoke when the kill is a clear, as the cleared Airflow task takes the SOPS task up
        again.
    :param task_url: address of the task's page, for the log.
    :param deferred_at: seconds since the epoch at which the task was deferred: an event that comes soon after is held
        back for a moment, see the option ``deferral_hold``; ``None``: long ago.
    :param end_from_trigger: after a good end the trigger pushes the XComs and ends the Airflow task by itself.
    :param push_outputs: then it pushes each output as an XCom of its own.
    :param keys: the outputs that are pushed; ``None``: all.
    :param do_xcom_push: it pushes XComs at all.
    :param returns_outputs: the Airflow task returns the outputs alone, as an operator that runs a SOPS task does, not
        the result of a wait.
    :param mapped_over: a later task is expanded over what the Airflow task returns.
    :param timeout: the trigger starts the wait itself, without a worker: seconds until its deadline. What stands in the
        row is then as the DAG's author wrote it, still to be rendered. ``None``: a worker has started the wait.
    :param execution_timeout: then that of the Airflow task (seconds); ``None``: it has none.
    """

    sops_task_id: int
    bk_biz_id: int
    scope: str
    sops_conn_id: str
    poll_interval: float
    deadline: float | None = None
    allowed_states: tuple[str, ...] = (TaskState.FINISHED.value,)
    on_failed: str = "fail"
    failed_grace: float | None = None
    on_suspended: str = "wait"
    max_outage: float = 600.0
    assume_finished: bool = False
    revoke_on_kill: bool = False
    start_deadline: float | None = None
    keep_when_cleared: bool = False
    task_url: str = ""
    deferred_at: float | None = None
    end_from_trigger: bool = False
    push_outputs: bool = False
    keys: tuple[str, ...] | None = None
    do_xcom_push: bool = True
    returns_outputs: bool = False
    mapped_over: bool = False
    timeout: float | None = None
    execution_timeout: float | None = None

    @classmethod
    def of_row(cls, *args: Any, **kwargs: Any) -> Self:
        """Make it of the trigger's arguments, as a row holds them: with lists."""
        spec = cls(*args, **kwargs)
        keys = None if spec.keys is None else tuple(spec.keys)
        return spec._replace(allowed_states=tuple(spec.allowed_states), keys=keys)

    def kwargs(self) -> dict[str, Any]:
        """Return the trigger's arguments, as a row can hold them."""
        keys = None if self.keys is None else list(self.keys)
        return {**self._asdict(), "allowed_states": list(self.allowed_states), "keys": keys}

    @property
    def project(self) -> Project:
        """Where the SOPS task is; waits in one project share it.

        :raises SopsConfigError: ``scope`` is wrong.
        """
        return _project(self.bk_biz_id, self.scope)

    @property
    def policy(self) -> WaitPolicy:
        """What counts as success and as failure; waits with the same policy share it.

        :raises ValueError: names the field that is wrong.
        """
        return _policy(
            self.allowed_states,
            self.on_failed,
            self.failed_grace,
            self.on_suspended,
            self.max_outage,
            self.assume_finished,
        )


def policy_fields(policy: WaitPolicy) -> dict[str, Any]:
    """Return a policy as fields of a :class:`WaitSpec`."""
    return {**policy._asdict(), "allowed_states": tuple(sorted(state.value for state in policy.allowed_states))}


def flat_fields(project: Project, policy: WaitPolicy) -> dict[str, Any]:
    """Return a project and a policy as fields of a :class:`WaitSpec`."""
    return {**asdict(project), **policy_fields(policy)}


@lru_cache
def _project(bk_biz_id: int, scope: str) -> Project:
    return Project(bk_biz_id, parse_scope(scope))


@lru_cache
def _policy(
    allowed_states: tuple[str, ...],
    on_failed: str,
    failed_grace: float | None,
    on_suspended: str,
    max_outage: float,
    assume_finished: bool,
) -> WaitPolicy:
    return make_policy(
        allowed_states=allowed_states,
        on_failed=on_failed,
        failed_grace=failed_grace,
        on_suspended=on_suspended,
        max_outage=max_outage,
        assume_finished=assume_finished,
    )
