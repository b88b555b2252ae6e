# SPDX-License-Identifier: Apache-2.0
"""Projects and templates."""

from __future__ import annotations

import json

from airflow_provider_sops.testing.answers import shapes
from airflow_provider_sops.testing.answers.templates import template_constants, template_row, template_tree
from airflow_provider_sops.testing.api.call import BIZ, TEMPLATE, Call, as_api
from airflow_provider_sops.testing.api.lookups import find_template, posted_graph, visible_templates
from airflow_provider_sops.testing.api.parameters import query_flag, zone_of
from airflow_provider_sops.testing.posts import webhooks
from airflow_provider_sops.testing.refusals import NOT_FOUND, Answer, Crash, refusal
from airflow_provider_sops.testing.templates.ids import node_id


@as_api("POST", ())
def dispatch_plugin_query(call: Call) -> Answer:
    """Ask a plugin of a SOPS site. No app may, unless the fake is told so; then no plugin is there."""
    return refusal("plugin not found", NOT_FOUND)


@as_api("GET", ())
def get_user_project_list(call: Call) -> Answer:
    """The projects that a user may see."""
    rows = [
        {"project_id": project.id, "bk_biz_id": project.bk_biz_id, "name": project.name}
        for project in call.site.projects.values()
        if call.site.may(call.user, "project_view")
    ]
    return {"result": True, "data": rows, "code": 0}


@as_api("GET", BIZ, "project_view")
def get_template_list(call: Call) -> Answer:
    """Templates of a project, or the common ones."""
    zone = zone_of(call)
    wanted: set[int] | None = None
    if call.query.get("id_in"):
        try:
            wanted = {int(item) for item in call.query["id_in"].split(",")}
        except ValueError:
            raise Crash from None
    keyword = call.query.get("name_keyword", "")
    rows = [
        template_row(template, call.project, call.site.created, zone)
        for template in sorted(visible_templates(call), key=lambda template: -template.id)
        if (wanted is None or template.id in wanted) and keyword.lower() in template.name.lower()
    ]
    return {"result": True, "data": rows, "code": 0}


@as_api("GET", TEMPLATE, "flow_view")
def get_template_info(call: Call) -> Answer:
    """A template with its tree."""
    template = find_template(call, ", ")
    data = template_row(template, call.project, call.site.created, zone_of(call))
    del data["auth_actions"]
    data["pipeline_tree"] = shapes.tree_of(call.release, template_tree(template))
    if query_flag(call, "include_constants"):
        data["template_constants"] = template_constants(template)
    return {"result": True, "data": data, "code": 0}


@as_api("GET", ("bk_biz_id", "template_id"), "flow_view")
def get_template_schemes(call: Call) -> Answer:
    """Execution schemes of a template."""
    template = find_template(call)
    rows = [{"id": scheme.id, "name": scheme.name, "data": json.dumps(scheme.node_ids)} for scheme in template.schemes]
    return {"result": True, "data": rows, "code": 0}


@as_api("POST", BIZ, "flow_create")
def create_template(call: Call) -> Answer:
    """Make a template of a posted tree."""
    graph = posted_graph(call, call.body.get("pipeline_tree", {}))
    name = call.body["name"]
    template = call.site.add_template(name, call.project.id, graph, call.body.get("description", ""))
    data = {
        "template_id": template.id,
        "template_name": name,
        "pipeline_template_id": node_id("template", template.id),
    }
    return {"result": True, "data": data, "code": 0, "message": "success"}


@as_api("POST", BIZ, "flow_edit")
def apply_webhook_configs(call: Call) -> Answer:
    """Give templates a webhook: SOPS 3.34.17 refuses."""
    return webhooks.apply_configs(call.body, call.site.templates, call.project)
