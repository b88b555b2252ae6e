# SPDX-License-Identifier: Apache-2.0
"""What SOPS' JSON schema says of a task that is to be made; the words of a refusal are the library's, as in SOPS."""

from __future__ import annotations

from typing import Any

import jsonschema

from airflow_provider_sops.testing.refusals import PARAMETER, Stop, refusal
from airflow_provider_sops.testing.releases import Release

_ID = {"oneOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}]}
#: Parameters of one of the two APIs, in the order of the recorded refusals: what SOPS fills in for those not given.
_DEFAULTS: dict[bool, dict[str, Any]] = {
    False: {
        "constants": {},
        "flow_type": "common",
        "exclude_task_nodes_id": [],
        "simplify_vars": [],
        "execute_task_nodes_id": [],
        "template_schemes_id": [],
    },
    True: {
        "flow_type": "common",
        "template_source": "business",
        "constants": {},
        "exclude_task_nodes_id": [],
        "template_schemes_id": [],
    },
}


def check_create(params: dict[str, Any], and_start: bool, release: Release) -> None:
    """Check what create_task, or create_and_start_task, is asked with.

    :raises Stop: the schema refuses it.
    """
    defaults = {name: value for name, value in _DEFAULTS[and_start].items() if name not in params}
    instance = {name: value for name, value in params.items() if name != "scope"} | defaults
    try:
        jsonschema.validate(instance, _schema(and_start, release))
    except jsonschema.ValidationError as error:
        word = "parmas" if and_start else "params"  # SOPS' own spelling
        raise Stop(refusal(f"task {word} is invalid: {error}", PARAMETER)) from None


def _schema(and_start: bool, release: Release) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "name": {"type": "string", "minLength": 1, "maxLength": release.longest_name},
        "flow_type": {"type": "string", "enum": ["common", "common_func"]},
        "constants": {"type": "object"},
        "exclude_task_nodes_id": {"type": "array"},
    }
    if not and_start and release.has("create_task.execute_task_nodes_id"):
        properties["execute_task_nodes_id"] = {"type": "array"}
    if release.has("create_task.template_schemes_id"):
        properties["template_schemes_id"] = {"oneOf": [_ID, {"type": "array", "items": _ID}]}
    if and_start:
        properties["template_source"] = {"type": "string"}
    return {"type": "object", "required": ["name"], "properties": properties}
