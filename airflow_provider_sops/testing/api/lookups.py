# SPDX-License-Identifier: Apache-2.0
"""What several views look for, and how they refuse when it is not there."""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.testing.api.call import Call
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.refusals import NOT_FOUND, PARAMETER, Stop, missing, refusal
from airflow_provider_sops.testing.templates.template import Graph, Template


def find_task(call: Call, words: str = "TaskFlowInstance matching query does not exist.") -> Task:
    """The task of the call, if it belongs to its project and is not deleted.

    :param words: the database's words for one that is not there.
    :raises Stop: there is none.
    """
    task_id = call.ids["task_id"]
    task = call.task(task_id)
    if task is None or task.deleted:
        raise missing(call.release, words.format(id=task_id), f"task[id={task_id}] of {business(call)} does not exist")
    return task


def business(call: Call) -> str:
    """The project in the words of 3.3."""
    return f"business[bk_biz_id={call.project.bk_biz_id}]"


def visible_templates(call: Call) -> list[Template]:
    """The templates of the project, or, where the call is about these, the common ones."""
    return [
        template
        for template in call.site.templates.values()
        if not template.deleted
        and template.common == call.is_common
        and (template.common or template.project_id == call.project.id)
    ]


def find_template(call: Call, comma: str = ",") -> Template:
    """The template of the call, if its project may see it and it is not deleted.

    :param comma: what stands in the refusal between the project's ids.
    :raises Stop: there is none.
    """
    template_id = call.ids["template_id"]
    for template in visible_templates(call):
        if template.id == template_id:
            return template
    if call.is_common:
        raise Stop(refusal(f"common template[id={template_id}] does not exist", NOT_FOUND))
    project = f"project[project_id={call.project.id}{comma}biz_id={call.project.bk_biz_id}]"
    place = project if call.release.has("scope") else business(call)
    raise Stop(refusal(f"template[id={template_id}] of {place} does not exist", NOT_FOUND))


def posted_graph(call: Call, tree: Any, *, draw: bool = True) -> Graph:
    """The graph of a tree that the caller has posted.

    :param draw: give the tree places and lines to be drawn with.
    :raises Stop: a part of it is missing.
    """
    try:
        return call.site.posted_graph(tree, draw=draw)
    except (KeyError, TypeError, AttributeError) as error:
        message = f"[API] {call.api.name} get invalid pipeline_tree: {error}"
        raise Stop(refusal(message, PARAMETER, data=None), traced=False) from None
