# SPDX-License-Identifier: Apache-2.0
"""The API gateway or ESB in front of SOPS: how a call becomes an HTTP request, and an HTTP reply data or an error."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.calls import APIS, Call
from airflow_provider_sops.core.api.refusals import api_error_class, api_hint, is_iam_denial
from airflow_provider_sops.core.api.releases import since
from airflow_provider_sops.core.errors import make_error
from airflow_provider_sops.core.redact import header_secrets, scrub
from airflow_provider_sops.core.text import DEEPEST, LONGEST_ID, LONGEST_WORD, as_text, read_int, storable

ApiType = Literal["apigw", "esb"]
#: Where SOPS stands behind an API gateway or an ESB when the connection's host names no path.
DEFAULT_PATHS: Mapping[str, str] = {"apigw": "/api/bk-sops/prod", "esb": "/api/c/compapi/v2/sops"}
_LONGEST_REMOTE_MESSAGE = 500
#: Bytes of a strange answer that are looked at, of which the first characters are shown: no secret is as long.
_MOST_EXCERPTED = 65_536


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks: the app, and the user in whose name. Its ``repr`` shows no secret."""

    app_code: str = ""
    app_secret: str = field(default="", repr=False)
    bk_username: str = ""
    bk_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)

    def fields(self) -> dict[str, str]:
        """Give the fields as API gateway and ESB spell them, without the empty ones."""
        named = {
            "bk_app_code": self.app_code,
            "bk_app_secret": self.app_secret,
            "bk_username": self.bk_username,
            "bk_token": self.bk_token,
            "access_token": self.access_token,
        }
        return {name: value for name, value in named.items() if value}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown."""
        return tuple(value for value in (self.app_secret, self.bk_token, self.access_token) if value)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What a transport sends. ``url`` has no query, so it may be shown; the rest may hold credentials."""

    method: str
    url: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What a transport hands back; the names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way to SOPS: its address, its kind and the credentials that go through it."""

    api_type: ApiType
    base_url: str
    credentials: Credentials
    #: further headers for every request, e.g. those that a proxy of the site wants
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: what else must never be shown: secrets that a call carries through it
    hidden: tuple[str, ...] = field(default=(), repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown: the credentials, and those of the further headers that are some."""
        return (*self.credentials.secrets, *header_secrets(self.headers), *self.hidden)

    def url(self, call: Call) -> str:
        """Give the address of a call, without its query: it may be shown."""
        ids = [str(value) for _, value in call.ids] if self.api_type == "apigw" else []
        return "/".join([self.base_url, call.name, *ids, ""])

    def request(self, call: Call) -> HttpRequest:
        """Turn a call into the HTTP request for this endpoint.

        Through the gateway the ids stand in the path and the credentials in a header; through ESB both are
        parameters: in the query of a GET, in the JSON body of a POST.
        """
        headers = {"Accept": "application/json", **self.headers}
        params = dict(call.params)
        if self.api_type == "apigw":
            headers["X-Bkapi-Authorization"] = json.dumps(self.credentials.fields())
        else:
            params = {**self.credentials.fields(), **dict(call.ids), **params}
        url = self.url(call)
        if call.method == "GET":
            return HttpRequest("GET", url, {key: _query_text(value) for key, value in params.items()}, headers, None)
        headers["Content-Type"] = "application/json"
        return HttpRequest("POST", url, {}, headers, _json_bytes(params))

    def read(self, call: Call, reply: HttpReply) -> Answer:
        """Turn a reply into SOPS' data.

        :raises errors.SopsGatewayError: (one of its kinds) when the endpoint refused, or SOPS failed inside.
        :raises errors.SopsApiError: (one of its kinds) when SOPS said no.
        :raises errors.SopsInvalidAnswerError: when the reply is not one of SOPS'.
        """
        if call.secrets:
            return replace(self, hidden=call.secrets).read(replace(call, secrets=()), reply)
        body = _json_object(reply.body)
        request_id = storable(self.scrub(_request_id(reply, body)), LONGEST_ID) or None
        if 300 <= reply.status < 400:
            location = re.split(r"[?#]", self.scrub(reply.headers.get("location", "")))[0]
            raise make_error(
                errors.SopsInvalidAnswerError,
                call,
                f"{self.url(call)} redirects (HTTP {reply.status}) to {location or 'nowhere'}",
                status=reply.status,
                request_id=request_id,
                hint="Check the connection's host: SOPS redirects what is not an address of its API, "
                "and a login page redirects who is not logged in." + _too_old(call),
            )
        refusal = self._refusal(reply, body)
        if refusal is not None:
            code, message = refusal
            raise self._gateway_error(call, reply, code, message, request_id)
        if body is None or not isinstance(body.get("result"), bool):
            raise make_error(
                errors.SopsInvalidAnswerError,
                call,
                f"the answer (HTTP {reply.status}) is not one of SOPS': {self._excerpt(reply)}",
                status=reply.status,
                request_id=request_id,
                hint="Check the connection's host and api_type; a proxy or a login page may have answered instead.",
            )
        if body["result"] is not True:
            raise self._said_no(call, reply.status, body, request_id)
        return Answer(call, body.get("data"), body, request_id, _http_date(reply.headers.get("date", "")))

    def scrub(self, text: str) -> str:
        """Replace every secret of this endpoint in a text."""
        return scrub(text, self.secrets)

    def _refusal(self, reply: HttpReply, body: Mapping[str, Any] | None) -> tuple[int | None, str] | None:
        """Give code and message when it was the endpoint, not SOPS, that refused."""
        said = body or {}
        signed = read_int(reply.headers.get("x-bkapi-error-code"))
        code = signed or read_int(said.get("code"))
        message = one_line(reply.headers.get("x-bkapi-error-message") or said.get("message"), self.secrets)
        if not signed and said.get("result") is True and reply.status < 300:
            return None  # whatever its code: SOPS 3.5 gives a good start the code of a failed operation
        if not signed and said.get("result") is False and is_iam_denial(code, message):
            return None  # whatever its HTTP status, and in ESB's words too
        if code == ESB_UNCODED and not _esb_means_itself(message):
            return None
        if code is not None and (code in _GATEWAY_CODES or code in _ESB_CODES):
            return code, message
        if isinstance(said.get("result"), bool):
            # SOPS itself answers 200, and 500 when it crashed
            return None if reply.status < 300 or reply.status == 500 else (code, message)
        return (None, self._excerpt(reply)) if reply.status >= 400 else None

    @property
    def _app(self) -> str:
        return f"app {self.credentials.app_code!r}" if self.credentials.app_code else "the app"

    def _gateway_error(
        self, call: Call, reply: HttpReply, code: int | None, message: str, request_id: str | None
    ) -> errors.SopsGatewayError:
        kind = _gateway_error_class(code, reply.status, message)
        retry_after = _retry_after(reply.headers)
        place = "the API gateway" if self.api_type == "apigw" else "ESB"
        what = f"{place} refused"
        if kind is errors.SopsGatewayUnavailableError:
            what = f"{place}, or SOPS behind it, is not available"
        if retry_after is not None:
            what += f" and asks to wait {retry_after:.0f} s"
        error = make_error(
            kind,
            call,
            what,
            code=code,
            remote_message=message,
            status=reply.status,
            request_id=request_id,
            retry_after=retry_after,
            hint=self._gateway_hint(kind, call, code, reply.status, message),
        )
        if isinstance(error, errors.SopsApiNotFoundError):
            error.certain = code in _NO_SUCH_API_CODES
        return error

    def _gateway_hint(
        self, kind: type[errors.SopsGatewayError], call: Call, code: int | None, status: int, message: str
    ) -> str | None:
        app = self._app
        if code == 1306402:
            return f"Let the user of the connection be permitted to use {call.name!r} of SOPS through ESB."
        if status == 405:
            # SOPS' own answer is a page without a code
            hint = f"{call.name!r} was called by {call.method}: say another http_method"
            if code is not None or call.name not in APIS or APIS[call.name].method != call.method:
                return f"{hint}."
            return f"{_REFUSED_BY_405}: check these. If they are right: {hint}."
        return {
            errors.SopsAuthenticationError: (
                "Check the connection's login (app code) and password (app secret), and bk_username, bk_token "
                "or access_token in its extra."
            ),
            errors.SopsApiPermissionError: (
                f"Apply for the API permission {call.name!r} of bk-sops for {app} in the BlueKing developer center."
            ),
            errors.SopsIpRefusedError: "Ask the gateway's administrators to allow the address of the Airflow workers.",
            errors.SopsRateLimitError: (
                f"Ask less often (a larger poke_interval), or ask for a higher rate limit for {app} on {call.name!r}."
            ),
            errors.SopsApiNotFoundError: (
                f"Check the connection's host and api_type ({self.api_type}); "
                f"this SOPS may be too old to have {call.name!r}{since(call.name)}."
                + (f" {_REFUSED_BY_405}." if "status code: 405" in message.lower() else "")
            ),
            errors.SopsGatewayUnavailableError: (
                "Try again later; if it goes on, tell those who run the gateway or SOPS."
            ),
        }.get(kind, "Check the call's parameters; those who run the gateway can look the request id up.")

    def _said_no(
        self, call: Call, status: int, body: Mapping[str, Any], request_id: str | None
    ) -> errors.SopsApiError | errors.SopsGatewayError:
        message = one_line(body.get("message"), self.secrets)
        code = body.get("code")
        known: dict[str, Any] = {
            "code": self.scrub(code) if isinstance(code, str) else read_int(code),
            "remote_message": message,
            "status": status,
            "request_id": request_id,
        }
        kind = api_error_class(code, message, call.task_id)
        if read_int(code) == APP_NOT_LISTED and kind is errors.SopsApiError:
            hint = (
                f"SOPS itself lets only some apps call {call.name!r}, whatever the gateway grants: ask those who run "
                f"SOPS to add {self._app} to them."
            )
            return make_error(errors.SopsApiPermissionError, call, "SOPS says no", hint=hint, **known)
        if status == 500 and kind is errors.SopsApiError:
            # no "no": SOPS' word for a fault of its own, such as a database or broker that is away
            return make_error(errors.SopsGatewayUnavailableError, call, "SOPS failed inside", hint=_CRASH_HINT, **known)
        hint = api_hint(kind, call, message, body.get("permission"), self.scrub)
        return make_error(kind, call, "SOPS says no", hint=hint, **known)

    def _excerpt(self, reply: HttpReply) -> str:
        text = " ".join(self.scrub(reply.body[:_MOST_EXCERPTED].decode("utf-8", "replace")).split())
        kind = self.scrub(reply.headers.get("content-type", "no content type")).partition(";")[0]
        shown = f"{text[:120]}…" if len(text) > 120 else text
        return f"{storable(kind, LONGEST_WORD)}, {len(reply.body)} bytes" + (f", {shown!r}" if shown else "")


