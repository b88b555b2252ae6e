# SPDX-License-Identifier: Apache-2.0
"""Why a wait or a run is told to stop: what Airflow's state of the task instance says of it.

A worker gets its SIGTERM, and a trigger its ``on_kill``, not from users alone: a worker is shut down or has lost the
API server, a triggerer that stood still finds that another one has taken its trigger over, or that Airflow has resumed
the task meanwhile. A SOPS task is revoked only for a user's word, so Airflow is asked first.
"""

from __future__ import annotations

from enum import StrEnum

#: What :func:`airflow_provider_sops.compat.state_in_airflow` says of a task instance that has no state: it was cleared.
NO_STATUS = "no_status"
#: The same of one that is not there any more: its DAG run was deleted.
DELETED = "deleted"

_ENDED = frozenset({"failed", "success", "skipped", "upstream_failed", "removed", DELETED})
#: ``restarting`` is what Airflow calls a running task that a user has cleared. Airflow itself goes on with a task by
#: scheduling it, never by leaving it without a state.
_CLEARED = frozenset({"restarting", NO_STATUS})


class Kill(StrEnum):
    """Why one is told to stop."""

    #: the task instance was ended: marked failed, success or skipped, or deleted
    ENDED = "ended"
    #: a user has cleared it
    CLEARED = "cleared"
    #: nobody is known to have acted: Airflow does not say, or the task goes on
    UNCERTAIN = "uncertain"


def kill_of(state: str | None) -> Kill:
    """Return what a task instance's state makes of a kill.

    :param state: Airflow's word; ``None`` where it has not answered.
    """
    if state in _ENDED:
        return Kill.ENDED
    return Kill.CLEARED if state in _CLEARED else Kill.UNCERTAIN


def why_left_running(task_id: int, state: str | None) -> str:
    """Return why a SOPS task is not revoked although its Airflow task was told to stop.

    :param task_id: the SOPS task.
    :param state: Airflow's word for the task instance; ``None`` where it has not answered.
    """
    said = "does not answer what it wants" if state is None else f"says that the task is {state}"
    return (
        f"SOPS task {task_id} is left running: this Airflow task was told to stop, but no user is known to have ended "
        f"or cleared it (Airflow {said}). A retry goes on with the same SOPS task; after a clear, the next try revokes "
        "it."
    )
