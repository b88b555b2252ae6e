# SPDX-License-Identifier: Apache-2.0
"""A secrets backend that knows nothing and is slow at it, as a vault at the other end of a network may be."""

from __future__ import annotations

import time

try:
    from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
except ImportError:  # before Airflow 3.2
    from airflow.secrets import BaseSecretsBackend  # type: ignore[assignment]

#: Connections whose id begins so are slow to look up; and how slow (seconds).
SLOW, SECONDS = "slow", 0.3


class SlowSecretsBackend(BaseSecretsBackend):
    """Has no connection and no variable."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        if conn_id.startswith(SLOW):
            time.sleep(SECONDS)
        return None

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        return None

    def get_config(self, key: str) -> str | None:
        return None
