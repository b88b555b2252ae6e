# SPDX-License-Identifier: Apache-2.0
"""The plugin: ``macros.sops.render`` for templates, and what is served in Airflow's API server."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_sops.core.variables import render
from airflow_provider_sops.lazy_app import LazyApp


class SopsPlugin(AirflowPlugin):
    """Macros for templates: ``{{ macros.sops.render("ping $<IP>", ti.xcom_pull("outputs"), quote=True) }}``.

    Airflow 3.0 and newer also serve the app under ``/sops``.
    """

    name = "sops"
    macros = [render]  # noqa: RUF012 (Airflow's own declaration)
    fastapi_apps = [  # noqa: RUF012
        {"name": "SOPS", "url_prefix": "/sops", "app": LazyApp("airflow_provider_sops.web.app:make_app")}
    ]
