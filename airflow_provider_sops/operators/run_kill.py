# SPDX-License-Identifier: Apache-2.0
"""What happens to the SOPS task when Airflow kills the task that runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_sops.compat import CLEARING_RAISES_MAX_TRIES, state_in_airflow
from airflow_provider_sops.core.errors import SopsError
from airflow_provider_sops.core.flow import LogLine
from airflow_provider_sops.core.http.client import SopsClient
from airflow_provider_sops.core.http.retry import NO_RETRY
from airflow_provider_sops.core.operate.revoke import revoke
from airflow_provider_sops.core.run.task_run import RunRecord
from airflow_provider_sops.kill_reasons import Kill, kill_of, why_left_running
from airflow_provider_sops.operators.run_memory import retry_is_left

if TYPE_CHECKING:
    from airflow_provider_sops.core.run.task_run import TaskRun
    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.operators.run_memory import Memory

T = TypeVar("T")

#: Seconds that a kill may take: Airflow 3 sends SIGKILL five seconds after SIGTERM.
KILL_SECONDS = 4.0
#: Seconds for asking Airflow why the task is killed.
ASK_SECONDS = 2.0
NOTHING_TO_REVOKE = "No SOPS task runs for this task: nothing is revoked."


@dataclass(slots=True)
class Running:
    """The SOPS task that this try has started, or has found running."""

    run: TaskRun
    task_id: int
    generation: int
    task_url: str = ""
    #: it was seen to have started
    started: bool = False


@dataclass(slots=True)
class Killed:
    """What came of a kill; written into the log by the caller: what was interrupted may hold a lock of logging."""

    lines: list[LogLine] = field(default_factory=list)
    #: the SOPS task has not started yet, so that it may do so later
    may_start: bool = False
    #: Airflow has not said whether a user is behind it
    unanswered: bool = False


def revoke_when_killed(
    running: Running, hook: SopsHook, ti: Any, memory: Memory, *, keep_when_cleared: bool, out_of_time: bool
) -> Killed:
    """Revoke the SOPS task, in one attempt, if a user has ended or cleared the Airflow task, or its time is over.

    It takes no longer than :data:`KILL_SECONDS`. Where a next try looks under the same tag for the SOPS task, the next
    one is created too, which does nothing until it is started: that it is there tells the next try that it was not a
    person who has stopped the one before.

    :param keep_when_cleared: leave the SOPS task running when a user has cleared the Airflow task.
    :param out_of_time: it is ``execution_timeout`` that stops the task, so Airflow need not be asked.
    """
    killed = Killed()
    task_id = running.task_id
    done = in_thread(lambda: _revoke(running, hook, ti, memory, keep_when_cleared, out_of_time, killed), KILL_SECONDS)
    if not done:
        text = f"Whether SOPS task {task_id} was revoked is not known: no answer within {KILL_SECONDS:.0f} s. "
        killed.lines.append(LogLine(f"{text}Look at its page.", warning=True))
    return killed


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
    out_of_time: bool,
    killed: Killed,
) -> None:
    task_id, lines = running.task_id, killed.lines
    site = hook.site
    # one that may not have started is looked at first
    read_timeout = KILL_SECONDS if running.started else KILL_SECONDS / 2
    settings = replace(site.settings, connect_timeout=KILL_SECONDS / 2, read_timeout=read_timeout)
    with SopsClient(site.endpoint, settings=settings, retry=NO_RETRY) as client:
        # as late as can be: what is true now may not be so in a moment
        state = None if out_of_time else _ask_state(ti)
        kill = kill_of(state)
        if kill is Kill.UNCERTAIN and not out_of_time:
            killed.unanswered = state is None
            lines.append(LogLine(why_left_running(task_id, state)))
            return
        if kill is Kill.CLEARED and keep_when_cleared:
            lines.append(LogLine(f"SOPS task {task_id} is left running: the cleared Airflow task takes it up again."))
            return
        try:
            revocation = client.run(revoke(running.run.project, task_id, started=running.started))
        except SopsError as error:
            lines.append(LogLine(f"SOPS task {task_id} could not be revoked, it may still run. {error}", warning=True))
            return
        lines.append(revocation.line(task_id))
        killed.may_start = revocation.may_start
        if not revocation.done:
            return
        if _same_tag_comes_again(kill, out_of_time, ti):
            leave_successor(running, client.run, memory, lines)
        elif kill is Kill.CLEARED:
            _remember_as_done(running, memory)


def leave_successor(running: Running, carry_out: Callable[..., int], memory: Memory, lines: list[LogLine]) -> None:
    """Create the next SOPS task, so that the retry knows that the one before was not stopped by a person."""
    try:
        task_id = carry_out(running.run.create(running.generation + 1))
        memory.remember(RunRecord(running.run.tag.base, running.generation + 1, task_id))
    except Exception as error:
        lines.append(
            LogLine(
                f"A retry will not know that Airflow has revoked SOPS task {running.task_id}: {error}", warning=True
            )
        )
    else:
        lines.append(LogLine(f"A retry will run SOPS task {task_id} in its place."))


def _remember_as_done(running: Running, memory: Memory) -> None:
    """Let a next try know that this SOPS task is over, should it look under the same tag after all."""
    with suppress(Exception):  # whatever the store's backend raises: the tag is another one as a rule
        memory.remember(RunRecord(running.run.tag.base, running.generation, running.task_id, done=True))


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


def _same_tag_comes_again(kill: Kill, out_of_time: bool, ti: Any) -> bool:
    """Tell whether a next try looks for its SOPS task under the same tag: a retry, and on old Airflows a clear."""
    return retry_is_left(ti) if out_of_time else kill is Kill.CLEARED and not CLEARING_RAISES_MAX_TRIES
