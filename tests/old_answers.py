# SPDX-License-Identifier: Apache-2.0
"""A fake SOPS that answers as an old one does: some fields are not there, and what has no name has that of a class."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from airflow_provider_sops.testing import FakeSops

#: What a release leaves out of a status: up to 3.32, and up to 3.31.12.
COUNTS_ALONE = ("auto_retry_status",)
NO_WORD_OF_RETRIES = ("auto_retry_status", "failed_node_info")
#: What is not in a batch before 3.6.22.
BARE_ROWS = ("is_deleted", "flow_type", "current_flow")
PIPELINE = "<class 'pipeline.core.pipeline.Pipeline'>"
EVENT = "<class 'pipeline.core.flow.event.EmptyStartEvent'>"


def leave_out(fake: FakeSops, *fields: str, edit: Callable[[str, Any], None] = lambda api, data: None) -> None:
    """Let a fake leave fields out of every status, single or in a batch.

    :param edit: changes the data of an answer further, by API.
    """
    responder = fake.responder
    answer = responder.through_endpoint

    def old_answer(incoming: Any, request: Any, faults: Any) -> Any:
        reply = answer(incoming, request, faults)
        if isinstance(reply.body, dict) and reply.body.get("data"):
            api = request.api
            reply.body = copy.deepcopy(reply.body)  # the fake's caches keep it
            data = reply.body["data"]
            if api in ("get_task_status", "get_tasks_status"):
                for row in data if isinstance(data, list) else [data]:
                    for field in fields:
                        row.pop(field, None)
            edit(api, data)
        return reply

    responder.through_endpoint = old_answer  # type: ignore[method-assign]


def with_class_names(api: str, data: Any) -> None:
    """Put the names of classes where SOPS' first engine does."""
    if api == "get_task_status":
        _name_classes(data, PIPELINE)
    elif api == "get_tasks_status":
        for row in data:
            _name_classes(row["status"], PIPELINE)


def without_end_times(api: str, data: Any) -> None:
    """Leave it unsaid when a node ended."""
    if api == "get_task_status":
        for node in data.get("children", {}).values():
            node["finish_time"] = None


def _name_classes(status: dict[str, Any], name: str) -> None:
    status["name"] = name
    for node in status.get("children", {}).values():
        _name_classes(node, node["name"] or EVENT)
