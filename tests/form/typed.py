# SPDX-License-Identifier: Apache-2.0
"""What somebody types into the connection form, and what the hook must read then, whichever Airflow's form it is."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import certifi

#: one that is there, or the hook refuses it
CA_BUNDLE = certifi.where()
#: values that a page must never get back
SECRETS = ("demo-secret", "demo-token", "demo-access-token", "Zq7header", "Zq7proxy")
STANDARD_FIELDS = ("host", "login", "password", "port")


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def typed(address: str) -> dict[str, dict[str, Any]]:
    """Three connections that between them use every field, by connection id.

    :param address: of a SOPS that answers.
    """
    return {
        "form_user": {
            "host": address,
            "login": "demo-app",
            "password": "demo-secret",
            "bk_username": "admin",
            "bk_biz_id": 2,
        },
        "form_esb": {
            "host": "127.0.0.1",
            "login": "demo-app",
            "password": "demo-secret",
            "port": 8443,
            "api_type": "esb",
            "bk_token": "demo-token",
            "bk_biz_id": 7,
            "scope": "project",
            "verify": "false",
            "timeout": 12.5,
            "headers": '{"X-Site": "Zq7header"}',
            "tenant_id": "tenant-1",
        },
        "form_access_token": {
            "host": "bkapi.example.com/api/bk-sops/stag/",
            "access_token": "demo-access-token",
            "verify": CA_BUNDLE,
            "proxies": "http://user:Zq7proxy@proxy.example.com:3128",
        },
    }


def wanted(address: str) -> dict[str, dict[str, Any]]:
    """What the hook must read from them, with a digest in place of what is secret."""
    nothing = {name: digest("") for name in ("app_code", "app_secret", "bk_username", "bk_token", "access_token")}
    app = nothing | {"app_code": digest("demo-app"), "app_secret": digest("demo-secret")}
    defaults: dict[str, Any] = {
        "api_type": "apigw",
        "headers": digest("{}"),
        "bk_biz_id": None,
        "scope": "cmdb_biz",
        "read_timeout": 30.0,
        "verify": True,
        "proxies": digest("{}"),
        "unknown_fields": [],
    }
    proxy = "http://user:Zq7proxy@proxy.example.com:3128"
    return {
        "form_user": defaults
        | {
            "base_url": address,
            "credentials": app | {"bk_username": digest("admin")},
            "bk_biz_id": 2,
        },
        "form_esb": defaults
        | {
            "api_type": "esb",
            "base_url": "https://127.0.0.1:8443/api/c/compapi/v2/sops",
            "credentials": app | {"bk_token": digest("demo-token")},
            "headers": digest(repr({"X-Site": "Zq7header", "X-Bk-Tenant-Id": "tenant-1"})),
            "bk_biz_id": 7,
            "scope": "project",
            "read_timeout": 12.5,
            "verify": False,
        },
        "form_access_token": defaults
        | {
            "base_url": "https://bkapi.example.com/api/bk-sops/stag",
            "credentials": nothing | {"access_token": digest("demo-access-token")},
            "verify": CA_BUNDLE,
            "proxies": digest(repr({"http": proxy, "https": proxy})),
        },
    }
