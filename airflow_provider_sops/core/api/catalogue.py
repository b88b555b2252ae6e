# SPDX-License-Identifier: Apache-2.0
"""The catalogue of SOPS' APIs: HTTP methods, the order of ids in the gateway's paths, limits and cache times.

A new API is added here, to :data:`APIS`; if not every release has it, also to
:data:`~airflow_provider_sops.core.api.sops_releases.SINCE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Method = Literal["GET", "POST"]
#: SOPS refuses a ``get_tasks_status`` for more ids (measured on SOPS 3.34).
MAX_IDS_PER_STATUS_CALL = 50
#: Seconds for which SOPS answers status calls from a cache: asking faster gains nothing.
STATUS_CACHE_SECONDS = 10
#: The same for ``get_task_detail``, errors included.
DETAIL_CACHE_SECONDS = 60
#: Longest name of a task that ``create_task`` accepts; and that SOPS before 3.6.31 accepts.
MAX_TASK_NAME = 100
MAX_TASK_NAME_BEFORE = 50

_TASK = ("task_id", "bk_biz_id")
_TEMPLATE = ("template_id", "bk_biz_id")
_BIZ = ("bk_biz_id",)


@dataclass(frozen=True, slots=True)
class Api:
    """One API of SOPS: its HTTP method, its ids in the order of the gateway's path, and whether it only reads."""

    method: Method
    ids: tuple[str, ...]
    reads: bool


def _get(*ids: str) -> Api:
    return Api("GET", ids, reads=True)


def _read_by_post(*ids: str) -> Api:
    return Api("POST", ids, reads=True)


def _post(*ids: str) -> Api:
    return Api("POST", ids, reads=False)


#: Path orders as SOPS 3.34 has them. Any other API can be called too, see
#: :func:`~airflow_provider_sops.core.api.calls.make_call`.
APIS: Mapping[str, Api] = {
    "apply_webhook_configs": _post(*_BIZ),
    "claim_functionalization_task": _post(*_TASK),
    "create_and_start_task": _post(*_TEMPLATE),
    "create_clocked_task": _post(*_TEMPLATE),
    "create_periodic_task": _post(*_TEMPLATE),
    "create_task": _post(*_TEMPLATE),
    "create_template": _post(*_BIZ),
    "dispatch_plugin_query": _post(),
    "fast_create_task": _post(*_BIZ),
    "get_clocked_task_list": _get(*_BIZ),
    "get_common_template_info": _get("template_id"),
    "get_common_template_list": _get(),
    "get_functionalization_task_list": _get(),
    "get_mini_app_list": _get(*_BIZ),
    "get_periodic_task_info": _get(*_TASK),
    "get_periodic_task_list": _get(*_BIZ),
    "get_plugin_detail": _get(*_BIZ),
    "get_plugin_list": _get(*_BIZ),
    "get_task_count": _get(*_BIZ),
    "get_task_detail": _get(*_TASK),
    "get_task_list": _get(*_BIZ),
    "get_task_node_data": _get("bk_biz_id", "task_id"),
    "get_task_node_detail": _get(*_TASK),
    "get_task_node_log": _get(*_TASK),
    "get_task_operate_record": _get(*_TASK),
    "get_task_status": _get(*_TASK),
    "get_tasks_manual_intervention_state": _read_by_post(*_BIZ),
    "get_tasks_status": _read_by_post(*_BIZ),
    "get_template_info": _get(*_TEMPLATE),
    "get_template_list": _get(*_BIZ),
    "get_template_schemes": _get("bk_biz_id", "template_id"),
    "get_user_project_detail": _get(*_BIZ),
    "get_user_project_list": _get(),
    "import_common_template": _post(),
    "import_project_template": _post(*_BIZ),
    "modify_constants_for_periodic_task": _post(*_TASK),
    "modify_constants_for_task": _post(*_TASK),
    "modify_cron_for_periodic_task": _post(*_TASK),
    "node_callback": _post(*_TASK),
    "operate_node": _post("bk_biz_id", "task_id"),
    "operate_task": _post(*_TASK),
    "preview_common_task_tree": _read_by_post("bk_biz_id", "template_id"),
    "preview_task_tree": _read_by_post("bk_biz_id", "template_id"),
    "query_task_count": _read_by_post(*_BIZ),
    "register_project": _post(),
    "set_periodic_task_enabled": _post(*_TASK),
    "start_task": _post(*_TASK),
}
