# SPDX-License-Identifier: Apache-2.0
"""What a template is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_sops.testing.templates.webhook import Webhook

#: The plugins that the fake knows: code -> (version, [(output key, its shown name), …]). A node with another code
#: stays RUNNING for ever, as on a server that has no such plugin (measured on SOPS 3.34).
PLUGINS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "bk_display": ("1.0", []),
    "bk_http_request": ("legacy", [("data", "响应内容"), ("status_code", "状态码")]),
    "bk_notify": ("legacy", []),
    "job_fast_execute_script": (
        "legacy",
        [("job_inst_id", "JOB任务ID"), ("job_inst_name", "JOB任务名"), ("job_inst_url", "JOB任务链接")],
    ),
    "pause_node": ("legacy", [("callback_data", "API回调数据")]),
    "sleep_timer": ("legacy", []),
    "subprocess_plugin": ("1.0.0", [("task_id", "任务ID"), ("task_url", "任务URL"), ("task_name", "任务名")]),
}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a node of the fake does beyond what SOPS' own tree says.

    :param seconds: how long the node runs; None: as its plugin says.
    :param fail: number of runs that fail before one succeeds; None: every run fails.
    :param fail_unless: inputs with which the node succeeds; it fails with any other.
    :param message: why it fails.
    :param outputs: what a successful run puts out.
    :param failed_outputs: what a failed run puts out.
    """

    seconds: Any = None
    fail: int | None = 0
    fail_unless: Mapping[str, Any] | None = None
    message: str = "failed"
    outputs: Mapping[str, Any] = field(default_factory=dict)
    failed_outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Spec:
    """A node of a template, with the ways out of it. Ids are the template's."""

    id: str
    name: str
    type: str
    data: dict[str, Any]
    targets: list[str]
    arrivals: int
    behaviour: Behaviour
    graph: Graph | None = None  # of a subprocess
    ways: dict[str, str] = field(default_factory=dict)  # of an exclusive gateway: flow -> target


@dataclass(slots=True)
class Graph:
    """A pipeline tree, ready to be walked."""

    tree: dict[str, Any]
    nodes: dict[str, Spec]
    start: str

    @property
    def constants(self) -> dict[str, dict[str, Any]]:
        """The tree's constants by key (``${IP}``)."""
        constants: dict[str, dict[str, Any]] = self.tree["constants"]
        return constants


@dataclass(slots=True)
class Scheme:
    """An execution scheme: the nodes of a template that run with it."""

    id: str
    name: str
    node_ids: list[str]


@dataclass(slots=True)
class Template:
    """A template. ``common`` ones are seen by every project."""

    id: int
    name: str
    project_id: int
    common: bool
    description: str
    graph: Graph
    behaviours: dict[str, Behaviour]
    schemes: list[Scheme]
    deleted: bool = False
    webhook: Webhook | None = None
