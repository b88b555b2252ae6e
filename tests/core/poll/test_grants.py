# SPDX-License-Identifier: Apache-2.0
"""Which ways of reading are granted, learnt from refusals."""

from __future__ import annotations

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.poll.grants import BATCH_RETRY, MISSING_BATCH_NOTICE, NO_BATCH_NOTICE, PollGrants

DENIED = errors.SopsApiPermissionError("the app may not call it")
IAM = errors.SopsIamDeniedError("the user may not see them all")
MISSING = errors.SopsApiNotFoundError("there is no such API")
MISSING.certain = True
#: An unsigned 404: this API is not there, or nothing is.
UNSIGNED = errors.SopsApiNotFoundError("nobody answers")
REFUSAL = errors.SopsApiError("one of the tasks")
NOW = 1000.0


@pytest.mark.parametrize(
    ("error", "before_an_answer", "after_it"),
    [(DENIED, True, True), (IAM, True, True), (MISSING, True, True), (UNSIGNED, True, False), (REFUSAL, False, False)],
    ids=["denied", "IAM", "missing", "unsigned 404", "refusal"],
)
def test_what_makes_it_do_without_batches(error: errors.SopsError, before_an_answer: bool, after_it: bool) -> None:
    grants = PollGrants()
    assert grants.doubts_batches(error) is before_an_answer
    grants.note_batch_answer()
    assert grants.doubts_batches(error) is after_it


@pytest.mark.parametrize(("error", "notice"), [(DENIED, NO_BATCH_NOTICE), (MISSING, MISSING_BATCH_NOTICE)])
def test_the_notice_says_why(error: errors.SopsError, notice: str) -> None:
    grants = PollGrants()
    assert grants.deny_batches(error) == f"{notice} (What it said: {error})"
    assert grants.batch_notice == notice  # for those that join later
    assert not grants.batches


def test_all_that_was_denied_is_tried_again_when_the_first_denial_is_old_enough() -> None:
    grants = PollGrants()
    grants.single.status = False
    grants.note_denials(NOW)
    grants.deny_batches(DENIED)
    grants.note_denials(NOW + 1000)
    assert grants.details_alone
    grants.retry_if_due(NOW + BATCH_RETRY - 1)
    assert grants.details_alone
    grants.retry_if_due(NOW + BATCH_RETRY)
    assert grants.batches
    assert grants.single.status
    grants.deny_batches(DENIED)
    grants.note_denials(NOW + BATCH_RETRY + 1)
    grants.retry_if_due(NOW + BATCH_RETRY + 2)
    assert not grants.batches  # counted anew


def test_details_alone_are_what_is_left_without_batches_and_single_statuses() -> None:
    grants = PollGrants()
    grants.single.status = False
    assert not grants.details_alone
    grants.deny_batches(DENIED)
    assert grants.details_alone
