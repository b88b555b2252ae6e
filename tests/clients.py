# SPDX-License-Identifier: Apache-2.0
"""A fake SOPS with secrets, and its clients: made of a connection's fields, as the hook makes them, without Airflow."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.connection import Site, parse_connection
from airflow_provider_sops.core.http.client import SopsClient
from airflow_provider_sops.core.http.retry import NO_RETRY, RetryPolicy
from airflow_provider_sops.testing import FakeSops
from tests import secrets


def secret_sops(**arguments: Any) -> FakeSops:
    """Make a fake SOPS without caches, whose credentials are the secrets that must not show."""
    credentials = {
        "apps": {"demo-app": secrets.APP_SECRET},
        "user_tokens": {secrets.BK_TOKEN: "admin"},
        "access_tokens": {secrets.ACCESS_TOKEN: ("demo-app", "admin")},
    }
    fake = FakeSops(**{"caches": False, **credentials, **arguments})
    fake.app_secret = secrets.APP_SECRET
    return fake


def fields_of(fake: FakeSops, api_type: str = "apigw", **extra: Any) -> dict[str, Any]:
    """Return the fields of a connection to one of the endpoints.

    :param extra: further fields of the connection's extra.
    """
    fields = fake.connection(api_type, **extra)
    fields.pop("conn_type")
    return fields


def site_of(fake: FakeSops, api_type: str = "apigw", **extra: Any) -> Site:
    """Read a connection to one of the endpoints.

    :param extra: further fields of the connection's extra.
    """
    return parse_connection(**fields_of(fake, api_type, **extra))


def client_of(site: Site, retry: RetryPolicy = NO_RETRY) -> SopsClient:
    """Make a client that tries each call once, unless said otherwise."""
    return SopsClient(site.endpoint, bk_biz_id=site.bk_biz_id, scope=site.scope, settings=site.settings, retry=retry)


def connect_to(fake: FakeSops, api_type: str = "apigw", retry: RetryPolicy = NO_RETRY, **extra: Any) -> SopsClient:
    """Make a client of one of the endpoints of a fake SOPS."""
    return client_of(site_of(fake, api_type, **extra), retry)
