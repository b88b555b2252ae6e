# SPDX-License-Identifier: Apache-2.0
"""Template files: TOML, checked by a JSON schema."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from airflow_provider_sops.testing.templates.flow import FlowBuilder
from airflow_provider_sops.testing.templates.ids import digest, node_id
from airflow_provider_sops.testing.templates.template import PLUGINS, Behaviour, Scheme, Template
from airflow_provider_sops.testing.templates.template_check import TemplateError, check_templates
from airflow_provider_sops.testing.templates.trees import compile_tree, expand, lay_out
from airflow_provider_sops.testing.templates.variables import key_of
from airflow_provider_sops.testing.templates.webhook import Webhook

DEFAULT_FILE = Path(__file__).parents[1] / "templates.toml"
DEFAULT_PROJECT_ID = 7


def load_templates(path: str | Path | None = None, *, independent: bool = True) -> list[Template]:
    """Read a template file.

    :param path: TOML file; None: the default set.
    :param independent: whether subprocesses may be tasks of their own; else all of them are ordinary ones.
    :raises TemplateError: the file does not say what it should; the message names the template.
    """
    with open(path or DEFAULT_FILE, "rb") as file:
        content = tomllib.load(file)
    if path is not None:  # a test has checked the default set
        check_templates(content)
    rows = {row["name"]: row for row in content.get("template", [])}
    if not independent:
        for node in (node for row in rows.values() for node in row["node"]):
            node["independent"] = False
    inner = {name: [node["subprocess"] for node in row["node"] if _is_inner(node)] for name, row in rows.items()}
    try:
        order = list(TopologicalSorter(inner).static_order())  # what stands in another one first
    except CycleError as error:
        way = error.args[1][::-1]
        raise TemplateError(f"template {way[0]!r} is its own subprocess: {' -> '.join(way)}") from error
    templates: dict[str, Template] = {}
    for name in order:
        if name not in rows:
            raise TemplateError(f"no template {name!r}")
        try:
            templates[name] = _template(rows[name], templates.__getitem__)
        except (KeyError, TypeError, ValueError) as error:  # of its webhook, of JSON, of what SOPS' tree needs
            raise TemplateError(f"template {name!r}: {error!r}") from error
    return [templates[name] for name in rows]


def _is_inner(node: Mapping[str, Any]) -> bool:
    """Whether a node is a subprocess in the task's own tree."""
    return "subprocess" in node and not node.get("independent")


def _template(row: Mapping[str, Any], find: Callable[[str], Template]) -> Template:
    template_id = row["id"]
    behaviours: dict[str, Behaviour] = {}
    tree = _tree(row, behaviours)
    expand(tree, behaviours, find)
    schemes = [
        Scheme(
            id=digest(template_id, scheme["name"]),
            name=scheme["name"],
            node_ids=[node_id(template_id, key) for key in scheme["nodes"]],
        )
        for scheme in row.get("scheme", [])
    ]
    return Template(
        id=template_id,
        name=row["name"],
        project_id=row.get("project_id", DEFAULT_PROJECT_ID),
        common=row.get("source", "business") == "common",
        description=row.get("description", ""),
        graph=compile_tree(tree, behaviours),
        behaviours=behaviours,
        schemes=schemes,
        webhook=Webhook(**row["webhook"]) if "webhook" in row else None,
    )


def _tree(row: Mapping[str, Any], behaviours: dict[str, Behaviour]) -> dict[str, Any]:
    """Pipeline tree of a template of the file; of its subprocesses it holds only the names."""
    nodes = {node["key"]: _activity(node, row["id"], behaviours) for node in row["node"]}
    tree = FlowBuilder(row["id"], nodes).build(row.get("flow") or list(nodes))
    constants = [_constant(item, index, row["id"]) for index, item in enumerate(row.get("constant", []))]
    tree |= {
        "activities": {activity["id"]: activity for activity in nodes.values()},
        "constants": {constant["key"]: constant for constant in constants},
        "outputs": [key_of(name) for name in row.get("outputs", [])],
    }
    lay_out(tree)
    return tree


def _activity(node: Mapping[str, Any], template_id: int, behaviours: dict[str, Behaviour]) -> dict[str, Any]:
    own_id = node_id(template_id, node["key"])
    activity: dict[str, Any] = {
        "id": own_id,
        "type": "ServiceActivity",
        "name": node.get("name", node["key"]),
        "stage_name": "",
        "optional": node.get("optional", True),
        "retryable": node.get("retryable", True),
        "skippable": node.get("skippable", True),
        "error_ignorable": node.get("error_ignorable", False),
        "incoming": [],
        "outgoing": "",
        "labels": [],
    }
    constants = node.get("constants", {})
    child = node.get("subprocess")
    if _is_inner(node):
        return activity | {
            "type": "SubProcess",
            "template_id": child,
            "version": "",
            "hooked_constants": [],
            "always_use_latest": True,
            "scheme_id_list": [],
            "constants": {key_of(name): {"value": value} for name, value in constants.items()},
        }
    plugin = "subprocess_plugin" if child else node["plugin"]
    inputs = {"subprocess": {"subprocess_name": child, "constants": constants}} if child else node.get("inputs", {})
    auto_retry = node.get("auto_retry")
    timeout = node.get("timeout")
    behaviours[own_id] = _behaviour(node)
    return activity | {
        "auto_retry": {"enable": bool(auto_retry), **(auto_retry or {"interval": 0, "times": 1})},
        "timeout_config": {"enable": bool(timeout), "seconds": timeout or 10, "action": "forced_fail"},
        "loop": None,
        "component": {
            "code": plugin,
            "version": PLUGINS[plugin][0] if plugin in PLUGINS else "legacy",
            "data": {key: {"hook": False, "need_render": True, "value": value} for key, value in inputs.items()},
        },
    }


def _behaviour(node: Mapping[str, Any]) -> Behaviour:
    given = {field.name: node[field.name] for field in fields(Behaviour) if field.name in node}
    if given.get("fail") == "always":
        given["fail"] = None
    return Behaviour(**given)


def _constant(item: Mapping[str, Any], index: int, template_id: int) -> dict[str, Any]:
    key = key_of(item["name"])
    kind = item.get("type", "input")
    constant = {
        "key": key,
        "name": item.get("label", item["name"]),
        "desc": item.get("description", ""),
        "custom_type": kind,
        "source_type": "custom",
        "source_tag": f"{kind}.{kind}",
        "source_info": {},
        "value": json.loads(item["json"]) if "json" in item else item.get("value", ""),
        "show_type": "show" if item.get("show", True) else "hide",
        "validation": "",
        "index": index,
        "version": "legacy",
        "is_meta": False,
        "pre_render_mako": False,
        "form_schema": {},
        "plugin_code": "",
    }
    if "from" in item:
        source, _, output = item["from"].rpartition(".")
        constant |= {
            "custom_type": "",
            "source_type": "component_outputs",
            "source_tag": "",
            "source_info": {node_id(template_id, source): [output]},
        }
    return constant
