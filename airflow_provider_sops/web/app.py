# SPDX-License-Identifier: Apache-2.0
"""The app under ``/sops`` in Airflow's API server. Airflow authenticates nothing there: each route does by itself."""

from __future__ import annotations

from starlette.applications import Starlette

from airflow_provider_sops.web.webhook import Webhook


def make_app() -> Starlette:
    """Make the app with the routes of all that is served."""
    return Starlette(routes=[*Webhook().routes()])
