# SPDX-License-Identifier: Apache-2.0
"""How the fields of an Airflow connection of type ``sops`` say where SOPS is and who asks. No I/O, no Airflow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_provider_sops.core.api.calls import DEFAULT_SCOPE, SCOPES, Scope, parse_id, parse_scope
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.http.endpoint import API_TYPES, DEFAULT_PATHS, ApiType, Credentials, Endpoint
from airflow_provider_sops.core.http.network import is_proxy_address
from airflow_provider_sops.core.http.transport import CONNECT_TIMEOUT, READ_TIMEOUT, TransportSettings
from airflow_provider_sops.webhook_settings import WebhookSettings, parse_webhook_settings

CONN_TYPE = "sops"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HOOK_NAME = "BlueKing SOPS"
DEFAULT_CONN_ID = "sops_default"

#: The extra fields, in the order of the form. What they are stands here alone.
EXTRA_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "api_type": {
        "label": "API type",
        "description": "apigw (API gateway) or esb; inferred from the host where empty.",
        "enum": API_TYPES,
    },
    "bk_username": {
        "label": "BlueKing user",
        "description": "The user in whose name SOPS is called. One of this, a user token or an access token.",
    },
    "bk_token": {"label": "User token (bk_token)", "description": "Login token of a user.", "secret": True},
    "access_token": {
        "label": "Access token",
        "description": "Access token of app and user; enough by itself.",
        "secret": True,
    },
    "bk_biz_id": {
        "label": "Default business",
        "description": "The bk_biz_id that is used where a task names none, such as 2.",
        "type": "integer",
    },
    "scope": {
        "label": "Scope",
        "description": "What bk_biz_id is: cmdb_biz (a CMDB business, the default) or project (a SOPS project).",
        "enum": SCOPES,
    },
    "verify": {"label": "Verify TLS", "description": "true (default), false, or the path of a CA bundle."},
    "timeout": {"label": "Timeout", "description": "Seconds to wait for an answer; default 30.", "type": "number"},
    "proxies": {"label": "Proxies", "description": 'Proxy address, or JSON like {"https": "http://proxy:3128"}.'},
    "headers": {
        "label": "Headers",
        "description": "Further headers of every request, as JSON. Who may read connections sees them, unless [core] "
        "sensitive_var_conn_names has the word headers.",
        "secret": True,
    },
    "tenant_id": {"label": "Tenant", "description": "Sent as X-Bk-Tenant-Id; multi-tenant sites only."},
    "webhook_token": {
        "label": "Webhook token",
        "description": "With it, Airflow takes webhooks of SOPS for this connection: 32 characters or more. Two, "
        "with a space between, while one is changed.",
        "secret": True,
    },
    "webhook_asset": {
        "label": "Webhook asset",
        "description": "The asset that a webhook's SOPS task goes to: its name, or JSON by template, like "
        '{"101": "deployed", "*": {"asset": "others", "partition_key": "task"}}.',
    },
}

#: Labels and placeholders of the form's common fields, in the provider info's spelling.
UI_FIELD_BEHAVIOUR: Mapping[str, Any] = {
    "hidden-fields": ["schema"],
    "relabeling": {"host": "SOPS address", "login": "App code", "password": "App secret"},
    "placeholders": {
        "host": "https://bkapi.example.com/api/bk-sops/prod",
        # the page of Airflow 3.3.2 cannot test a connection that is saved without a port
        "port": "443 (optional; Airflow 3.3 needs it for its Test button)",
        "login": "bk_app_code",
        "password": "bk_app_secret",
        "bk_username": "admin",
        "bk_biz_id": "2",
        "verify": "true",
        "timeout": "30",
    },
}


def conn_fields() -> dict[str, Any]:
    """Return the form's extra fields as the provider info describes them, for Airflow 3.2 and newer."""
    fields = {}
    for name, spec in EXTRA_FIELDS.items():
        schema: dict[str, Any] = {"type": [spec.get("type", "string"), "null"]}
        if spec.get("secret"):
            schema["format"] = "password"
        if "enum" in spec:
            # null is no choice of its own, or the form shows the word "null"; it is what an empty field gives
            schema["enum"] = list(spec["enum"])
        fields[name] = {"label": spec["label"], "description": spec["description"], "schema": schema}
    return fields


