# SPDX-License-Identifier: Apache-2.0
"""Revoking the SOPS task when Airflow kills the task that runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.compat import CLEARING_RAISES_MAX_TRIES, state_in_airflow
from airflow_provider_sops.core.call_flow import LogLine
from airflow_provider_sops.core.errors import SopsError
from airflow_provider_sops.core.http.client import SopsClient
from airflow_provider_sops.core.http.retry import NO_RETRY
from airflow_provider_sops.core.operate.revoke import revoke
from airflow_provider_sops.core.run.creation import create
from airflow_provider_sops.core.run.task_run import RunRecord
from airflow_provider_sops.kill_reasons import Kill, kill_of, why_left_running
from airflow_provider_sops.operators.run_identity import retry_is_left

if TYPE_CHECKING:
    from airflow_provider_sops.core.call_flow import Flow, Secrets
    from airflow_provider_sops.core.run.task_run import TaskRun
    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.operators.run_record_store import RunRecordStore

#: Seconds that a kill may take: Airflow 3 sends SIGKILL five seconds after SIGTERM.
KILL_SECONDS = 4.0
#: Seconds for asking Airflow why the task is killed.
ASK_SECONDS = 2.0


@dataclass(slots=True)
class Running:
    """The SOPS task that this try has started, or has found running."""

    run: TaskRun
    task_id: int
    generation: int
    task_url: str = ""
    #: SOPS lists tasks, so that a retry finds this one without a record
    searchable: bool = True
    #: it was seen to have started
    started: bool = False


@dataclass(slots=True)
class Killed:
    """What came of a kill."""

    #: what there is to log and to mask; left to the caller, as what was interrupted may hold a lock of logging
    reports: list[LogLine | Secrets] = field(default_factory=list)
    #: the SOPS task has not started yet, so that it may do so later
    may_start: bool = False
    #: Airflow has not said whether a user is behind it
    unanswered: bool = False


def revoke_when_killed(
    running: Running, hook: SopsHook, ti: Any, records: RunRecordStore, *, keep_when_cleared: bool, out_of_time: bool
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
    done = in_thread(lambda: _revoke(running, hook, ti, records, keep_when_cleared, out_of_time, killed), KILL_SECONDS)
    if not done:
        text = f"Whether SOPS task {task_id} was revoked is not known: no answer within {KILL_SECONDS:.0f} s. "
        killed.reports.append(LogLine(f"{text}Look at its page.", warning=True))
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
    records: RunRecordStore,
    keep_when_cleared: bool,
    out_of_time: bool,
    killed: Killed,
) -> None:
    task_id, report = running.task_id, killed.reports.append
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
            report(LogLine(why_left_running(task_id, state)))
            return
        if kill is Kill.CLEARED and keep_when_cleared:
            report(LogLine(f"SOPS task {task_id} is left running: the cleared Airflow task takes it up again."))
            return
        try:
            revocation = client.run(revoke(running.run.project, task_id, started=running.started))
        except SopsError as error:
            report(LogLine(f"SOPS task {task_id} could not be revoked, it may still run. {error}", warning=True))
            return
        report(revocation.line(task_id))
        killed.may_start = revocation.may_start
        if not revocation.done:
            return
        if _same_tag_comes_again(kill, out_of_time, ti):
            report(leave_successor(running, lambda flow: client.run(flow, report), records))
        elif kill is Kill.CLEARED:
            _record_as_done(running, records)


def leave_successor(running: Running, carry_out: Callable[[Flow[int]], int], records: RunRecordStore) -> LogLine:
    """Create the next SOPS task, so that the retry knows that the one before was not stopped by a person.

    :return: what came of it; it raises nothing.
    """
    try:
        task_id = carry_out(create(running.run, running.generation + 1))
        records.write(RunRecord(running.run.tag.base, running.generation + 1, task_id))
    except Exception as error:
        text = f"A retry will not know that Airflow has revoked SOPS task {running.task_id}: {error}"
        return LogLine(text, warning=True)
    return LogLine(f"A retry will run SOPS task {task_id} in its place.")


def _record_as_done(running: Running, records: RunRecordStore) -> None:
    """Let a next try know that this SOPS task is over, should it look under the same tag after all."""
    with suppress(Exception):  # whatever the store's backend raises: the tag is another one as a rule
        records.write(RunRecord(running.run.tag.base, running.generation, running.task_id, done=True))


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
    """Return whether a next try looks for its SOPS task under the same tag: a retry, and on old Airflows a clear."""
    return retry_is_left(ti) if out_of_time else kill is Kill.CLEARED and not CLEARING_RAISES_MAX_TRIES
