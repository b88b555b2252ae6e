# SPDX-License-Identifier: Apache-2.0
"""Which ways of reading are granted, learnt from refusals."""

from __future__ import annotations

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.poll.permissions import (
    BATCH_RETRY,
    MISSING_BATCH_NOTICE,
    NO_BATCH_NOTICE,
    PollPermissions,
)

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
    permissions = PollPermissions()
    assert permissions.doubts_batches(error) is before_an_answer
    permissions.note_batch_answer()
    assert permissions.doubts_batches(error) is after_it


@pytest.mark.parametrize(("error", "notice"), [(DENIED, NO_BATCH_NOTICE), (MISSING, MISSING_BATCH_NOTICE)])
def test_the_notice_says_why(error: errors.SopsError, notice: str) -> None:
    permissions = PollPermissions()
    assert permissions.deny_batches(error) == f"{notice} (What it said: {error})"
    assert permissions.batch_notice == notice  # for those that join later
    assert not permissions.batches


def test_all_that_was_denied_is_tried_again_when_the_first_denial_is_old_enough() -> None:
    permissions = PollPermissions()
    permissions.single.status = False
    permissions.note_denials(NOW)
    permissions.deny_batches(DENIED)
    permissions.note_denials(NOW + 1000)
    assert permissions.details_alone
    permissions.retry_if_due(NOW + BATCH_RETRY - 1)
    assert permissions.details_alone
    permissions.retry_if_due(NOW + BATCH_RETRY)
    assert permissions.batches
    assert permissions.single.status
    permissions.deny_batches(DENIED)
    permissions.note_denials(NOW + BATCH_RETRY + 1)
    permissions.retry_if_due(NOW + BATCH_RETRY + 2)
    assert not permissions.batches  # counted anew


def test_details_alone_are_what_is_left_without_batches_and_single_statuses() -> None:
    permissions = PollPermissions()
    permissions.single.status = False
    assert not permissions.details_alone
    permissions.deny_batches(DENIED)
    assert permissions.details_alone
