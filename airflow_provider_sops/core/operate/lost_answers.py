# SPDX-License-Identifier: Apache-2.0
"""Calls that change something and whose answer was lost: it may have been done all the same."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.errors import nobody_answers

#: How often a call is sent whose answer was lost, where SOPS does not do the same twice.
SENDS = 3
#: Seconds in between.
SEND_PAUSE = 2.0


def may_have_happened(error: errors.SopsError) -> bool:
    """Return whether what was asked may have been done although no good answer has come."""
    if isinstance(error, errors.SopsConnectionError | errors.SopsTimeoutError):
        return error.may_have_been_sent
    if isinstance(error, errors.SopsGatewayUnavailableError | errors.SopsInvalidAnswerError):
        return True
    return nobody_answers(error)
