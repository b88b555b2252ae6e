# SPDX-License-Identifier: Apache-2.0
"""The errors of :mod:`airflow_provider_sops.core.errors` as Airflow's users meet them: each an ``AirflowException``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_sops.core import errors

__all__ = [
    "SopsApiException",
    "SopsApiNotFoundException",
    "SopsApiPermissionException",
    "SopsApprovalRejectedException",
    "SopsApprovalTimeoutException",
    "SopsAuthenticationException",
    "SopsConfigException",
    "SopsConnectionException",
    "SopsException",
    "SopsGatewayException",
    "SopsGatewayUnavailableException",
    "SopsIamDeniedException",
    "SopsInvalidAnswerException",
    "SopsInvalidOperationException",
    "SopsInvalidParameterException",
    "SopsIpRefusedException",
    "SopsNotFoundException",
    "SopsOutageException",
    "SopsOutputsException",
    "SopsRateLimitException",
    "SopsTaskFailedException",
    "SopsTaskStoppedException",
    "SopsTimedOutException",
    "SopsTimeoutException",
    "SopsTriggerEventException",
]


class SopsException(AirflowException, errors.SopsError):
    """Base of all errors of calling SOPS."""


class SopsConnectionException(SopsException, errors.SopsConnectionError):
    """Nobody answered: connection refused or reset, unknown host, TLS or proxy failure."""


class SopsTimeoutException(SopsException, errors.SopsTimeoutError):
    """No answer, or not all of it, within the time limit."""


class SopsGatewayException(SopsException, errors.SopsGatewayError):
    """The API gateway or ESB in front of SOPS refused the request."""


class SopsAuthenticationException(SopsGatewayException, errors.SopsAuthenticationError):
    """App code, app secret, user or token is wrong or missing."""


class SopsApiPermissionException(SopsGatewayException, errors.SopsApiPermissionError):
    """The app has not been granted this one API."""


class SopsIpRefusedException(SopsGatewayException, errors.SopsIpRefusedError):
    """The gateway does not accept requests from this address."""


class SopsRateLimitException(SopsGatewayException, errors.SopsRateLimitError):
    """Too many requests."""


class SopsApiNotFoundException(SopsGatewayException, errors.SopsApiNotFoundError):
    """There is no such API behind the configured address."""


class SopsGatewayUnavailableException(SopsGatewayException, errors.SopsGatewayUnavailableError):
    """The gateway, or SOPS behind it, is broken or overloaded for now."""


class SopsApiException(SopsException, errors.SopsApiError):
    """SOPS was reached and said no."""


class SopsNotFoundException(SopsApiException, errors.SopsNotFoundError):
    """No such task, template or business."""


class SopsInvalidParameterException(SopsApiException, errors.SopsInvalidParameterError):
    """SOPS does not accept a parameter."""


class SopsInvalidOperationException(SopsApiException, errors.SopsInvalidOperationError):
    """What was asked cannot be done in the task's present state."""


class SopsIamDeniedException(SopsApiException, errors.SopsIamDeniedError):
    """The user in whose name the call was made may not do this."""


class SopsInvalidAnswerException(SopsException, errors.SopsInvalidAnswerError):
    """The answer is not one of SOPS': HTML, a redirect, truncated JSON, wrong types."""


class SopsOutageException(SopsException):
    """A task's status could not be read for longer than ``max_outage``. The SOPS task was not touched."""


class SopsConfigException(AirflowException, errors.SopsConfigError):
    """A field of the connection, or an argument, is missing, wrong or contradicts another one."""


class SopsTaskFailedException(AirflowException):
    """The SOPS task failed, or ended in a state that does not count as success.

    :param message: names the task, the failed nodes and the task's page.
    """

    #: id of the SOPS task
    sops_task_id: int | None = None
    #: its state, as SOPS writes it
    state: str = ""


class SopsTaskStoppedException(SopsTaskFailedException, AirflowFailException):
    """Somebody stopped or deleted the SOPS task: Airflow does not retry."""


class SopsTimedOutException(SopsTaskFailedException):
    """The SOPS task did not start or end in the time it was given."""


class SopsApprovalRejectedException(AirflowFailException):
    """Somebody rejected what the SOPS task waits for: Airflow does not retry."""


class SopsApprovalTimeoutException(AirflowException):
    """Nobody answered in the time that was given."""


class SopsOutputsException(AirflowException):
    """The outputs of a SOPS task cannot be used: the task is not finished, or a wanted key is absent."""

    #: address of the task's page, where it is known
    task_url: str = ""


class SopsTriggerEventException(AirflowException):
    """What a trigger sent back is not an event of this provider; the state of the SOPS task is unknown."""


_BY_ERROR: dict[type[errors.SopsError], type[SopsException]] = {
    errors.SopsConnectionError: SopsConnectionException,
    errors.SopsTimeoutError: SopsTimeoutException,
    errors.SopsGatewayError: SopsGatewayException,
    errors.SopsAuthenticationError: SopsAuthenticationException,
    errors.SopsApiPermissionError: SopsApiPermissionException,
    errors.SopsIpRefusedError: SopsIpRefusedException,
    errors.SopsRateLimitError: SopsRateLimitException,
    errors.SopsApiNotFoundError: SopsApiNotFoundException,
    errors.SopsGatewayUnavailableError: SopsGatewayUnavailableException,
    errors.SopsApiError: SopsApiException,
    errors.SopsNotFoundError: SopsNotFoundException,
    errors.SopsInvalidParameterError: SopsInvalidParameterException,
    errors.SopsInvalidOperationError: SopsInvalidOperationException,
    errors.SopsIamDeniedError: SopsIamDeniedException,
    errors.SopsInvalidAnswerError: SopsInvalidAnswerException,
}


def as_airflow(error: errors.SopsError) -> SopsException:
    """Return the same error as an ``AirflowException``, with its attributes and its cause."""
    if isinstance(error, SopsException):
        return error
    made = _BY_ERROR.get(type(error), SopsException)(str(error))
    made.__dict__.update(error.__dict__)
    made.__cause__ = error.__cause__
    return made


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Let errors of the layer without Airflow leave a block as ``AirflowException``."""
    try:
        yield
    except (SopsException, SopsConfigException):
        raise
    except errors.SopsConfigError as error:
        raise SopsConfigException(error.field, error.problem) from error
    except errors.SopsError as error:
        made = as_airflow(error)
        raise made from made.__cause__
