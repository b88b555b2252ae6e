# SPDX-License-Identifier: Apache-2.0
"""How a connection's fields are read, in every form in which Airflow takes a connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_sops.connection import (
    EXTRA_FIELDS,
    UI_FIELD_BEHAVIOUR,
    Site,
    conn_fields,
    parse_connection,
)
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.redact import scrub
from tests import secrets

GATEWAY_HOST = "https://bkapi.example.com/api/bk-sops/prod"
FIELDS: dict[str, Any] = {"host": GATEWAY_HOST, "login": "app", "password": secrets.APP_SECRET}


def site(*, extra: dict[str, Any] | None = None, **fields: Any) -> Site:
    return parse_connection(**{**FIELDS, **fields}, extra={"bk_username": "admin", **(extra or {})})


# ---- the address ----


@pytest.mark.parametrize(
    ("fields", "api_type", "base_url"),
    [
        ({"host": GATEWAY_HOST}, "apigw", GATEWAY_HOST),
        ({"host": f" {GATEWAY_HOST}/ "}, "apigw", GATEWAY_HOST),
        ({"host": "bkapi.example.com/api/bk-sops/stag"}, "apigw", "https://bkapi.example.com/api/bk-sops/stag"),
        ({"host": "http://bkapi.example.com/api/bk-sops"}, "apigw", "http://bkapi.example.com/api/bk-sops"),
        ({"host": "https://bk-sops.bkapi.example.com"}, "apigw", "https://bk-sops.bkapi.example.com/prod"),
        ({"host": "bk-sops.bkapi.example.com/stag"}, "apigw", "https://bk-sops.bkapi.example.com/stag"),
        ({"host": "https://sops.example.com/apigw"}, "apigw", "https://sops.example.com/apigw"),
        (
            {"host": "https://paas.example.com/api/c/compapi/v2/sops/"},
            "esb",
            "https://paas.example.com/api/c/compapi/v2/sops",
        ),
        ({"host": "paas.example.com", "port": 8443, "extra": {"api_type": "esb"}}, "esb", None),
        ({"host": "bkapi.example.com:8443", "extra": {"api_type": "apigw"}}, "apigw", None),
        ({"host": "bkapi.example.com", "schema": "http", "extra": {"api_type": "apigw"}}, "apigw", None),
        ({"host": "[2001:db8::1]", "port": 8443, "extra": {"api_type": "esb"}}, "esb", None),
        # a URI's path is the schema of an Airflow connection
        ({"host": "bkapi.example.com", "schema": "api/bk-sops/prod"}, "apigw", GATEWAY_HOST),
        ({"host": "paas.example.com", "schema": "/api/c/compapi/v2/sops"}, "esb", None),
    ],
)
def test_the_endpoint_is_inferred_from_the_address(fields: dict[str, Any], api_type: str, base_url: str | None) -> None:
    endpoint = site(**fields).endpoint
    assert endpoint.api_type == api_type
    if base_url is None:
        scheme = fields.get("schema", "https") if fields.get("schema") in ("http", "https") else "https"
        port = f":{fields['port']}" if "port" in fields else ""
        path = {"apigw": "/api/bk-sops/prod", "esb": "/api/c/compapi/v2/sops"}[api_type]
        base_url = f"{scheme}://{fields['host']}{port}{path}"
    assert endpoint.base_url == base_url


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"host": None}, "host: is empty; give the address of the API gateway or ESB in front of SOPS"),
        ({"host": " "}, "host: is empty"),
        ({"host": "ftp://bkapi.example.com/x"}, "host: must be an http or https address, not ftp"),
        ({"host": f"https://me:{secrets.APP_SECRET[:12]}@bkapi.example.com/x"}, "host: must be an address like"),
        ({"host": f"{GATEWAY_HOST}?bk_app_secret={secrets.APP_SECRET}"}, "host: must be an address like"),
        ({"host": f"{GATEWAY_HOST}#top"}, "host: must be an address like"),
        ({"host": "https:///api/bk-sops"}, "host: must be an address like"),
        ({"host": "https://[broken/x"}, "host: "),
        ({"host": "bkapi.example.com:99999/api/bk-sops/prod"}, "host: "),
        ({"host": "bkapi.example.com:http/api/bk-sops/prod"}, "host: "),
        ({"host": "bkapi.example.com"}, "api_type: cannot be told from a host without a path; say 'apigw' or 'esb'"),
        ({"extra": {"api_type": "rest"}}, "api_type: must be 'apigw' or 'esb', not 'rest'"),
        ({"extra": {"api_type": "esb"}}, "api_type: says esb, but the host is one of the API gateway (bk-sops)"),
        (
            {"host": "https://paas.example.com/api/c/compapi/v2/sops", "extra": {"api_type": "apigw"}},
            "api_type: says apigw, but the host's path is one of ESB (/api/c/compapi/…)",
        ),
    ],
)
def test_an_address_that_cannot_be_used(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(SopsConfigError) as caught:
        site(**fields)
    assert str(caught.value).startswith(says)
    assert caught.value.field == says.split(":")[0]


# ---- the credentials ----


@pytest.mark.parametrize(
    "extra",
    [
        {"bk_username": "admin"},
        {"bk_username": "", "bk_token": secrets.BK_TOKEN},
        {"bk_username": None, "access_token": secrets.ACCESS_TOKEN},
    ],
)
def test_one_way_to_name_the_user(extra: dict[str, Any]) -> None:
    fields = site(extra=extra).endpoint.credentials.fields()
    given = {key: value for key, value in extra.items() if value}
    assert fields == {"bk_app_code": "app", "bk_app_secret": secrets.APP_SECRET, **given}


def test_an_access_token_alone_is_enough() -> None:
    endpoint = site(login=None, password="", extra={"bk_username": "", "access_token": secrets.ACCESS_TOKEN}).endpoint
    assert endpoint.credentials.fields() == {"access_token": secrets.ACCESS_TOKEN}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"login": None}, "login (app code): is empty; only an access_token works without it"),
        ({"password": ""}, "password (app secret): is empty; only an access_token works without it"),
        (
            {"extra": {"bk_username": ""}},
            "bk_username: is empty; give one of bk_username, bk_token, access_token in ext",
        ),
        (
            {"extra": {"bk_token": "x"}},
            "bk_token: contradicts bk_username: give one of bk_username, bk_token, access_to",
        ),
        ({"extra": {"access_token": "x"}}, "access_token: contradicts bk_username"),
        ({"extra": {"bk_username": "", "bk_token": "x", "access_token": "y"}}, "access_token: contradicts bk_token"),
    ],
)
def test_credentials_that_cannot_be_used(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(SopsConfigError) as caught:
        site(**fields)
    assert str(caught.value).startswith(says)


# ---- the rest ----


@pytest.mark.parametrize(
    ("value", "verify"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("False", False),
        ("no", False),
        (1, True),
        (0, False),
        ("/etc/ca.pem", "/etc/ca.pem"),
        ("ca.pem", "ca.pem"),
        ("certs/ca", "certs/ca"),
    ],
)
def test_verify(value: Any, verify: Any) -> None:
    settings = site(extra={"verify": value}).settings
    assert settings.verify == verify
    assert type(settings.verify) is type(verify)


def test_tls_is_verified_unless_said_otherwise() -> None:
    assert site().settings.verify is True
    assert site(extra={"verify": ""}).settings.verify is True


@pytest.mark.parametrize(
    ("value", "proxies"),
    [
        ("http://proxy:3128", {"http": "http://proxy:3128", "https": "http://proxy:3128"}),
        ('{"https": "http://proxy:3128"}', {"https": "http://proxy:3128"}),
        ({"https": "http://proxy:3128"}, {"https": "http://proxy:3128"}),
        ("proxy:3128", {"http": "http://proxy:3128", "https": "http://proxy:3128"}),
        ({"all": "socks5h://proxy"}, {"all": "socks5h://proxy"}),
        ("", {}),
    ],
)
def test_proxies(value: Any, proxies: dict[str, str]) -> None:
    assert site(extra={"proxies": value}).settings.proxies == proxies


@pytest.mark.parametrize("headers", [{"X-Site": "a", "X-Number": 5}, '{"X-Site": "a", "X-Number": 5}'])
def test_headers_and_tenant(headers: Any) -> None:
    endpoint = site(extra={"headers": headers, "tenant_id": "t1"}).endpoint
    assert endpoint.headers == {"X-Site": "a", "X-Number": "5", "X-Bk-Tenant-Id": "t1"}


def test_the_default_business_and_scope() -> None:
    assert (site().bk_biz_id, site().scope) == (None, "cmdb_biz")
    one = site(extra={"bk_biz_id": "2", "scope": "project"})
    assert (one.bk_biz_id, one.scope) == (2, "project")


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"bk_biz_id": "two"}, "bk_biz_id: must be a positive whole number, not 'two'"),
        ({"bk_biz_id": 0}, "bk_biz_id: must be a positive whole number, not 0"),
        ({"scope": "biz"}, "scope: must be 'cmdb_biz' or 'project', not 'biz'"),
        ({"verify": "maybe"}, "verify: must be true, false or the path of a CA bundle, not 'maybe'"),
        ({"timeout": "soon"}, "timeout: must be a number of seconds greater than 0, not 'soon'"),
        ({"timeout": 0}, "timeout: must be a number of seconds greater than 0, not 0"),
        ({"timeout": "-5"}, "timeout: must be a number of seconds greater than 0"),
        ({"timeout": "inf"}, "timeout: must be a number of seconds greater than 0"),
        ({"timeout": "nan"}, "timeout: must be a number of seconds greater than 0"),
        ({"proxies": "{broken"}, "proxies: must be a JSON object"),
        ({"proxies": [1]}, "proxies: must be a JSON object"),
        ({"proxies": f"me:{secrets.PROXY_PASSWORD}@"}, "proxies: "),
        ({"proxies": {"https": f"http://me:{secrets.PROXY_PASSWORD}@["}}, "proxies: "),
        ({"proxies": {"no_proxy": "localhost"}}, "proxies: must name the schemes http, https or all, not 'no_proxy'"),
        ({"proxies": {"https": f"http://proxy:{secrets.PROXY_PASSWORD}"}}, "proxies: must be an address"),
        ({"headers": secrets.HEADER_SECRET}, "headers: must be a JSON object"),
        ({"headers": ["X-Site"]}, "headers: must be a JSON object"),
        ({"headers": {"X-Site": f"{secrets.HEADER_SECRET}\r\nX: y"}}, "headers: "),
        ({"headers": {"X-Site": f"{secrets.HEADER_SECRET} 中文"}}, "headers: "),
        ({"headers": {"X Site:": "x"}}, "headers: "),
        ({"tenant_id": "t\n1"}, "tenant_id: "),
        ({"bk_username": ["admin"]}, "bk_username: must be a text"),
        ({"api_type": True}, "api_type: "),
    ],
)
def test_a_field_of_extra_that_cannot_be_used(extra: dict[str, Any], says: str) -> None:
    with pytest.raises(SopsConfigError) as caught:
        site(extra=extra)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (json.dumps({"bk_token": secrets.BK_TOKEN}), "extra: is JSON within JSON: a text, and in it the object."),
        ([{"bk_username": "admin"}], "extra: must be a JSON object, not a list"),
        (5, "extra: must be a JSON object, not a int"),
    ],
)
def test_an_extra_that_is_no_object(extra: Any, says: str) -> None:
    with pytest.raises(SopsConfigError) as caught:
        parse_connection(**FIELDS, extra=extra)
    assert str(caught.value).startswith(says)
    assert secrets.BK_TOKEN not in str(caught.value)


@pytest.mark.parametrize("ends", ["\n", "\r\n", " ", "\t"])
def test_what_was_pasted_with_a_line_break_is_read_without(ends: str) -> None:
    fields = {**FIELDS, "login": f"my-app{ends}", "password": f"{ends}{secrets.APP_SECRET}{ends}"}
    credentials = parse_connection(**fields, extra={"bk_token": f"{secrets.BK_TOKEN}{ends}"}).endpoint.credentials
    assert (credentials.app_code, credentials.app_secret) == ("my-app", secrets.APP_SECRET)
    assert credentials.bk_token == secrets.BK_TOKEN


@pytest.mark.parametrize("inside", ["\n", "\x00", "\u200b"])
@pytest.mark.parametrize("field", ["login", "password", "bk_username", "bk_token", "access_token"])
def test_a_secret_with_a_line_break_inside_cannot_be_one(field: str, inside: str) -> None:
    secret = f"{secrets.APP_SECRET}{inside}{secrets.BK_TOKEN}"
    fields: dict[str, Any] = {**FIELDS, "extra": {"bk_username": "admin"}}
    if field in FIELDS:
        fields[field] = secret
    else:
        fields["extra"] = {field: secret}
    with pytest.raises(SopsConfigError, match="cannot be seen: paste it anew") as caught:
        parse_connection(**fields)
    assert caught.value.field.startswith(field)


def test_fields_that_mean_nothing_are_named() -> None:
    assert site(extra={"verfiy": False, "biz": 2, "empty": ""}).unknown_fields == ("biz", "verfiy")


def test_all_secrets_of_a_connection_are_known() -> None:
    one = site(
        extra={
            "bk_username": "",
            "bk_token": secrets.BK_TOKEN,
            "headers": {"X-Secret": secrets.HEADER_SECRET},
            "proxies": f"http://me:{secrets.PROXY_PASSWORD}@proxy:3128",
        }
    )
    assert set(one.secrets) >= {
        secrets.APP_SECRET,
        secrets.BK_TOKEN,
        secrets.HEADER_SECRET,
        secrets.PROXY_PASSWORD,
    }
    assert "Zq7" not in repr(one)
    other = site(extra={"bk_username": "", "access_token": secrets.ACCESS_TOKEN})
    assert secrets.ACCESS_TOKEN in other.secrets
    assert "Zq7" not in repr(other)


def test_what_is_no_credential_is_no_secret() -> None:
    one = site(extra={"headers": {"X-Stage": "prod", "X-Bk-Scene": "ops"}, "tenant_id": "system"})
    assert one.secrets == (secrets.APP_SECRET,)
    assert scrub(f"{GATEWAY_HOST}/ in the filesystem", one.endpoint.secrets) == f"{GATEWAY_HOST}/ in the filesystem"


# ---- the forms of an Airflow connection ----


def read(connection: Any) -> Site:
    return parse_connection(
        host=connection.host,
        schema=connection.schema,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        extra=connection.extra_dejson,
    )


EXTRA = {"bk_username": "admin", "bk_biz_id": 2, "verify": False, "headers": {"X-Site": "a"}}


def connections() -> dict[str, Any]:
    from airflow.models.connection import Connection

    whole = Connection(conn_id="c", conn_type="sops", **FIELDS, extra=json.dumps(EXTRA))
    as_json = json.dumps({"conn_type": "sops", **FIELDS, "extra": EXTRA})
    quoted = "Zq7appsecret%2F%2B%26%3D%259"
    flat = "bk_username=admin&bk_biz_id=2&verify=false&headers=%7B%22X-Site%22%3A%20%22a%22%7D"
    return {
        "fields": whole,
        "URI made by Airflow": Connection(conn_id="c", uri=whole.get_uri()),
        "JSON": Connection.from_json(as_json, conn_id="c"),
        "URI with a path": Connection(
            conn_id="c", uri=f"sops://app:{quoted}@bkapi.example.com/api%2Fbk-sops%2Fprod?{flat}"
        ),
        "URI with a quoted address": Connection(
            conn_id="c", uri=f"sops://app:{quoted}@https%3A%2F%2Fbkapi.example.com%2Fapi%2Fbk-sops%2Fprod/?{flat}"
        ),
    }


@pytest.mark.parametrize(
    "form", ["fields", "URI made by Airflow", "JSON", "URI with a path", "URI with a quoted address"]
)
def test_every_form_of_a_connection_says_the_same(form: str) -> None:
    one = read(connections()[form])
    assert (one.endpoint.api_type, one.endpoint.base_url) == ("apigw", GATEWAY_HOST)
    assert one.endpoint.credentials.app_secret == secrets.APP_SECRET
    assert one.endpoint.headers == {"X-Site": "a"}
    assert (one.bk_biz_id, one.settings.verify, one.unknown_fields) == (2, False, ())


# ---- the form ----


def test_every_field_of_the_form_is_read_and_described() -> None:
    assert list(conn_fields()) == list(EXTRA_FIELDS)
    for name, field in conn_fields().items():
        assert field["label"]
        assert field["description"]
        assert "null" in field["schema"]["type"], name  # an empty field is no error
    hidden = {name for name, field in conn_fields().items() if field["schema"].get("format") == "password"}
    assert hidden == {"bk_token", "access_token", "headers", "webhook_token"}


def test_an_empty_form_field_counts_as_not_given() -> None:
    empty = dict.fromkeys(EXTRA_FIELDS, "") | {"bk_username": "admin"}
    nothing = dict.fromkeys(EXTRA_FIELDS) | {"bk_username": "admin"}
    for extra in (empty, nothing):
        one = parse_connection(**FIELDS, extra=extra)
        assert one == site()


def test_the_form_names_the_fields_as_blueking_does() -> None:
    assert UI_FIELD_BEHAVIOUR["relabeling"] == {"host": "SOPS address", "login": "App code", "password": "App secret"}
    assert set(UI_FIELD_BEHAVIOUR["placeholders"]) <= {"host", "port", "login", "password", *EXTRA_FIELDS}
