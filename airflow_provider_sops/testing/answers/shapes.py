# SPDX-License-Identifier: Apache-2.0
"""The shapes of older releases: what they leave out of an answer of 3.34, and what they call otherwise.

After SOPS' public source, not measured. Of 3.34 everything stays as it is.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_sops.testing.releases import Release

_OLD_NAMES = {"retryable": "can_retry", "skippable": "isSkipped"}
#: API -> what a release that gives these fields has.
_LATER_FIELDS = {
    "get_task_list": ("is_child_taskflow", ("is_child_taskflow",)),
    "get_task_node_detail": ("get_task_status.failed_node_info", ("auto_retry_info",)),
    "get_tasks_status": ("get_tasks_status.is_deleted", ("flow_type", "current_flow", "is_deleted")),
}
_PIPELINE = "<class 'pipeline.core.pipeline.Pipeline'>"


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def tree_of(release: Release, tree: dict[str, Any]) -> dict[str, Any]:
    """A pipeline tree; it is changed in place."""
    for activity in tree["activities"].values():
        if not release.has("auto retry of nodes"):
            activity.pop("auto_retry", None)
        if not release.has("retryable"):
            for name, old in _OLD_NAMES.items():
                if name in activity:
                    activity[old] = activity.pop(name)
        if "pipeline" in activity:
            tree_of(release, activity["pipeline"])
    return tree


def status_of(release: Release, status: dict[str, Any], types: dict[str, str]) -> dict[str, Any]:
    """``data`` of get_task_status.

    :param types: node id -> its type, for nodes without a name of their own.
    """
    if release.has("engine v2"):
        return status
    if "id" not in status:
        return _without(status, "name")
    return _first_engines(status, types) | {"name": _PIPELINE}


def _first_engines(row: dict[str, Any], types: dict[str, str]) -> dict[str, Any]:
    row = _without(row, "root_id:", "parent_id", "error_ignored")
    kind = types.get(row["id"], "")
    module = next((module for module in ("event", "gateway") if kind.lower().endswith(module)), None)
    if module is not None and not row.get("name"):
        row["name"] = f"<class 'pipeline.core.flow.{module}.{kind}'>"
    row["children"] = {own_id: _first_engines(child, types) for own_id, child in row.get("children", {}).items()}
    return row


def row_of(release: Release, api: str, row: dict[str, Any]) -> dict[str, Any]:
    """One row of an API's answer, or all of its ``data``, where nothing but fields is missing."""
    since, fields = _LATER_FIELDS[api]
    return row if release.has(since) else _without(row, *fields)


def detail_of(release: Release, detail: dict[str, Any], bk_biz_id: int) -> dict[str, Any]:
    """``data`` of get_task_detail."""
    detail = detail | {"pipeline_tree": tree_of(release, detail["pipeline_tree"])}
    if release.has("scope"):
        return detail
    names = {"project_id": "business_id", "project_name": "business_name"}
    return {names.get(name, name): value for name, value in (detail | {"project_id": bk_biz_id}).items()}
