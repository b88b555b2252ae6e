# SPDX-License-Identifier: Apache-2.0
"""What the API gateway or ESB in front of SOPS says instead of an answer of SOPS.

Whose word is it?
=================

The gateway or ESB, SOPS behind it, and proxies and web servers on the way all write replies, and all but the last
write alike: a JSON object with ``result``, ``code`` and ``message``. These rules tell them apart; the first that fits
counts (:func:`find_refusal`):

1. The gateway signs what it refuses by a header, ``X-Bkapi-Error-Code``: its code counts, and rules 2 and 3 do not.
2. ``result: true`` with a good HTTP status is an answer of SOPS, whatever its code.
3. A denial in the words of IAM is SOPS' "no", whatever its HTTP status, and also where ESB quotes it.
4. ESB's code for everything, 1306000, is ESB's word only if it goes with words of ESB; else ESB has handed
   on a "no" of an old SOPS that has no codes.
5. A code of the gateway or of ESB is theirs. The gateway's is ``16``, an HTTP status and two more digits: 1640101.
   ESB's is ``1306`` and three digits, of which the 4.. are an HTTP status, and the 2.. say that ESB's own request to
   SOPS failed: 1306401, 1306201.
6. An object with a ``result`` is SOPS' if the HTTP status is good, or 500: SOPS crashed. With any other it is not.
7. Anything else with an HTTP status from 400 on is a refusal that has no code.

What was refused?
=================

The code says it, or the range that it lies in, or else the HTTP status: see the tables below. A few codes mean several
things, which only the words tell apart.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.catalogue import APIS
from airflow_provider_sops.core.api.refusals import SOPS_CRASHED, is_iam_denial
from airflow_provider_sops.core.api.sops_releases import since
from airflow_provider_sops.core.errors import make_error
from airflow_provider_sops.core.http.reply import HttpReply
from airflow_provider_sops.core.remote_message import one_line
from airflow_provider_sops.core.text import read_int

_GATEWAY_CODES = range(1_640_000, 1_660_000)
#: ESB sends its refusals with HTTP 200.
_ESB_CODES = range(1_306_000, 1_307_000)
#: ESB's own request to SOPS failed.
_ESB_REQUEST_FAILED = range(1_306_200, 1_306_300)
#: ESB's code where there is none: credentials that it refuses, a component of its own that failed, and an old SOPS
#: that said no without a code.
_ESB_UNCODED = 1_306_000
#: Wrong parameters; newer versions of ESB refuse credentials with it.
_ESB_PARAMETERS = 1_306_406
#: Wrong parameters; older versions of the gateway refuse credentials with it.
_GATEWAY_PARAMETERS = 1_640_001

_BY_CODE: Mapping[int, type[errors.SopsGatewayError]] = {
    1_640_101: errors.SopsAuthenticationError,
    1_640_102: errors.SopsAuthenticationError,
    1_640_301: errors.SopsApiPermissionError,
    1_640_302: errors.SopsIpRefusedError,
    1_640_401: errors.SopsApiNotFoundError,
    1_306_401: errors.SopsAuthenticationError,
    1_306_402: errors.SopsApiPermissionError,
    1_306_403: errors.SopsApiPermissionError,
    1_306_404: errors.SopsApiNotFoundError,
    1_306_405: errors.SopsApiNotFoundError,
    1_306_429: errors.SopsRateLimitError,
}
_BY_RANGE: tuple[tuple[Container[int], type[errors.SopsGatewayError]], ...] = (
    ((_ESB_UNCODED,), errors.SopsGatewayUnavailableError),
    (_ESB_REQUEST_FAILED, errors.SopsGatewayUnavailableError),
    (range(1_642_900, 1_643_000), errors.SopsRateLimitError),
    (range(1_650_000, 1_660_000), errors.SopsGatewayUnavailableError),
)
_BY_STATUS: Mapping[int, type[errors.SopsGatewayError]] = {
    401: errors.SopsAuthenticationError,
    403: errors.SopsAuthenticationError,
    404: errors.SopsApiNotFoundError,
    429: errors.SopsRateLimitError,
}
#: ESB does not permit the user, as against the app.
_USER_NOT_PERMITTED = 1_306_402
#: With these codes, credentials may be what is refused: the words tell it.
_PERHAPS_CREDENTIALS = (_ESB_UNCODED, _ESB_PARAMETERS, _GATEWAY_PARAMETERS)
_CREDENTIALS_WORDS = re.compile(
    r"app (code|secret)|app_(code|secret)|signature|authentication|access_token|user token|bk_token|bk_username", re.I
)
_ESB_ITSELF = re.compile(r"component error|system error|internal server error", re.I)
#: What ESB says when SOPS has no such API: SOPS redirects paths that it does not know.
_ESB_NOT_FOUND = re.compile(r"status code: (302|404|405)", re.I)
#: What ESB says of a request over which SOPS crashed.
_ESB_CRASH = "Status Code: 500"

_REFUSED_BY_405 = "SOPS 3.3 and 3.4 answer 405 also to an app or credentials that they do not accept"
_HINTS: Mapping[type[errors.SopsGatewayError], str] = {
    errors.SopsAuthenticationError: (
        "Check the connection's login (app code) and password (app secret), and bk_username, bk_token or access_token "
        "in its extra."
    ),
    errors.SopsApiPermissionError: (
        "Apply for the API permission {api!r} of bk-sops for {app} in the BlueKing developer center."
    ),
    errors.SopsIpRefusedError: "Ask the gateway's administrators to allow the address of the Airflow workers.",
    errors.SopsRateLimitError: (
        "Ask less often (a larger poke_interval), or ask for a higher rate limit for {app} on {api!r}."
    ),
    errors.SopsApiNotFoundError: (
        "Check the connection's host and api_type ({api_type}); this SOPS may be too old to have {api!r}{since}."
    ),
    errors.SopsGatewayUnavailableError: "Try again later; if it goes on, tell those who run the gateway or SOPS.",
}
_OTHER_HINT = "Check the call's parameters; those who run the gateway can look the request id up."


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the gateway, ESB or something else on the way said."""

    #: HTTP status
    status: int
    code: int | None
    message: str

    @property
    def error_class(self) -> type[errors.SopsGatewayError]:
        """What kind of refusal it is: by the code, else by the HTTP status."""
        if self.code is not None:
            if self.code in _BY_CODE:
                return _BY_CODE[self.code]
            if self.code in _PERHAPS_CREDENTIALS and _CREDENTIALS_WORDS.search(self.message):
                return errors.SopsAuthenticationError
            if self.code in _ESB_REQUEST_FAILED and _ESB_NOT_FOUND.search(self.message):
                return errors.SopsApiNotFoundError
            for codes, kind in _BY_RANGE:
                if self.code in codes:
                    return kind
        unlisted = errors.SopsGatewayUnavailableError if self.status >= 500 else errors.SopsGatewayError
        return _BY_STATUS.get(self.status, unlisted)


