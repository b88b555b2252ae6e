# SPDX-License-Identifier: Apache-2.0
"""What Airflow learns of this provider from the entry point ``apache_airflow_provider``."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops import __version__
from airflow_provider_sops.configuration import CONFIG
from airflow_provider_sops.connection import CONN_TYPE, HOOK_NAME, UI_FIELD_BEHAVIOUR, conn_fields


def get_provider_info() -> dict[str, Any]:
    """Describe the provider: its connection type with the form, its modules and links."""
    integration = "BlueKing Standard OPS (SOPS)"
    package = "airflow_provider_sops"
    return {
        "package-name": "airflow-provider-sops",
        "name": HOOK_NAME,
        "description": "BlueKing Standard OPS (蓝鲸标准运维): wait for SOPS tasks, run them, use their outputs.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://github.com/TencentBlueKing/bk-sops",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": [f"{package}.hooks.sops"]}],
        "sensors": [{"integration-name": integration, "python-modules": [f"{package}.sensors.sops"]}],
        "operators": [{"integration-name": integration, "python-modules": [f"{package}.operators.sops"]}],
        "triggers": [{"integration-name": integration, "python-modules": [f"{package}.triggers.sops"]}],
        "connection-types": [
            {
                "connection-type": CONN_TYPE,
                "hook-class-name": f"{package}.hooks.sops.SopsHook",
                "hook-name": HOOK_NAME,
                "conn-fields": conn_fields(),
                "ui-field-behaviour": dict(UI_FIELD_BEHAVIOUR),
            }
        ],
        "config": {section: dict(described) for section, described in CONFIG.items()},
        "extra-links": [f"{package}.links.sops.SopsTaskLink"],
        "plugins": [{"name": "sops", "plugin-class": f"{package}.plugins.sops.SopsPlugin"}],
    }
