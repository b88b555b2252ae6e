# SPDX-License-Identifier: Apache-2.0
"""Since which release SOPS has what this provider relies on.

There is no API that tells a site's release, and nothing here is guessed from one: what a site can do is learnt from its
answers. The table says in errors which release would have helped, and the fake SOPS is built on it.

Source: SOPS' public code by tag, V3.1.32 (2019-04) to V3.34.12 (2026-06); not measured on old servers. Side branches
(3.5.x lived beside 3.6.x, 3.32.x beside 3.33.x) may have more than their number says.
"""

from __future__ import annotations

from collections.abc import Mapping

#: The first release that has it, by API, or by API and parameter or field; what is not named is in every release.
SINCE: Mapping[str, str] = {
    "create_and_start_task": "3.9.2",
    "create_task.callback_url": "3.25.0",
    "create_task.execute_task_nodes_id": "3.9.2",
    "create_task.name of 100 characters": "3.6.31",
    "create_task.simplify_vars": "3.6.40",
    "create_task.template_schemes_id": "3.24.0",
    "fast_create_task": "3.4.7",
    "get_task_detail": "3.3.8",
    "get_task_detail.pipeline_tree": "3.3.10",
    "get_task_list": "3.6.22",
    "get_task_list.count": "3.6.27",
    "get_task_list.create_method": "3.31.6",
    "get_task_list.create_time_start": "3.34.5",
    "get_task_list.template_id": "3.31.6",
    "get_task_list.without_count": "3.33.0",
    "get_task_node_data": "3.5.5",
    "get_task_node_detail": "3.3.8",
    "get_task_node_detail.loop": "3.26.5",
    "get_task_node_log": "3.34.5",
    "get_task_status.failed_node_info": "3.31.13",
    "get_task_status.auto_retry_status": "3.33.0",
    "get_task_status.ex_data": "3.6.10",
    "get_tasks_manual_intervention_state": "3.6.22",
    "get_tasks_status": "3.5.5",
    "get_tasks_status.is_deleted": "3.6.22",
    "get_template_list.name_keyword": "3.6.22",
    "get_template_info.include_constants": "3.34.5",
    "get_user_project_list": "3.5.5",
    "modify_constants_for_task": "3.6.22",
    "node_callback": "3.3.10",
    "operate_node": "3.5.5",
    "preview_task_tree": "3.5.5",
    "scope": "3.4.7",
}


def numbers(release: str) -> tuple[int, ...]:
    """Read a release, ``"3.6.22"``, as numbers that can be compared.

    :raises ValueError: it is none.
    """
    return tuple(int(part) for part in release.split("."))


def since(what: str) -> str:
    """Say since which release SOPS has something, to be put behind its name in an error.

    :param what: a key of :data:`SINCE`.
    :return: e.g. ``" (SOPS has it since 3.6.22)"``; empty for anything else.
    """
    return f" (SOPS has it since {SINCE[what]})" if what in SINCE else ""