def find_refusal(reply: HttpReply, body: Mapping[str, Any] | None, secrets: Iterable[str]) -> Refusal | None:
    """Find out whether somebody before SOPS has refused a request.

    :param body: the reply's JSON object, if it is one.
    :param secrets: are replaced in what it says.
    :return: ``None`` when SOPS itself has answered, or nobody who can be named.
    """
    said = body or {}
    result = said.get("result")
    signed = read_int(reply.headers.get("x-bkapi-error-code"))
    code = signed or read_int(said.get("code"))
    message = one_line(reply.headers.get("x-bkapi-error-message") or said.get("message"), secrets)
    refusal = Refusal(reply.status, code, message)
    if not signed and result is True and reply.status < 300:
        return None  # SOPS 3.5 gives a good start the code of a failed operation
    if not signed and result is False and is_iam_denial(code, message):
        return None
    if code == _ESB_UNCODED and not _esb_means_itself(message):
        return None
    if code is not None and (code in _GATEWAY_CODES or code in _ESB_CODES):
        return refusal
    if isinstance(result, bool):
        return None if reply.status < 300 or reply.status == 500 else refusal
    return Refusal(reply.status, None, reply.excerpt(secrets)) if reply.status >= 400 else None


def gateway_error(
    call: Call, refusal: Refusal, *, api_type: str, app: str, retry_after: float | None, request_id: str | None
) -> errors.SopsGatewayError:
    """Make the error of a refused call.

    :param api_type: ``apigw`` or ``esb``.
    :param app: the app in whose name it was sent, in words.
    :param retry_after: seconds that the reply asks to wait.
    """
    kind = refusal.error_class
    gateway = "the API gateway" if api_type == "apigw" else "ESB"
    what = f"{gateway} refused"
    if kind is errors.SopsGatewayUnavailableError:
        what = f"{gateway}, or SOPS behind it, is not available"
    if retry_after is not None:
        what += f" and asks to wait {retry_after:.0f} s"
    error = make_error(
        kind,
        call,
        what,
        code=refusal.code,
        remote_message=refusal.message,
        status=refusal.status,
        request_id=request_id,
        retry_after=retry_after,
        hint=_hint(call, refusal, api_type, app),
    )
    if isinstance(error, errors.SopsApiNotFoundError):
        error.certain = _BY_CODE.get(refusal.code or 0) is errors.SopsApiNotFoundError
    return error


def answered_405(message: str) -> bool:
    """Return whether ESB says that SOPS answered 405: 3.3 and 3.4 do so to those whom they do not let in."""
    return "status code: 405" in message.lower()


def crashed(error: errors.SopsError) -> bool:
    """Return whether SOPS itself failed inside: for now, or over what it was asked, perhaps one of several tasks."""
    if not isinstance(error, errors.SopsGatewayUnavailableError):
        return False
    code = read_int(error.code)
    if code == SOPS_CRASHED or _ESB_CRASH in (error.remote_message or ""):
        return True
    # a page of SOPS has no code at all
    return error.http_status == 500 and code not in _GATEWAY_CODES and code not in _ESB_CODES


def _esb_means_itself(message: str) -> bool:
    """Return whether ESB's code for everything goes with words of ESB, not of SOPS."""
    return not message or bool(_CREDENTIALS_WORDS.search(message) or _ESB_ITSELF.search(message))


def _hint(call: Call, refusal: Refusal, api_type: str, app: str) -> str:
    """Return what to do about a refusal."""
    if refusal.code == _USER_NOT_PERMITTED:
        return f"Let the user of the connection be permitted to use {call.name!r} of SOPS through ESB."
    if refusal.status == 405:
        # SOPS' own answer is a page without a code
        hint = f"{call.name!r} was called by {call.method}: say another http_method"
        if refusal.code is not None or call.name not in APIS or APIS[call.name].method != call.method:
            return f"{hint}."
        return f"{_REFUSED_BY_405}: check these. If they are right: {hint}."
    kind = refusal.error_class
    hint = _HINTS.get(kind, _OTHER_HINT).format(api=call.name, app=app, api_type=api_type, since=since(call.name))
    if kind is errors.SopsApiNotFoundError and answered_405(refusal.message):
        hint += f" {_REFUSED_BY_405}."
    return hint
