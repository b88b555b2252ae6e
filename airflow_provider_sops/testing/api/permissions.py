# SPDX-License-Identifier: Apache-2.0
"""What SOPS asks IAM for before a view, and what it looks for before it asks."""

from __future__ import annotations

from airflow_provider_sops.testing.api.call import Call
from airflow_provider_sops.testing.refusals import denial, missing


def ask_iam(call: Call) -> None:
    """Ask IAM for the action of the call's API, and find its task or template first.

    :raises Stop: one is not there, or the user does not have the action.
    """
    action = call.api.action
    if not action or call.trusted:
        return
    if call.api.name == "node_callback" and not call.release.has("scope"):
        action = "manage_business"
    if "task_id" in call.ids:
        _look_for_task(call)
    if "template_id" in call.ids:
        common = call.is_common
        template = call.site.templates.get(call.ids["template_id"])
        if template is None or template.common != common:
            kind = "CommonTemplate" if common else "TaskTemplate"
            words = f"{'common ' if common else ''}template[id={call.ids['template_id']}] does not exist"
            raise missing(call.release, f"{kind}(id={call.ids['template_id']}) does not exist.", words)
    require(call, action)


def _look_for_task(call: Call) -> None:
    """What SOPS finds out before it asks IAM: whether there is the task. Before 3.6 also whose it is."""
    if not call.release.has("scope") and call.api.name not in ("start_task", "operate_task"):
        return  # 3.3 asks about the business only
    task_id = call.ids["task_id"]
    task = call.site.tasks.get(task_id)
    if task is None or not (call.release.has("IAM") or task.project_id == call.project.id):
        raise missing(
            call.release, f"TaskFlowInstance(id={task_id}) does not exist.", f"task[id={task_id}] does not exist"
        )


def require(call: Call, action: str) -> None:
    """Ask IAM for one action.

    :raises Stop: the user does not have it.
    """
    if not call.trusted and not call.site.may(call.user, action):
        raise denial(call.release, call.user, action, _perm(call, action), call.denial_status)


def _perm(call: Call, action: str) -> str:
    """What a user lacks, in the words of 3.3: it asks about a task or template only where something is changed."""
    if call.api.name in ("start_task", "operate_task"):
        return f"perm[perm={action}] of task[id={call.ids['task_id']}]"
    if call.api.name == "create_task":
        return f"perm[perm={action}] of template[id={call.ids['template_id']}]"
    return f"perm of business:[bk_biz_id={call.project.bk_biz_id}]"
