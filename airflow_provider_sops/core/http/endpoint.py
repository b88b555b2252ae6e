# SPDX-License-Identifier: Apache-2.0
"""Where calls go: how a call becomes an HTTP request to the API gateway or ESB, and a reply an answer or an error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, get_args

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.refusals import refusal_error
from airflow_provider_sops.core.api.sops_releases import since
from airflow_provider_sops.core.errors import make_error
from airflow_provider_sops.core.http.gateway_refusals import find_refusal, gateway_error
from airflow_provider_sops.core.http.reply import HttpReply
from airflow_provider_sops.core.redact import header_secrets, scrub
from airflow_provider_sops.core.text import LONGEST_ID, storable

ApiType = Literal["apigw", "esb"]
API_TYPES: tuple[ApiType, ...] = get_args(ApiType)
#: Where SOPS stands behind an API gateway or an ESB when the connection's host names no path.
DEFAULT_PATHS: Mapping[ApiType, str] = {"apigw": "/api/bk-sops/prod", "esb": "/api/c/compapi/v2/sops"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks: the app, and the user in whose name. Its ``repr`` shows no secret."""

    app_code: str = ""
    app_secret: str = field(default="", repr=False)
    bk_username: str = ""
    bk_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)

    def fields(self) -> dict[str, str]:
        """Return the fields as API gateway and ESB spell them, without the empty ones."""
        named = {
            "bk_app_code": self.app_code,
            "bk_app_secret": self.app_secret,
            "bk_username": self.bk_username,
            "bk_token": self.bk_token,
            "access_token": self.access_token,
        }
        return {name: value for name, value in named.items() if value}

    @property
    def app(self) -> str:
        """The app, in words, for an error."""
        return f"app {self.app_code!r}" if self.app_code else "the app"

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
class Endpoint:
    """Where calls go: API gateway or ESB, its address, and the credentials that go with each call."""

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
        """Return the address of a call, without its query: it may be shown."""
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
        secrets = self.secrets
        body = reply.json_object()
        request_id = storable(scrub(reply.request_id(body), secrets), LONGEST_ID) or None
        if 300 <= reply.status < 400:
            raise self._redirected(call, reply, request_id)
        refusal = find_refusal(reply, body, secrets)
        app = self.credentials.app
        if refusal is not None:
            raise gateway_error(
                call,
                refusal,
                api_type=self.api_type,
                app=app,
                retry_after=reply.retry_after,
                request_id=request_id,
            )
        if body is None or not isinstance(body.get("result"), bool):
            raise make_error(
                errors.SopsInvalidAnswerError,
                call,
                f"the answer (HTTP {reply.status}) is not one of SOPS': {reply.excerpt(secrets)}",
                status=reply.status,
                request_id=request_id,
                hint="Check the connection's host and api_type; a proxy or a login page may have answered instead.",
            )
        if body["result"] is not True:
            raise refusal_error(call, reply.status, body, request_id=request_id, app=app, secrets=secrets)
        return Answer(call, body.get("data"), body, request_id, reply.date)

    def _redirected(self, call: Call, reply: HttpReply, request_id: str | None) -> errors.SopsInvalidAnswerError:
        location = re.split(r"[?#]", scrub(reply.headers.get("location", ""), self.secrets))[0]
        release = since(call.name)
        too_old = f" A SOPS that is too old to have {call.name}{release} redirects it, too." if release else ""
        return make_error(
            errors.SopsInvalidAnswerError,
            call,
            f"{self.url(call)} redirects (HTTP {reply.status}) to {location or 'nowhere'}",
            status=reply.status,
            request_id=request_id,
            hint="Check the connection's host: SOPS redirects what is not an address of its API, "
            f"and a login page redirects who is not logged in.{too_old}",
        )


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
