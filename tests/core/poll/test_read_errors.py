# SPDX-License-Identifier: Apache-2.0
"""What the error of a read says, and about whom."""

from __future__ import annotations

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.poll.read_errors import is_refusal, of_a_batch


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (errors.SopsApiError("no"), True),
        (errors.SopsNotFoundError("no such task"), True),
        (errors.SopsConnectionError("reset"), False),
        (errors.SopsRateLimitError("too many"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_is_what_sops_itself_says(error: errors.SopsError, refusal: bool) -> None:
    assert is_refusal(error) is refusal


def test_of_a_batch_nothing_is_definite() -> None:
    error = errors.SopsNotFoundError("no such task")
    error.code = 3540400
    weakened = of_a_batch(error)
    assert type(weakened) is errors.SopsApiError
    assert (str(weakened), getattr(weakened, "code", None)) == (str(error), 3540400)


def test_what_is_not_definite_stays_as_it_is() -> None:
    for error in (errors.SopsApiError("no"), errors.SopsConnectionError("reset")):
        assert of_a_batch(error) is error
