# SPDX-License-Identifier: Apache-2.0
"""The errors of talking to SOPS: one small tree that a retry policy can tell apart.

::

    SopsError
    ├── SopsConnectionError            nobody answered: refused, reset, DNS, TLS, proxy
    ├── SopsTimeoutError               no (whole) answer in time
    ├── SopsGatewayError               the gateway or ESB in front of SOPS refused
    │   ├── SopsAuthenticationError        app or user credentials are wrong or missing
    │   ├── SopsApiPermissionError         the app was not granted this one API
    │   ├── SopsIpRefusedError             the caller's address is not allowed
    │   ├── SopsRateLimitError             too many requests
    │   ├── SopsApiNotFoundError           no such API behind this address
    │   └── SopsGatewayUnavailableError    the gateway, ESB or SOPS behind it is broken for now
    ├── SopsApiError                   SOPS itself says no
    │   ├── SopsNotFoundError
    │   ├── SopsInvalidParameterError
    │   ├── SopsInvalidOperationError
    │   └── SopsIamDeniedError             the user may not do this (IAM)
    ├── SopsInvalidAnswerError         the answer is not one of SOPS'
    └── SopsUnusableConnectionError    nothing was asked: a field of the connection is wrong
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from airflow_provider_sops.core.text import LONGEST_ID, LONGEST_WORD, fits, storable, text_of

E = TypeVar("E", bound="SopsError")

_LONGEST_WHAT = 1000
_LONGEST_REMOTE_MESSAGE = 1000


class AnyCall(Protocol):
    """What an error says of the call that failed."""

    @property
    def name(self) -> str: ...

    @property
    def task_id(self) -> int | None: ...


class SopsError(Exception):
    """A call of a SOPS API did not give a usable answer.

    :param message: the whole text shown to people; holds no secret. It is made storable.

    The attributes say the same to programs; each is ``None`` where it is not known.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(storable(arg) if isinstance(arg, str) else arg for arg in args))

    #: name of the API, e.g. ``get_task_status``
    api: str | None = None
    #: id of the SOPS task the call was about
    task_id: int | None = None
    #: code of SOPS or of the gateway
    code: int | str | None = None
    #: what the remote side said, shortened to one line
    remote_message: str | None = None
    #: the request's or trace's id, for the people who run SOPS or the gateway
    request_id: str | None = None
    #: HTTP status of the answer
    http_status: int | None = None
    #: seconds that the server asked to wait before another try
    retry_after: float | None = None


class SopsConnectionError(SopsError):
    """Nobody answered: connection refused or reset, unknown host, TLS or proxy failure."""

    #: False when it is known that the request never reached the server
    may_have_been_sent: bool = True


class SopsTimeoutError(SopsError):
    """No answer, or not all of it, within the time limit."""

    #: False when it is known that the request never reached the server (connect timeout)
    may_have_been_sent: bool = True


class SopsGatewayError(SopsError):
    """The API gateway or ESB in front of SOPS refused the request."""


class SopsAuthenticationError(SopsGatewayError):
    """App code, app secret, user or token is wrong or missing."""


class SopsApiPermissionError(SopsGatewayError):
    """The app has not been granted this one API."""


class SopsIpRefusedError(SopsGatewayError):
    """The gateway does not accept requests from this address."""


class SopsRateLimitError(SopsGatewayError):
    """Too many requests; ``retry_after`` says how long to wait, where the gateway said so."""


class SopsApiNotFoundError(SopsGatewayError):
    """There is no such API behind the configured address."""

    #: False when it may just be that nothing stands behind the address for now
    certain: bool = False


class SopsGatewayUnavailableError(SopsGatewayError):
    """The gateway, or SOPS behind it, is broken or overloaded for now."""


class SopsApiError(SopsError):
    """SOPS was reached and said no."""


class SopsNotFoundError(SopsApiError):
    """No such task, template or business (or it belongs to another project, or is deleted)."""


class SopsInvalidParameterError(SopsApiError):
    """SOPS does not accept a parameter."""


class SopsInvalidOperationError(SopsApiError):
    """What was asked cannot be done in the task's present state."""


class SopsIamDeniedError(SopsApiError):
    """The user in whose name the call was made may not do this."""


class SopsInvalidAnswerError(SopsError):
    """The answer is not one of SOPS': HTML, a redirect, truncated JSON, wrong types."""


class SopsUnusableConnectionError(SopsError):
    """Nothing was asked, as a field of the connection cannot be used: the text of a :class:`SopsConfigError`."""


def make_error(
    kind: type[E],
    call: AnyCall,
    what: str,
    *,
    code: int | str | None = None,
    remote_message: str | None = None,
    status: int | None = None,
    request_id: str | None = None,
    retry_after: float | None = None,
    hint: str | None = None,
) -> E:
    """Make an error whose text and attributes hold all that is known of a failed call.

    :param what: what happened, in a few words.
    :param code: of SOPS or of the gateway, as it stands in the answer.
    :param hint: what to do about it, as whole sentences; it is never cut, as long texts of others are.
    """
    what = storable(what, _LONGEST_WHAT)
    remote_message = None if remote_message is None else storable(remote_message, _LONGEST_REMOTE_MESSAGE)
    request_id = None if request_id is None else storable(request_id, LONGEST_ID)
    code = code if code is None or (isinstance(code, int) and fits(code)) else text_of(code, LONGEST_WORD)
    subject = call.name if call.task_id is None else f"{call.name} of SOPS task {call.task_id}"
    facts = [f"code {code}" if code not in (None, "") else "", f"HTTP {status}" if status and status != 200 else ""]
    known = ", ".join(fact for fact in facts if fact)
    text = f"{subject}: {what}" + (f" ({known})" if known and "HTTP" not in what else "")
    if remote_message:
        text += f": {remote_message}"
    if request_id:
        text += f" [request id {request_id}]"
    error = kind(f"{text}{'' if text.endswith(('.', '!', '。')) else '.'}" + (f" {hint}" if hint else ""))
    error.api, error.task_id = call.name, call.task_id
    error.code, error.remote_message = code, remote_message
    error.http_status, error.request_id, error.retry_after = status, request_id, retry_after
    return error


def advised(error: E, advice: str) -> E:
    """Return the same error with what to do about it."""
    made = type(error)(f"{error} {advice}")
    made.__dict__.update(error.__dict__)
    return made


def nobody_answers(error: SopsError) -> bool:
    """Return whether perhaps nothing stands behind the address for now: a 404 that no gateway has signed."""
    return isinstance(error, SopsApiNotFoundError) and not error.certain


def perhaps_missing(error: SopsError) -> bool:
    """Return whether it may be that SOPS lacks the API, or as well that the whole site is away for now.

    SOPS redirects what it does not have, and a login page redirects everything; through ESB, and where no gateway has
    signed it, it is a 404. What another API answers tells the two apart, see
    :class:`~airflow_provider_sops.core.http.api_availability.ApiAvailability`.
    """
    redirected = isinstance(error, SopsInvalidAnswerError) and 300 <= (error.http_status or 0) < 400
    return redirected or nobody_answers(error)


def looks_missing(error: SopsError) -> bool:
    """Return whether SOPS lacks the API, for certain or perhaps."""
    return isinstance(error, SopsApiNotFoundError) or perhaps_missing(error)


class SopsConfigError(ValueError):
    """A field of the connection is missing, wrong or contradicts another one.

    :param field: the field's name as a user types it.
    :param problem: what is wrong with it and what to write instead; holds no secret.
    """

    def __init__(self, field: str, problem: str) -> None:
        problem = storable(problem)
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"