@dataclass(frozen=True, slots=True)
class Site:
    """What a connection says: the endpoint to SOPS, its defaults, and how requests are sent."""

    endpoint: Endpoint
    bk_biz_id: int | None = None
    scope: Scope = DEFAULT_SCOPE
    settings: TransportSettings = field(default_factory=TransportSettings)
    #: names in extra that mean nothing to this provider
    unknown_fields: tuple[str, ...] = ()
    #: whether and how webhooks of SOPS are taken
    webhook: WebhookSettings = field(default_factory=WebhookSettings)

    @property
    def secrets(self) -> tuple[str, ...]:
        """All values of the connection that must never be shown: its credentials; a tenant or a user is none."""
        passwords = [urlsplit(proxy).password or "" for proxy in self.settings.proxies.values()]
        quoted = [form for password in passwords if password for form in (password, unquote(password))]
        return tuple(dict.fromkeys((*self.endpoint.secrets, *quoted, *self.webhook.tokens)))


def choose_project(sops_conn_id: str, bk_biz_id: Any, scope: Any, site: Callable[[], Site]) -> Project:
    """Return the project that is asked: what a task does not name, its connection does.

    :param bk_biz_id: the task's; ``None`` or empty: the connection's.
    :param scope: the same.
    :param site: gives what the connection says; called where it is needed.
    :raises SopsConfigError: neither names a business, or one is wrong.
    """
    chosen_scope = parse_scope(scope) if scope else site().scope
    if bk_biz_id not in (None, ""):
        return Project(parse_id("bk_biz_id", bk_biz_id), chosen_scope)
    biz_id = site().bk_biz_id
    if biz_id is None:
        raise SopsConfigError(
            "bk_biz_id", f"is not given; name it in the task, or in the extra of connection {sops_conn_id!r}"
        )
    return Project(biz_id, chosen_scope)


