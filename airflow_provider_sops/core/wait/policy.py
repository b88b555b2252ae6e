# SPDX-License-Identifier: Apache-2.0
"""What a wait takes for success and for failure, as the author of a DAG says it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.states import FINAL_STATES, TaskState

OnFailed = Literal["fail", "wait"]
OnSuspended = Literal["wait", "fail"]


class WaitPolicy(NamedTuple):
    """What a wait takes for success and for failure. All durations are seconds.

    A named tuple, as reading a DAG file imports it, and takes it sooner than a dataclass.
    """

    #: final states that count as success
    allowed_states: frozenset[TaskState] = frozenset({TaskState.FINISHED})
    #: ``fail`` as soon as no automatic retry is pending, or ``wait`` for a person to retry or skip the failed node
    on_failed: OnFailed = "fail"
    #: how long a task may stay FAILED before the wait fails; ``None``: at once for ``fail``, for ever for ``wait``
    failed_grace: float | None = None
    #: ``wait`` for a person to resume a paused task, or ``fail``
    on_suspended: OnSuspended = "wait"
    #: how long failed reads are tolerated
    max_outage: float = 600.0
    #: take an end whose state cannot be read (detail only) for FINISHED
    assume_finished: bool = False

    @property
    def grace(self) -> float | None:
        """Seconds from FAILED to failure; ``None`` is for ever."""
        if self.failed_grace is not None:
            return self.failed_grace
        return 0.0 if self.on_failed == "fail" else None


def parse_allowed_states(states: Iterable[str]) -> frozenset[TaskState]:
    """Read the final states that count as success.

    :raises SopsConfigError: for a word that is not a final state: a task that is not in one may still go on.
    """
    names = [states] if isinstance(states, str) else list(states)
    finals = {state.value: state for state in FINAL_STATES}
    for name in names:
        if str(name) not in finals:
            raise SopsConfigError(
                "allowed_states", f"{name!s} is not a final state of SOPS; there are: {', '.join(sorted(finals))}"
            )
    if not names:
        raise SopsConfigError("allowed_states", "must name at least one final state")
    return frozenset(finals[str(name)] for name in names)


def check_choice(field: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a word that is none of the choices.

    :raises SopsConfigError: naming the field and the choices.
    """
    if value not in choices:
        raise SopsConfigError(field, f"must be {' or '.join(repr(choice) for choice in choices)}, not {value!r}")