def one_line(message: Any, secrets: Iterable[str] = ()) -> str:
    """Make one readable, storable line of a message of SOPS: a string, a traceback, a dict of field errors or nothing.

    :param secrets: are replaced, before the text is split into lines and cut.
    """
    # a dict's parts are put together, so that a secret may stand over two of them: it is looked for in the whole, too
    text = scrub(_flat(message, frozenset(secrets)), secrets)
    return text if len(text) <= _LONGEST_REMOTE_MESSAGE else f"{text[:_LONGEST_REMOTE_MESSAGE]}…"


def _flat(message: Any, secrets: Collection[str], depth: int = 0) -> str:
    if isinstance(message, Mapping | list | tuple) and depth >= DEEPEST:
        return "…"
    if isinstance(message, Mapping):
        parts = [(_flat(key, secrets), _flat(value, secrets, depth + 1)) for key, value in message.items()]
        return "; ".join(f"{key}: {value}" for key, value in parts)
    if isinstance(message, list | tuple):
        return ", ".join(_flat(item, secrets, depth + 1) for item in message)
    lines = [line.strip() for line in storable(scrub(as_text(message), secrets), None).split("\n") if line.strip()]
    text = lines[0] if lines else ""
    before, traceback, _ = text.partition("Traceback (most recent call last)")
    if traceback and len(lines) > 1:
        # of a traceback only the last line says what happened; it begins with the error's class and its modules
        text = before + re.sub(r"^(?:\w+\.)+(?=\w+(?::|$))", "", lines[-1])
    return text


