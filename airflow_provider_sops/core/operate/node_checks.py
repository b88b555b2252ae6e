# SPDX-License-Identifier: Apache-2.0
"""What is checked before a node is operated: SOPS says yes to much that changes nothing."""

from __future__ import annotations

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call, nocache
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.models import NodeStatus, TaskStatus, readers
from airflow_provider_sops.core.operate.wording import CALL_BACK, named, refused, resume_action, resume_advice
from airflow_provider_sops.core.pipeline_tree import activities
from airflow_provider_sops.core.states import TaskState

#: The plugin of a pause node, which waits for a callback.
PAUSE_PLUGIN = "pause_node"


def check_node(project: Project, call: Call, action: str, status: TaskStatus, node: NodeStatus) -> Flow[None]:
    """Refuse what SOPS says yes to although nothing comes of it, and what it refuses by a traceback.

    :raises errors.SopsInvalidOperationError: says what would help.
    """
    subject = f"node {named(node)} of {status.name!r} is {node.state}"
    if node.state is TaskState.SUSPENDED and action in ("retry", "skip", "callback", "forced_fail", "skip_exg"):
        raise refused(call, subject, f"It is paused: use the action {resume_action(node)!r} first.")
    if action in ("retry", "skip", "skip_exg") and node.state is not TaskState.FAILED:
        waits = yield from is_waiting_pause_node(project, status, node)
        raise refused(call, subject, CALL_BACK if waits else "That is for a node that has FAILED.")
    if action == "callback":
        if node.state is TaskState.FAILED:
            raise refused(call, subject, "It waits for no callback: retry or skip it.")
        if not (yield from _may_wait_for_callback(project, status, node)):
            raise refused(call, f"{subject} and waits for no callback", "SOPS would say yes and change nothing.")
    if action == "forced_fail" and node.state is not TaskState.RUNNING:
        raise refused(call, subject, "Only a node that is RUNNING can be made to fail.")
    if action == "pause":
        raise refused(
            call, subject, "A node can be paused before the task comes to it; pause the task, or a subprocess, instead."
        )
    if action in ("resume", "resume_subproc") and node.state is TaskState.NODE_SUSPENDED:
        inner = [one for one, _ in node.walk() if one.state is TaskState.SUSPENDED]
        raise refused(call, subject, f"It is not paused itself; what is: {resume_advice(inner)}" if inner else None)
    if action == "resume" and node.state is TaskState.SUSPENDED and node.children:
        raise refused(call, subject, "It is a subprocess: use the action 'resume_subproc'.")
    if action == "resume_subproc" and node.state is TaskState.SUSPENDED and not node.children:
        raise refused(call, subject, "It is no subprocess: use the action 'resume'.")
    if action == "pause_subproc" and not node.children:
        raise refused(call, subject, "It is no subprocess, or has not begun.")


def is_waiting_pause_node(project: Project, status: TaskStatus, node: NodeStatus) -> Flow[bool]:
    """Return whether a node is a pause node that waits for a callback, as far as its task can be read."""
    if node.state is not TaskState.RUNNING or node.children:
        return False
    try:
        # a tree never changes, so a cached answer will do
        answer = yield project.call("get_task_detail", task_id=status.task_id)
        nodes = activities(readers.task_detail(answer).pipeline_tree)
    except errors.SopsError:
        return False
    return any(one.id == node.id and one.plugin == PAUSE_PLUGIN for one in nodes)


def _may_wait_for_callback(project: Project, status: TaskStatus, node: NodeStatus) -> Flow[bool]:
    """Return whether a node may wait for somebody's callback: a pause node does, and others as SOPS says of the task.

    Other plugins wait for callbacks too, and SOPS says of the task alone whether it waits for a person; where it does
    not say, it is tried: that nothing comes of it is seen then.
    """
    if node.state is not TaskState.RUNNING or node.children:
        return False
    if (yield from is_waiting_pause_node(project, status, node)):
        return True
    try:
        answer = yield project.call("get_tasks_manual_intervention_state", task_id_list=[status.task_id], **nocache())
        return readers.interventions(answer).get(status.task_id, False)
    except errors.SopsError:
        return True
