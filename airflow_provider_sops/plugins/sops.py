# SPDX-License-Identifier: Apache-2.0
"""The plugin: ``macros.sops.render`` for templates, and what is served in Airflow's API server."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_sops.compat import HAS_PLUGIN_TABS
from airflow_provider_sops.core.variables import render
from airflow_provider_sops.lazy_app import LazyApp


class SopsPlugin(AirflowPlugin):
    """Macros for templates: ``{{ macros.sops.render("ping $<IP>", ti.xcom_pull("outputs"), quote=True) }}``.

    Airflow 3.0 and newer also serve the app under ``/sops``, and from 3.1 on show its page as the tab "SOPS" of every
    task instance.
    """

    name = "sops"
    macros = [render]  # noqa: RUF012 (Airflow's own declaration)
    fastapi_apps = [  # noqa: RUF012
        {"name": "SOPS", "url_prefix": "/sops", "app": LazyApp("airflow_provider_sops.web.app:make_app")}
    ]
    if HAS_PLUGIN_TABS:
        external_views = [
            {
                "name": "SOPS",
                "destination": "task_instance",
                "url_route": "sops",
                # Behind the "#" nothing of a run id is taken for a part of the address; Airflow 3.1 fills it in as it
                # is, later ones encoded. Without a "/" in front, it is below a path prefix of `[api] base_url` too.
                "href": "sops/task_instance/open#{DAG_ID}/{TASK_ID}/{MAP_INDEX}/{RUN_ID}",
            }
        ]