def parse_connection(
    *,
    host: str | None,
    schema: str | None = None,
    port: int | None = None,
    login: str | None = None,
    password: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Site:
    """Read the fields of a connection.

    :param host: address of the API gateway or ESB, with or without scheme and path.
    :param schema: ``http`` or ``https``, or the path where the connection was written as a URI.
    :param login: app code.
    :param password: app secret.
    :param extra: see :data:`EXTRA_FIELDS`; empty strings count as not given.
    :raises SopsConfigError: names the field that is missing, wrong or contradicts another one.
    """
    given = {key: value for key, value in _check_extra(extra).items() if value not in (None, "")}
    api_type, base_url = _parse_address(host, schema, port, _text(given, "api_type"))
    credentials = Credentials(
        app_code=(login or "").strip(),
        # what is pasted often ends in a line break, which no secret of BlueKing has
        app_secret=(password or "").strip(),
        bk_username=_text(given, "bk_username"),
        bk_token=_text(given, "bk_token"),
        access_token=_text(given, "access_token"),
    )
    _check_credentials(credentials)
    return Site(
        endpoint=Endpoint(api_type, base_url, credentials, _parse_headers(given)),
        bk_biz_id=parse_id("bk_biz_id", given["bk_biz_id"]) if "bk_biz_id" in given else None,
        scope=parse_scope(_text(given, "scope") or DEFAULT_SCOPE),
        settings=_parse_settings(given),
        unknown_fields=tuple(sorted(set(given) - set(EXTRA_FIELDS))),
        webhook=parse_webhook_settings(_text(given, "webhook_token"), given.get("webhook_asset")),
    )


def _check_extra(extra: object) -> Mapping[str, Any]:
    if extra is None or extra == "":
        return {}
    if isinstance(extra, str):  # it is not shown: it may hold tokens
        raise SopsConfigError(
            "extra",
            "is JSON within JSON: a text, and in it the object. Write the object itself, such as "
            '{"bk_username": "admin"}, without quotes around it and without backslashes',
        )
    if not isinstance(extra, Mapping):
        raise SopsConfigError("extra", f"must be a JSON object, not a {type(extra).__name__}")
    return extra


def _parse_address(host: str | None, schema: str | None, port: int | None, api_type: str) -> tuple[ApiType, str]:
    text = (host or "").strip().rstrip("/")
    if not text:
        raise SopsConfigError("host", "is empty; give the address of the API gateway or ESB in front of SOPS")
    scheme = schema if schema in ("http", "https") else "https"
    try:
        parts = urlsplit(text if "://" in text else f"{scheme}://{text}")
    except ValueError as error:
        raise SopsConfigError("host", f"is no address: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise SopsConfigError("host", f"must be an http or https address, not {parts.scheme}")
    if parts.username or parts.password or parts.query or parts.fragment or not parts.hostname:
        raise SopsConfigError("host", "must be an address like https://bkapi.example.com/api/bk-sops/prod and no more")
    try:
        own_port = parts.port
    except ValueError as error:
        raise SopsConfigError("host", f"has a port that is none: {error}") from error
    if own_port and port and own_port != port:
        raise SopsConfigError("port", f"is {port}, but the host says {own_port}")
    netloc = parts.netloc if own_port or not port else f"{parts.netloc}:{port}"
    path = parts.path.rstrip("/")
    if schema and schema not in ("http", "https"):
        path = f"{path}/{schema.strip('/')}"
    if api_type and api_type not in API_TYPES:
        raise SopsConfigError("api_type", f"must be 'apigw' or 'esb', not {api_type!r}")
    looks_like_esb = "/compapi" in path
    looks_like_apigw = path.startswith("/api/bk-sops") or netloc.startswith("bk-sops.")
    if api_type == "apigw" and looks_like_esb:
        raise SopsConfigError("api_type", "says apigw, but the host's path is one of ESB (/api/c/compapi/…)")
    if api_type == "esb" and looks_like_apigw:
        raise SopsConfigError("api_type", "says esb, but the host is one of the API gateway (bk-sops)")
    if not api_type and not path and not looks_like_apigw:
        raise SopsConfigError("api_type", "cannot be told from a host without a path; say 'apigw' or 'esb'")
    kind: ApiType = "esb" if api_type == "esb" or (not api_type and looks_like_esb) else "apigw"
    if not path:
        path = "/prod" if netloc.startswith("bk-sops.") else DEFAULT_PATHS[kind]
    return kind, f"{parts.scheme}://{netloc}{path}"


def _check_credentials(credentials: Credentials) -> None:
    users = {
        "bk_username": credentials.bk_username,
        "bk_token": credentials.bk_token,
        "access_token": credentials.access_token,
    }
    given = [name for name, value in users.items() if value]
    if len(given) > 1:
        raise SopsConfigError(given[1], f"contradicts {given[0]}: give one of {', '.join(users)}")
    if not given:
        raise SopsConfigError("bk_username", f"is empty; give one of {', '.join(users)} in extra")
    app = {"login (app code)": credentials.app_code, "password (app secret)": credentials.app_secret}
    for name, value in (app | users).items():
        if not value.isprintable():  # it is not shown
            raise SopsConfigError(name, "holds a line break or another character that cannot be seen: paste it anew")
    if not credentials.access_token:
        for name, value in app.items():
            if not value:
                raise SopsConfigError(name, "is empty; only an access_token works without it")


def _parse_headers(given: Mapping[str, Any]) -> dict[str, str]:
    headers = {str(name): str(value) for name, value in _json_object(given, "headers").items()}
    # the values are not shown: they may be secret
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise SopsConfigError("headers", f"{name!r} is not the name of a header")
        if not _is_header_value(value):
            raise SopsConfigError("headers", f"the value of {name} must be printable ASCII, in one line")
    tenant = _text(given, "tenant_id")
    if not _is_header_value(tenant):
        raise SopsConfigError("tenant_id", "must be printable ASCII, in one line")
    return headers | ({"X-Bk-Tenant-Id": tenant} if tenant else {})


def _is_header_value(value: str) -> bool:
    return value.isascii() and (value.isprintable() or not value)


def _parse_settings(given: Mapping[str, Any]) -> TransportSettings:
    read_timeout = _seconds(given, "timeout", READ_TIMEOUT)
    return TransportSettings(
        connect_timeout=min(CONNECT_TIMEOUT, read_timeout),
        read_timeout=read_timeout,
        verify=_verify(given.get("verify", True)),
        proxies=_parse_proxies(given),
    )


def _parse_proxies(given: Mapping[str, Any]) -> dict[str, str]:
    value = given.get("proxies", {})
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        value = {"http": value, "https": value}
    else:
        value = _json_object(given, "proxies")
    proxies = {str(scheme): str(url).strip() for scheme, url in value.items()}
    proxies = {scheme: url if "://" in url else f"http://{url}" for scheme, url in proxies.items()}
    for scheme, url in proxies.items():
        if scheme not in ("http", "https", "all"):
            raise SopsConfigError("proxies", f"must name the schemes http, https or all, not {scheme!r}")
        if not is_proxy_address(url):  # it is not shown: it may hold a password
            raise SopsConfigError("proxies", "must be an address like http://proxy.example.com:3128, or JSON with some")
    return proxies


def _verify(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    text = str(value).strip()
    if text.lower() in words:
        return words[text.lower()]
    if "/" not in text and "\\" not in text and not text.endswith((".pem", ".crt", ".cer")):
        raise SopsConfigError("verify", f"must be true, false or the path of a CA bundle, not {text!r}")
    return text


def _seconds(given: Mapping[str, Any], name: str, default: float) -> float:
    if name not in given:
        return default
    try:
        seconds = float(given[name])
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SopsConfigError(name, f"must be a number of seconds greater than 0, not {given[name]!r}")
    return seconds


def _json_object(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = given.get(name, {})
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        # the value is not shown: headers and proxies may hold passwords
        raise SopsConfigError(name, "must be a JSON object")
    return value


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str | int):
        raise SopsConfigError(name, "must be a text")
    return str(value).strip()
