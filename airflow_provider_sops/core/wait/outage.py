# SPDX-License-Identifier: Apache-2.0
"""What follows from a reading that failed: most errors begin an outage, which is tolerated for a time."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.call_flow import LogLine
from airflow_provider_sops.core.errors import nobody_answers
from airflow_provider_sops.core.status_reading import DEFINITE
from airflow_provider_sops.core.wait.observation import Observation
from airflow_provider_sops.core.wait.verdict import Next


def ends_at_once(error: errors.SopsError, *, had_answer: bool) -> bool:
    """Return whether an error ends a wait without any tolerance.

    :param had_answer: SOPS has answered this wait before. Wrong credentials may then be a rotation under way, and an
        address where nobody answers a restart, so both are tolerated.
    """
    if isinstance(error, errors.SopsAuthenticationError) or nobody_answers(error):
        return not had_answer
    return isinstance(error, DEFINITE)


def observe_outage(
    task_id: int, error: errors.SopsError, *, begins: bool, lasted: float, max_outage: float, what: str = "status"
) -> Observation:
    """Return what follows from a failed reading in an outage: wait on, or fail when it has lasted too long.

    :param error: why the reading failed.
    :param begins: it is the first of this outage, which the log is to say.
    :param lasted: seconds since the first.
    :param max_outage: seconds that an outage may last.
    :param what: what could not be read.
    """
    lines: tuple[LogLine, ...] = ()
    if begins:
        text = (
            f"Cannot read the {what} of SOPS task {task_id}; going on for up to {max_outage:.0f} s (max_outage). "
            f"{error}"
        )
        lines = (LogLine(text, warning=True),)
    if lasted < max_outage:
        return Observation(Next.WAIT, error=error, lines=lines)
    reason = (
        f"the {what} of SOPS task {task_id} could not be read for {lasted:.0f} s "
        f"(max_outage is {max_outage:.0f} s). The task itself was not touched and may still run. "
        f"Last error: {error}"
    )
    return Observation(Next.FAILURE, error=error, reason=reason, outage=True, lines=lines)
