# SPDX-License-Identifier: Apache-2.0
"""The app under ``/sops`` in Airflow's API server. Airflow authenticates nothing there: each route does by itself."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from airflow_provider_sops.compat import HAS_PLUGIN_TABS
from airflow_provider_sops.web.webhook import Webhook


def make_app() -> Starlette:
    """Make the app with the routes of all that is served."""
    routes: list[BaseRoute] = [*Webhook().routes()]
    if HAS_PLUGIN_TABS:
        from airflow_provider_sops.web.task_page import make_task_page

        routes.append(Mount("/task_instance", make_task_page()))
    return Starlette(routes=routes)
