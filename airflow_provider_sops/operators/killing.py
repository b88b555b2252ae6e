# SPDX-License-Identifier: Apache-2.0
"""What happens to the SOPS task when Airflow kills the task that runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_sops.compat import state_in_airflow
from airflow_provider_sops.operators.tries import retry_is_left
from airflow_provider_sops.sops.client import SopsClient
from airflow_provider_sops.sops.errors import SopsError
from airflow_provider_sops.sops.operate import revoke
from airflow_provider_sops.sops.retry import NO_RETRY
from airflow_provider_sops.sops.run import Remembered
from airflow_provider_sops.sops.watch import Line

if TYPE_CHECKING:
    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.operators.tries import Memory
    from airflow_provider_sops.sops.run import TaskRun

T = TypeVar("T")

#: Seconds that a kill may take: Airflow 3 sends SIGKILL five seconds after SIGTERM.
KILL_SECONDS = 4.0
#: Seconds for asking Airflow why the task is killed.
ASK_SECONDS = 1.0
NOTHING_TO_REVOKE = "No SOPS task runs for this task: nothing is revoked."
#: What Airflow calls a running task that a user has cleared.
_CLEARED = "restarting"
_RUNNING = "running"


@dataclass(slots=True)
class Running:
    """The SOPS task that this try has started, or has found running."""

    run: TaskRun
    task_id: int
    generation: int
    task_url: str = ""


def revoke_when_killed(
    running: Running, hook: SopsHook, ti: Any, memory: Memory, *, keep_when_cleared: bool
) -> tuple[list[Line], bool]:
    """Revoke the SOPS task, in one attempt; it takes no longer than :data:`KILL_SECONDS`.

    Where a retry of the same Airflow task is to come, the next SOPS task is created too, which does nothing until it is
    started: that it is there tells the retry that it was not a person who has stopped the one before.

    :param keep_when_cleared: leave the SOPS task running when a user has cleared the Airflow task.
    :return: for the log, written by the caller, as the thread that was interrupted may hold a lock of logging; and
        whether the SOPS task has not started yet, so that it may do so later.
    """
    lines: list[Line] = []
    may_start: list[int] = []
    done = in_thread(lambda: _revoke(running, hook, ti, memory, keep_when_cleared, lines, may_start), KILL_SECONDS)
    if not done:
        lines.append(
            Line(
                f"Whether SOPS task {running.task_id} was revoked is not known: no answer within {KILL_SECONDS:.0f} s. "
                "Look at its page.",
                warning=True,
            )
        )
    return lines, bool(may_start)


def in_thread(do: Callable[[], object], seconds: float) -> bool:
    """Do something in a thread of its own, and wait for it no longer than this.

    A time limit of an HTTP library bounds neither the look-up of a host name nor an answer that trickles.

    :return: whether it was done in time.
    """
    thread = threading.Thread(target=do, name="sops-kill", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _revoke(
    running: Running,
    hook: SopsHook,
    ti: Any,
    memory: Memory,
    keep_when_cleared: bool,
    lines: list[Line],
    may_start: list[int],
) -> None:
    task_id = running.task_id
    state = _ask_state(ti)
    if state == _CLEARED and keep_when_cleared:
        lines.append(Line(f"SOPS task {task_id} is left running: the cleared Airflow task takes it up again."))
        return
    site = hook.site
    settings = replace(site.settings, connect_timeout=KILL_SECONDS / 2, read_timeout=KILL_SECONDS)
    with SopsClient(site.door, settings=settings, retry=NO_RETRY) as client:
        try:
            revocation = client.run(revoke(running.run.place, task_id))
        except SopsError as error:
            lines.append(Line(f"SOPS task {task_id} could not be revoked, it may still run. {error}", warning=True))
            return
        lines.append(revocation.line(task_id))
        if revocation.may_start:
            may_start.append(task_id)
        if revocation.done and _same_task_comes_again(state, ti):
            leave_successor(running, client.run, memory, lines)


def leave_successor(running: Running, carry_out: Callable[..., int], memory: Memory, lines: list[Line]) -> None:
    """Create the next SOPS task, so that the retry knows that the one before was not stopped by a person."""
    try:
        task_id = carry_out(running.run.create(running.generation + 1))
        memory.remember(Remembered(running.run.tag.base, running.generation + 1, task_id))
    except Exception as error:
        lines.append(
            Line(f"A retry will not know that Airflow has revoked SOPS task {running.task_id}: {error}", warning=True)
        )
    else:
        lines.append(Line(f"A retry will run SOPS task {task_id} in its place."))


def _ask_state(ti: Any) -> str | None:
    """Ask Airflow for the task's state; ``None`` where it does not say."""
    answer: list[str | None] = []

    def ask() -> None:
        try:
            answer.append(state_in_airflow(ti))
        except Exception:  # the way to Airflow may be broken already; it is only asked for a better end
            return

    # not in this thread: what was interrupted may be talking with Airflow, and would never let go
    in_thread(ask, ASK_SECONDS)
    return answer[0] if answer else None


def _same_task_comes_again(state: str | None, ti: Any) -> bool:
    """Tell whether a next try may look for its SOPS task under the same tag.

    A cleared one does so on Airflow 2.11 and 3.0, and on newer ones where the executor calls the kill a failure.
    """
    return state == _CLEARED or (state in (_RUNNING, None) and retry_is_left(ti))
