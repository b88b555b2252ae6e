# SPDX-License-Identifier: Apache-2.0
"""The plugin that gives templates ``macros.sops.render``."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_sops.core.variables import render


class SopsPlugin(AirflowPlugin):
    """Macros for templates: ``{{ macros.sops.render("ping $<IP>", ti.xcom_pull("outputs"), quote=True) }}``."""

    name = "sops"
    macros = [render]  # noqa: RUF012 (Airflow's own declaration)
