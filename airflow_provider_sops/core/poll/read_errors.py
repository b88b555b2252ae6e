# SPDX-License-Identifier: Apache-2.0
"""What the error of a read says, and about whom: one task, a batch, or all."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.http.gateway_refusals import crashed
from airflow_provider_sops.core.status_reading import DEFINITE

#: Errors of a single read that may be about its task alone, as well as about SOPS.
PERHAPS_OF_ONE_TASK = (errors.SopsApiError, errors.SopsInvalidAnswerError, errors.SopsGatewayUnavailableError)


def is_refusal(error: errors.SopsError) -> bool:
    """Return whether it was SOPS that refused a batch, or crashed: one of its tasks may be to blame."""
    return isinstance(error, errors.SopsApiError) or crashed(error)


def of_a_batch(error: errors.SopsError) -> errors.SopsError:
    """Weaken a batch's refusal: it may be about any one of its tasks, so it must not end a wait at once."""
    if not (isinstance(error, errors.SopsApiError) and isinstance(error, DEFINITE)):
        return error
    made = errors.SopsApiError(*error.args)
    made.__dict__.update(vars(error))
    return made


def internal(error: Exception) -> errors.SopsError:
    """Make of a fault of the provider an error that waits can be given."""
    made = errors.SopsError(f"reading the states failed inside the provider: {type(error).__name__}: {error}")
    made.__cause__ = error
    return made
