# SPDX-License-Identifier: Apache-2.0
"""The SOPS task to create, without I/O: its template, its constants, and the nodes to run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.models import Template, readers
from airflow_provider_sops.core.pipeline_tree import Activity, activities
from airflow_provider_sops.core.text import storable

#: Parameters of ``create_task`` that name nodes of the template: those to leave out, and those to run.
NODE_FIELDS = ("exclude_task_nodes_id", "execute_task_nodes_id")
#: And the one that names execution schemes, which are lists of nodes to run.
SCHEMES = "template_schemes_id"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """The SOPS task to create."""

    title: str
    template_id: int | None = None
    template_name: str = ""
    #: ``business`` or ``common``
    template_source: str = "business"
    #: values by key as SOPS writes them, ``${IP}``
    constants: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: further parameters of ``create_task`` as SOPS names them
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source_param(self) -> str | None:
        """The parameter ``template_source`` as SOPS takes it; the business is what it means by default."""
        return None if self.template_source == "business" else self.template_source

    @property
    def node_fields(self) -> list[str]:
        """The parameters given that say which nodes are to run."""
        return [name for name in (*NODE_FIELDS, SCHEMES) if self.params.get(name)]


def find_template(project: Project, name: str, source: str) -> Flow[int]:
    """Find the one template of this name.

    :raises SopsConfigError: there is none, or several; says what came near.
    """
    template_source = source if source != "business" else None
    answer = yield project.call("get_template_list", name_keyword=name, template_source=template_source)
    named = readers.template_list(answer)
    matches = [template for template in named if template.name == storable(name)]
    if len(matches) == 1:
        return matches[0].template_id
    kind = "common template" if source == "common" else "template"
    if matches:
        ids = ", ".join(str(template.template_id) for template in matches)
        raise SopsConfigError(
            "template_name", f"{len(matches)} {kind}s are named {name!r}: give template_id, one of {ids}"
        )
    if not named:
        answer = yield project.call("get_template_list", template_source=template_source)
        named = readers.template_list(answer)
    names = sorted({template.name for template in named})
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.4) or [other for other in names if name in other][:5]
    raise SopsConfigError(
        "template_name",
        f"no {kind} of this business is named {name!r}; near it come: {', '.join(map(repr, near)) or 'none'}",
    )


def called(template: Template) -> str:
    return f"template {template.template_id} {template.name!r}"


def node_ids(template: Template, params: Mapping[str, Any]) -> dict[str, list[str]]:
    """Make ids of the nodes that are to be left out or run, given by id or by name.

    SOPS takes ids of nodes to run that the template does not have, and leaves out all others.

    :return: by the name of the field; without those that are not given.
    :raises SopsConfigError: a node is not there, a name is that of several, or nothing is left to run.
    """
    nodes = {node.id: node for node in activities(template.pipeline_tree) if not node.path}
    ids = {name: _resolved(template, name, params[name], nodes) for name in NODE_FIELDS if params.get(name)}
    left_out, run = (set(ids.get(name, ())) for name in NODE_FIELDS)
    always = {own for own, node in nodes.items() if not node.optional}
    left = (run | always if run else set(nodes)) - left_out
    if ids and not left and not params.get(SCHEMES):
        raise SopsConfigError(" and ".join(ids), f"of {called(template)} no node is left to run")
    return ids


def _resolved(template: Template, field: str, given: Iterable[object], nodes: Mapping[str, Activity]) -> list[str]:
    found: dict[str, None] = {}
    unknown = []
    for word in map(str, given):
        named = [word] if word in nodes else [own for own, node in nodes.items() if node.name == word]
        if len(named) > 1:
            raise SopsConfigError(
                field,
                f"{called(template)} has {len(named)} nodes named {word!r}: give an id, one of {', '.join(named)}",
            )
        if not named:
            unknown.append(repr(word))
        found.update(dict.fromkeys(named))
    if unknown:
        known = ", ".join(f"{node.name!r} (id {own})" for own, node in nodes.items()) or "none"
        raise SopsConfigError(field, f"{called(template)} has no node {', '.join(unknown)}; there are: {known}")
    return list(found)