#: SOPS' code for an app that is not on its own list for an API; where the user may not, IAM denies in other words.
APP_NOT_LISTED = 3_540_100
_CRASH_HINT = (
    "Try again later: its database or message broker may be away; if it goes on, those who run SOPS can look the "
    "request id up in its log."
)
#: SOPS' code, sent as a string and with HTTP 500, for a fault inside it (measured on SOPS 3.34).
SOPS_CRASHED = 50_000
#: Codes that the API gateway gives to its own refusals.
_GATEWAY_CODES = range(1_640_000, 1_660_000)
#: Codes that ESB gives to its own refusals; it sends them with HTTP 200.
_ESB_CODES = range(1_306_000, 1_307_000)
#: ESB's code where there is none: credentials that it refuses, a component of its own that failed, and an old SOPS
#: that said no without a code.
ESB_UNCODED = 1_306_000
#: ESB's code for wrong parameters; its newer versions refuse credentials with it.
ESB_PARAMETERS = 1_306_406
#: The API gateway's code for wrong parameters; its older versions refuse credentials with it.
GATEWAY_PARAMETERS = 1_640_001
#: Codes by which the gateway and ESB themselves say that they have no such API.
_NO_SUCH_API_CODES = frozenset({1640401, 1306404, 1306405})
_CREDENTIALS_WORDS = re.compile(
    r"app (code|secret)|app_(code|secret)|signature|authentication|access_token|user token|bk_token|bk_username", re.I
)
_ESB_ITSELF = re.compile(r"component error|system error|internal server error", re.I)
_REFUSED_BY_405 = "SOPS 3.3 and 3.4 answer 405 also to an app or credentials that they do not accept"
#: what ESB says when SOPS has no such API: SOPS redirects paths that it does not know
_ESB_NOT_FOUND = re.compile(r"status code: (302|404|405)", re.I)


