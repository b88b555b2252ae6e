# SPDX-License-Identifier: Apache-2.0
"""A DAG whose tasks say what the hook reads from connections; of secrets only a digest."""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import dag, task


@dag("read_connections", schedule=None, start_date=pendulum.datetime(2025, 1, 1), params={"conn_ids": []})
def read_connections() -> None:
    @task
    def conn_ids(params: Any = None) -> list[str]:
        wanted: list[str] = params["conn_ids"]
        return wanted

    @task
    def read(conn_id: str) -> dict[str, Any]:
        from airflow_provider_sops.hooks.sops import SopsHook

        site = SopsHook(conn_id).site
        return {
            "api_type": site.endpoint.api_type,
            "base_url": site.endpoint.base_url,
            "credentials": {
                name: sha256(value.encode()).hexdigest() for name, value in asdict(site.endpoint.credentials).items()
            },
            "headers": sha256(repr(dict(site.endpoint.headers)).encode()).hexdigest(),
            "bk_biz_id": site.bk_biz_id,
            "scope": site.scope,
            "read_timeout": site.settings.read_timeout,
            "verify": site.settings.verify,
            "proxies": sha256(repr(dict(site.settings.proxies)).encode()).hexdigest(),
            "unknown_fields": list(site.unknown_fields),
        }

    read.expand(conn_id=conn_ids())


read_connections()
