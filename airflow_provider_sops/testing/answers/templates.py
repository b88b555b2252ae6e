# SPDX-License-Identifier: Apache-2.0
"""What SOPS says of templates."""

from __future__ import annotations

import copy
from datetime import tzinfo
from typing import Any

from airflow_provider_sops.testing.answers.projects import Project, project_fields
from airflow_provider_sops.testing.answers.times import iso_time, local_time
from airflow_provider_sops.testing.templates.template import Template

_ACTIONS = [
    "flow_create",
    "flow_view",
    "flow_edit",
    "flow_delete",
    "flow_create_task",
    "flow_create_mini_app",
    "flow_create_periodic_task",
    "flow_create_clocked_task",
]
_TYPE_NAMES = {"input": "输入框", "textarea": "文本框", "int": "整数", "password": "密码"}


def template_row(template: Template, project: Project, created: float, zone: tzinfo | None) -> dict[str, Any]:
    """One row of get_template_list."""
    moment = local_time(created) if zone is None else iso_time(created, zone)
    return {
        "id": template.id,
        "name": template.name,
        "creator": "tmpl_owner",
        "create_time": moment,
        "editor": None,
        "edit_time": moment,
        "category": "Default",
        "description": template.description,
        **({} if template.common else project_fields(project)),
        "auth_actions": _ACTIONS,
    }


def template_tree(template: Template) -> dict[str, Any]:
    """``pipeline_tree`` of get_template_info."""
    tree = copy.deepcopy({key: value for key, value in template.graph.tree.items() if key not in ("line", "location")})
    for constant in tree["constants"].values():
        constant["schema"] = {"type": "string", "description": "输入框变量", "enum": []}
    return tree


def template_constants(template: Template) -> list[dict[str, Any]]:
    """``template_constants`` of get_template_info with ``include_constants``."""
    tree = template.graph.tree
    used = [str(activity.get("component", activity.get("pipeline"))) for activity in tree["activities"].values()]
    return [
        {
            "name": constant["name"],
            "key": constant["key"],
            "show_type": constant["show_type"],
            "constant_type": _TYPE_NAMES.get(constant["custom_type"], constant["custom_type"]),
            "activity_count": sum(constant["key"] in text for text in used),
        }
        for constant in tree["constants"].values()
    ]
