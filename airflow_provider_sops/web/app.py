# SPDX-License-Identifier: Apache-2.0
"""The app under ``/sops`` in Airflow's API server. Airflow authenticates nothing there: each route does by itself."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import BaseRoute


def make_app() -> Starlette:
    """Make the app with the routes of all that is served."""
    routes: list[BaseRoute] = []
    return Starlette(routes=routes)
