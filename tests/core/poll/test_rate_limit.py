# SPDX-License-Identifier: Apache-2.0
"""The pause of waits' own calls after a refusal for their number."""

from __future__ import annotations

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.poll.rate_limit import RateLimitPause

NOW = 1000.0
CALL = Project(2).call("get_task_status", task_id=7)


def refusal(retry_after: float | None) -> errors.SopsRateLimitError:
    error = errors.SopsRateLimitError("too many requests")
    error.code, error.retry_after = 1642902, retry_after
    return error


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 10.0), (1.0, 10.0), (60.0, 60.0)])
def test_they_pause_for_an_interval_or_as_long_as_the_server_asks(retry_after: float | None, seconds: float) -> None:
    pause = RateLimitPause()
    pause.check(CALL, NOW)
    pause.begin(refusal(retry_after), NOW, 10.0)
    with pytest.raises(errors.SopsRateLimitError, match=r"SOPS task 7: .*not asked") as caught:
        pause.check(CALL, NOW + seconds - 0.1)
    assert (caught.value.task_id, caught.value.code, caught.value.retry_after) == (7, 1642902, retry_after)
    pause.check(CALL, NOW + seconds)
