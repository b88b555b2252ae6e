# SPDX-License-Identifier: Apache-2.0
"""What follows from a reading that failed."""

from __future__ import annotations

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.wait.outage import ends_at_once, observe_outage
from airflow_provider_sops.core.wait.verdict import Next

NO_ANSWER = errors.SopsConnectionError("no answer")


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (errors.SopsConnectionError, False, False),
        (errors.SopsRateLimitError, False, False),
        (errors.SopsInvalidAnswerError, False, False),
        (errors.SopsAuthenticationError, True, False),
        (errors.SopsNotFoundError, True, True),
        (errors.SopsIamDeniedError, True, True),
        (errors.SopsUnusableConnectionError, True, True),
    ],
)
def test_which_errors_end_a_wait_at_once(kind: type[errors.SopsError], before: bool, after: bool) -> None:
    assert ends_at_once(kind("no"), had_answer=False) is before
    assert ends_at_once(kind("no"), had_answer=True) is after


def test_the_first_failed_reading_is_logged() -> None:
    first = observe_outage(7, NO_ANSWER, begins=True, lasted=0.0, max_outage=600.0)
    assert (first.next, first.error, first.outage) == (Next.WAIT, NO_ANSWER, False)
    text = "Cannot read the status of SOPS task 7; going on for up to 600 s (max_outage). no answer"
    assert [(line.text, line.warning) for line in first.lines] == [(text, True)]
    later = observe_outage(7, NO_ANSWER, begins=False, lasted=599.9, max_outage=600.0)
    assert (later.next, later.lines) == (Next.WAIT, ())


def test_one_that_lasts_too_long_ends_the_wait() -> None:
    last = observe_outage(7, NO_ANSWER, begins=False, lasted=600.0, max_outage=600.0, what="outputs")
    assert (last.next, last.error, last.outage) == (Next.FAILURE, NO_ANSWER, True)
    assert last.reason.startswith("the outputs of SOPS task 7 could not be read for 600 s (max_outage is 600 s).")
    assert last.reason.endswith("Last error: no answer")


def test_without_tolerance_the_first_one_is_the_last() -> None:
    only = observe_outage(7, NO_ANSWER, begins=True, lasted=0.0, max_outage=0.0)
    assert (only.next, only.outage, len(only.lines)) == (Next.FAILURE, True, 1)