def _too_old(call: Call) -> str:
    """Say since when SOPS has an API, for an address that it does not know; nothing where that is not known."""
    told = since(call.name)
    return f" A SOPS that is too old to have {call.name}{told} redirects it, too." if told else ""


def _esb_means_itself(message: str) -> bool:
    """Tell whether ESB's code for everything goes with words of ESB, not of SOPS."""
    return not message or bool(_CREDENTIALS_WORDS.search(message) or _ESB_ITSELF.search(message))


def _gateway_error_class(code: int | None, status: int, message: str) -> type[errors.SopsGatewayError]:
    """Tell what kind of refusal it is: by the gateway's 16…… code, by ESB's 1306… code, else by the HTTP status."""
    by_code: Mapping[int | None, type[errors.SopsGatewayError]] = {
        1640101: errors.SopsAuthenticationError,
        1640102: errors.SopsAuthenticationError,
        1640301: errors.SopsApiPermissionError,
        1640302: errors.SopsIpRefusedError,
        1640401: errors.SopsApiNotFoundError,
        1306401: errors.SopsAuthenticationError,
        1306402: errors.SopsApiPermissionError,
        1306403: errors.SopsApiPermissionError,
        1306404: errors.SopsApiNotFoundError,
        1306405: errors.SopsApiNotFoundError,
        1306429: errors.SopsRateLimitError,
    }
    if code in by_code:
        return by_code[code]
    if code in (ESB_UNCODED, ESB_PARAMETERS, GATEWAY_PARAMETERS) and _CREDENTIALS_WORDS.search(message):
        return errors.SopsAuthenticationError
    if code is not None and 1_306_200 <= code < 1_306_300 and _ESB_NOT_FOUND.search(message):
        return errors.SopsApiNotFoundError
    if code is not None and (code == ESB_UNCODED or 1_306_200 <= code < 1_306_300):
        return errors.SopsGatewayUnavailableError
    if code is not None and 1_642_900 <= code < 1_643_000:
        return errors.SopsRateLimitError
    if code is not None and 1_650_000 <= code < 1_660_000:
        return errors.SopsGatewayUnavailableError
    by_status: Mapping[int, type[errors.SopsGatewayError]] = {
        401: errors.SopsAuthenticationError,
        403: errors.SopsAuthenticationError,
        404: errors.SopsApiNotFoundError,
        429: errors.SopsRateLimitError,
    }
    unavailable = errors.SopsGatewayUnavailableError if status >= 500 else errors.SopsGatewayError
    return by_status.get(status, unavailable)


def crashed(error: errors.SopsError) -> bool:
    """Tell whether SOPS itself failed inside: for now, or over what it was asked, which may be one of several tasks."""
    if not isinstance(error, errors.SopsGatewayUnavailableError):
        return False
    code = read_int(error.code)
    # ESB tells of it in words of its own; a page of SOPS has no code at all
    if code == SOPS_CRASHED or "Status Code: 500" in (error.remote_message or ""):
        return True
    return error.http_status == 500 and code not in _GATEWAY_CODES and code not in _ESB_CODES


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After`` as seconds; it is a number or an HTTP date."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    seconds = read_int(value)
    if seconds is not None:
        return float(seconds)
    until = _http_date(value)
    if until is None:
        return None
    said = _http_date(headers.get("date", ""))  # the clock that the other date is of, which may not be ours
    return max(0.0, until - (datetime.now(UTC).timestamp() if said is None else said))


def _http_date(value: str) -> float | None:
    """Read an HTTP date as seconds since the epoch; ``None`` when it is none."""
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _request_id(reply: HttpReply, body: Mapping[str, Any] | None) -> str:
    for name in ("trace_id", "request_id"):
        value = (body or {}).get(name)
        if isinstance(value, str) and value:
            return value
    return reply.headers.get("x-bkapi-request-id") or reply.headers.get("sops-trace-id") or ""


def _json_object(body: bytes) -> Mapping[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _json_bytes(params: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(params, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate; JSON has a way to write it
        return json.dumps(params).encode()


def _query_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)  # SOPS before 3.9.2 crashes over "true"
    if isinstance(value, datetime):
        return value.isoformat()
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode(errors="replace").decode()  # an address has no place for a lone surrogate
