# SPDX-License-Identifier: Apache-2.0
"""Templates of the fake SOPS: read from a TOML file, or from a pipeline tree that a caller sends."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_sops.core.diagram.places import lay_out as place_nodes
from airflow_provider_sops.core.diagram.shapes import Shape, kind_of

DEFAULT_FILE = Path(__file__).with_name("templates.toml")
DEFAULT_PROJECT_ID = 7

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

_ID = re.compile(r"\b[nl][0-9a-f]{31}\b")
_REFERENCE = re.compile(r"\$\{\s*(\w+)((?:\[[^\]]+\]|\.\w+)*)\s*\}")


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
    template_name: str = ""


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


#: Events of webhooks and SOPS' names for them.
WEBHOOK_EVENTS = {"task_finished": "任务完成", "task_failed": "任务失败"}


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where SOPS posts what happens to the tasks of a template; names are SOPS' own.

    :param endpoint: address that is posted to.
    :param events: of :data:`WEBHOOK_EVENTS`; ``"*"``: all.
    :param headers: headers of one's own.
    :param authorization: ``{"type": "bearer", "token": …}`` or ``{"type": "basic", "username": …, "password": …}``;
        empty: none.
    :param retry_times: how often a post that has failed is sent again.
    :param interval: seconds from a failure to the next try, on the fake's clock.
    :param timeout: seconds that the receiver has for its answer, by the wall clock.
    :raises ValueError: one of them cannot be.
    """

    endpoint: str
    events: Sequence[str] = ("*",)
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: Mapping[str, str] = field(default_factory=dict)
    retry_times: int = 2
    interval: float = 2
    timeout: float = 5

    def __post_init__(self) -> None:
        if not re.match(r"https?://\w", self.endpoint):
            raise ValueError(f"a webhook's endpoint is an http address, not {self.endpoint!r}")
        if isinstance(self.events, str) or not set(self.events) <= {"*", *WEBHOOK_EVENTS}:
            raise ValueError(f"a webhook has the events {', '.join(WEBHOOK_EVENTS)}, not {self.events!r}")
        fields = {"": set(), "bearer": {"token"}, "basic": {"username", "password"}}
        kind = self.authorization.get("type", "")
        if kind not in fields or set(self.authorization) - {"type"} != fields[kind]:
            needed = "; ".join(f"{name}: {', '.join(sorted(keys))}" for name, keys in fields.items() if name)
            raise ValueError(f"a webhook's authorization has a type and what it needs ({needed})")

    def wants(self, event: str) -> bool:
        """Whether an event is posted."""
        return "*" in self.events or event in self.events


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


class TemplateError(ValueError):
    """The template file or a posted pipeline tree is wrong."""


def node_id(*parts: object) -> str:
    """Id in SOPS' form (``n`` and 31 hex digits), always the same for the same parts."""
    return "n" + _digest(*parts)[1:]


def line_id(*parts: object) -> str:
    """Id of a flow in SOPS' form (``l`` and 31 hex digits)."""
    return "l" + _digest(*parts)[1:]


def version_id(*parts: object) -> str:
    """Version of a run of a node in SOPS' form (``v`` and 32 hex digits)."""
    return "v" + _digest(*parts)


def _digest(*parts: object) -> str:
    return hashlib.md5(":".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def key_of(name: str) -> str:
    """``IP`` -> ``${IP}``."""
    return "${" + name + "}"


def as_list(value: Any) -> list[Any]:
    """``incoming`` and ``outgoing`` are a string or a list of strings on the wire."""
    if isinstance(value, list):
        return value
    return [value] if value else []


def references(value: Any) -> set[str]:
    """Keys (``${IP}``) of the variables that the strings in a value refer to."""
    if isinstance(value, str):
        return {key_of(match.group(1)) for match in _REFERENCE.finditer(value)}
    if isinstance(value, Mapping):
        return set().union(*(references(item) for item in value.values()), set())
    if isinstance(value, list):
        return set().union(*(references(item) for item in value), set())
    return set()


def render(value: Any, context: Mapping[str, Any]) -> Any:
    """Replace ``${IP}`` and ``${data['ip']}`` by values.

    A string that is nothing but one reference keeps the value's type; what cannot be resolved stays as it is.

    :param context: values by key (``${IP}``).
    """
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value)
        if whole:
            return _resolve(whole, context)
        return _REFERENCE.sub(lambda match: str(_resolve(match, context)), value)
    if isinstance(value, Mapping):
        return {key: render(item, context) for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, context) for item in value]
    return value


def _resolve(match: re.Match[str], context: Mapping[str, Any]) -> Any:
    key = key_of(match.group(1))
    if key not in context:
        return match.group(0)
    value = context[key]
    for part in re.findall(r"\[([^\]]+)\]|\.(\w+)", match.group(2)):
        step = (part[0] or part[1]).strip("'\"")
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return match.group(0)
    return value


def load_templates(path: str | Path | None = None, *, independent: bool = True) -> list[Template]:
    """Read a template file.

    :param path: TOML file; None: the default set.
    :param independent: whether subprocesses may be tasks of their own; else all of them are ordinary ones.
    :raises TemplateError: the file does not say what it should; the message names the template.
    """
    with open(path or DEFAULT_FILE, "rb") as file:
        rows = {row["name"]: row for row in tomllib.load(file).get("template", [])}
    if not independent:
        for node in (node for row in rows.values() for node in row.get("node", [])):
            node["independent"] = False
    templates: dict[str, Template] = {}

    def find(name: str) -> Template:
        if name not in templates:
            if name not in rows:
                raise TemplateError(f"no template {name!r}")
            templates[name] = _template(rows[name], find)
        return templates[name]

    return [find(name) for name in rows]


def _template(row: Mapping[str, Any], find: Callable[[str], Template]) -> Template:
    try:
        return _made_template(row, find)
    except (KeyError, TypeError, ValueError) as error:
        raise TemplateError(f"template {row.get('id')} {row.get('name')!r}: {error!r}") from error


def _made_template(row: Mapping[str, Any], find: Callable[[str], Template]) -> Template:
    template_id = row["id"]
    behaviours: dict[str, Behaviour] = {}
    tree = _tree(row, behaviours)
    expand(tree, behaviours, find)
    schemes = [
        Scheme(
            id=_digest(template_id, scheme["name"]),
            name=scheme["name"],
            node_ids=[node_id(template_id, key) for key in scheme["nodes"]],
        )
        for scheme in row.get("scheme", [])
    ]
    return Template(
        id=template_id,
        name=row["name"],
        project_id=row.get("project_id", DEFAULT_PROJECT_ID),
        common=row.get("source", "business") == "common",
        description=row.get("description", ""),
        graph=compile_tree(tree, behaviours),
        behaviours=behaviours,
        schemes=schemes,
        webhook=Webhook(**row["webhook"]) if "webhook" in row else None,
    )


def _tree(row: Mapping[str, Any], behaviours: dict[str, Behaviour]) -> dict[str, Any]:
    """Pipeline tree of a template of the file; of its subprocesses it holds only the names."""
    nodes = {node["key"]: _activity(node, row["id"], behaviours) for node in row["node"]}
    tree = _FlowBuilder(row["id"], nodes).build(row.get("flow") or list(nodes))
    constants = [_constant(item, index, row["id"]) for index, item in enumerate(row.get("constant", []))]
    tree |= {
        "activities": {activity["id"]: activity for activity in nodes.values()},
        "constants": {constant["key"]: constant for constant in constants},
        "outputs": [key_of(name) for name in row.get("outputs", [])],
    }
    lay_out(tree)
    return tree


def expand(tree: dict[str, Any], behaviours: dict[str, Behaviour], find: Callable[[str], Template]) -> None:
    """Put the trees of subprocesses into a tree that only names their templates.

    :param behaviours: those of the subprocesses' nodes are added.
    :param find: gives the template for what stands in ``template_id``.
    """
    for activity in tree["activities"].values():
        if activity["type"] != "SubProcess" or "pipeline" in activity:
            continue
        child = find(activity["template_id"])
        pipeline, ids = _relabelled(child.graph.tree, activity["id"])
        for key, constant in activity.pop("constants", {}).items():
            pipeline["constants"][key]["value"] = constant["value"]
        behaviours.update({ids[own_id]: behaviour for own_id, behaviour in child.behaviours.items()})
        activity |= {
            "template_id": node_id("template", child.id),
            "pipeline": pipeline | {"id": activity["id"]},
            "template_source": "common" if child.common else "project",
            "original_template_id": str(child.id),
            "original_template_version": _digest("version", child.id),
        }


def _relabelled(tree: dict[str, Any], place: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Copy of a tree with other ids: a template may stand in another one more than once."""
    text = json.dumps(tree)
    ids = {own_id: own_id[0] + _digest(place, own_id)[1:] for own_id in set(_ID.findall(text))}
    copied: dict[str, Any] = json.loads(_ID.sub(lambda match: ids[match.group()], text))
    return copied, ids


def _activity(node: Mapping[str, Any], template_id: int, behaviours: dict[str, Behaviour]) -> dict[str, Any]:
    own_id = node_id(template_id, node["key"])
    activity: dict[str, Any] = {
        "id": own_id,
        "type": "ServiceActivity",
        "name": node.get("name", node["key"]),
        "stage_name": "",
        "optional": node.get("optional", True),
        "retryable": node.get("retryable", True),
        "skippable": node.get("skippable", True),
        "error_ignorable": node.get("error_ignorable", False),
        "incoming": [],
        "outgoing": "",
        "labels": [],
    }
    constants = node.get("constants", {})
    child = node.get("subprocess")
    if child and not node.get("independent"):
        return activity | {
            "type": "SubProcess",
            "template_id": child,
            "version": "",
            "hooked_constants": [],
            "always_use_latest": True,
            "scheme_id_list": [],
            "constants": {key_of(name): {"value": value} for name, value in constants.items()},
        }
    plugin = "subprocess_plugin" if child else node["plugin"]
    inputs = {"subprocess": {"subprocess_name": child, "constants": constants}} if child else node.get("inputs", {})
    auto_retry = node.get("auto_retry")
    timeout = node.get("timeout")
    behaviours[own_id] = _behaviour(node)
    return activity | {
        "auto_retry": {"enable": bool(auto_retry), **(auto_retry or {"interval": 0, "times": 1})},
        "timeout_config": {"enable": bool(timeout), "seconds": timeout or 10, "action": "forced_fail"},
        "loop": None,
        "component": {
            "code": plugin,
            "version": PLUGINS[plugin][0] if plugin in PLUGINS else "legacy",
            "data": {key: {"hook": False, "need_render": True, "value": value} for key, value in inputs.items()},
        },
    }


def _behaviour(node: Mapping[str, Any]) -> Behaviour:
    fail = node.get("fail", 0)
    return Behaviour(
        seconds=node.get("seconds"),
        fail=None if fail == "always" else int(fail),
        fail_unless=node.get("fail_unless"),
        message=node.get("message", "failed"),
        outputs=node.get("outputs", {}),
        failed_outputs=node.get("failed_outputs", {}),
    )


def _constant(item: Mapping[str, Any], index: int, template_id: int) -> dict[str, Any]:
    key = key_of(item["name"])
    kind = item.get("type", "input")
    constant = {
        "key": key,
        "name": item.get("label", item["name"]),
        "desc": item.get("description", ""),
        "custom_type": kind,
        "source_type": "custom",
        "source_tag": f"{kind}.{kind}",
        "source_info": {},
        "value": json.loads(item["json"]) if "json" in item else item.get("value", ""),
        "show_type": "show" if item.get("show", True) else "hide",
        "validation": "",
        "index": index,
        "version": "legacy",
        "is_meta": False,
        "pre_render_mako": False,
        "form_schema": {},
        "plugin_code": "",
    }
    if "from" in item:
        source, _, output = item["from"].rpartition(".")
        constant |= {
            "custom_type": "",
            "source_type": "component_outputs",
            "source_tag": "",
            "source_info": {node_id(template_id, source): [output]},
        }
    return constant


class _FlowBuilder:
    """Connects nodes: a sequence of keys, where a list stands for parallel branches."""

    def __init__(self, template_id: int, nodes: Mapping[str, dict[str, Any]]) -> None:
        self._template_id = template_id
        self._nodes = nodes
        self._flows: dict[str, Any] = {}
        self._gateways: dict[str, Any] = {}

    def build(self, sequence: Sequence[Any]) -> dict[str, Any]:
        start = {"id": node_id(self._template_id, "^"), "name": "", "type": "EmptyStartEvent", "incoming": ""}
        end = {
            "id": node_id(self._template_id, "$"),
            "name": "",
            "type": "EmptyEndEvent",
            "incoming": [],
            "outgoing": "",
        }
        last = self._sequence(start, sequence)
        self._connect(last, end)
        return {
            "start_event": start | {"labels": []},
            "end_event": end | {"labels": []},
            "activities": {},
            "gateways": self._gateways,
            "flows": self._flows,
        }

    def _sequence(self, before: dict[str, Any], sequence: Iterable[Any]) -> dict[str, Any]:
        for item in sequence:
            if isinstance(item, str):
                if item not in self._nodes:
                    raise ValueError(f"flow names a node {item!r} that does not stand in the template")
                self._connect(before, self._nodes[item])
                before = self._nodes[item]
            else:
                before = self._parallel(before, item)
        return before

    def _parallel(self, before: dict[str, Any], branches: Sequence[Any]) -> dict[str, Any]:
        number = len(self._gateways)
        fork: dict[str, Any] = self._gateway(f"fork{number}", "ParallelGateway")
        join: dict[str, Any] = self._gateway(f"join{number}", "ConvergeGateway")
        fork["converge_gateway_id"] = join["id"]
        self._connect(before, fork)
        for branch in branches:
            self._connect(self._sequence(fork, [branch] if isinstance(branch, str) else branch), join)
        return join

    def _gateway(self, name: str, kind: str) -> dict[str, Any]:
        gateway = {"id": node_id(self._template_id, name), "name": "", "type": kind, "incoming": []}
        gateway["outgoing"] = [] if kind == "ParallelGateway" else ""
        gateway["labels"] = []
        self._gateways[str(gateway["id"])] = gateway
        return gateway

    def _connect(self, source: dict[str, Any], target: dict[str, Any]) -> None:
        flow = line_id(self._template_id, source["id"], target["id"])
        self._flows[flow] = {"id": flow, "is_default": False, "source": source["id"], "target": target["id"]}
        if isinstance(source.get("outgoing"), list):
            source["outgoing"].append(flow)
        else:
            source["outgoing"] = flow
        target["incoming"].append(flow)


_LOCATION_TYPES = {
    "EmptyStartEvent": "startpoint",
    "EmptyEndEvent": "endpoint",
    "ServiceActivity": "tasknode",
    "SubProcess": "subflow",
    "ParallelGateway": "parallelgateway",
    "ExclusiveGateway": "branchgateway",
    "ConditionalParallelGateway": "conditionalparallelgateway",
    "ConvergeGateway": "convergegateway",
}


def lay_out(tree: dict[str, Any]) -> None:
    """Return a tree the lines and places that SOPS draws it with (a created task's tree has them)."""
    tree["line"] = [
        {
            "id": flow["id"],
            "source": {"arrow": "Right", "id": flow["source"]},
            "target": {"arrow": "Left", "id": flow["target"]},
        }
        for flow in tree["flows"].values()
    ]
    nodes = [tree["start_event"], *tree["activities"].values(), *tree["gateways"].values(), tree["end_event"]]
    shapes = [Shape(node["id"], kind_of(node["type"]), node["name"]) for node in nodes]
    places = place_nodes(shapes, [(flow["source"], flow["target"]) for flow in tree["flows"].values()])
    tree["location"] = [
        {
            "id": node["id"],
            "type": _LOCATION_TYPES.get(node["type"], "tasknode"),
            "name": node["name"],
            "status": "",
            "x": places[node["id"]][0],
            "y": places[node["id"]][1],
        }
        for node in nodes
    ]


def compile_tree(tree: dict[str, Any], behaviours: Mapping[str, Behaviour]) -> Graph:
    """Make a pipeline tree ready to be walked.

    :raises KeyError: a part of the tree that SOPS needs is missing (its name is the error's argument).
    """
    nodes: dict[str, Spec] = {}
    flows = tree["flows"]
    activities = tree["activities"]
    for data in (tree["start_event"], tree["end_event"], *tree["gateways"].values(), *activities.values()):
        own_id = data["id"]
        out = as_list(data["outgoing"])
        if data["type"] == "ConditionalParallelGateway":
            # Conditions are not evaluated: the default way is taken, else the first.
            out = ([flow for flow in out if flows[flow].get("is_default")] or out)[:1]
        spec = Spec(
            id=own_id,
            name=data.get("name", ""),
            type=data["type"],
            data=data,
            targets=[flows[flow]["target"] for flow in out],
            arrivals=len(as_list(data["incoming"])),
            behaviour=behaviours.get(own_id, Behaviour()),
        )
        if data["type"] == "ExclusiveGateway":
            spec.ways = {flow: flows[flow]["target"] for flow in out}
        if data["type"] == "SubProcess":
            spec.graph = compile_tree(data["pipeline"], behaviours)
        nodes[own_id] = spec
    return Graph(tree, nodes, tree["start_event"]["id"])


def without_nodes(tree: dict[str, Any], excluded: Iterable[str]) -> dict[str, Any]:
    """Copy of a tree without some activities; the flows around them are joined."""
    tree = copy.deepcopy(tree)
    ends = {node["id"]: node for node in _ends(tree)}
    for own_id in excluded:
        activity = tree["activities"].pop(own_id)
        leaving = tree["flows"].pop(activity["outgoing"])
        target = ends[leaving["target"]]
        incoming = as_list(activity["incoming"])
        for flow in incoming:
            tree["flows"][flow]["target"] = leaving["target"]
        kept = [flow for flow in as_list(target["incoming"]) if flow != leaving["id"]]
        target["incoming"] = kept + incoming
    before = {place["id"]: place for place in tree.get("location", ())}
    lay_out(tree)
    for place in tree["location"]:  # what was left out leaves its place free (recorded)
        place.update({axis: before[place["id"]][axis] for axis in "xy" if place["id"] in before})
    return tree


def _ends(tree: dict[str, Any]) -> list[dict[str, Any]]:
    return [tree["end_event"], *tree["activities"].values(), *tree["gateways"].values()]


def without_unused_constants(tree: dict[str, Any]) -> dict[str, Any]:
    """Copy of a tree with the constants that a node refers to, directly or through another constant.

    SOPS drops the others when it makes a task of a template, even when they are outputs (measured on SOPS 3.34).
    """
    tree = dict(tree)
    constants = tree["constants"]
    used: set[str] = set()
    for activity in tree["activities"].values():
        used |= references({key: item["value"] for key, item in activity.get("component", {}).get("data", {}).items()})
        used |= references(
            {key: item["value"] for key, item in activity.get("pipeline", {}).get("constants", {}).items()}
        )
    used |= {
        key
        for key, constant in constants.items()
        if constant["source_type"] == "component_outputs" and set(constant["source_info"]) & set(tree["activities"])
    }
    pending = list(used)
    while pending:
        constant = constants.get(pending.pop())
        for key in references(constant["value"]) if constant else ():
            if key not in used:
                used.add(key)
                pending.append(key)
    kept = [key for key in constants if key in used]
    tree["constants"] = {key: {**constants[key], "index": index} for index, key in enumerate(kept)}
    tree["outputs"] = [key for key in tree["outputs"] if key in tree["constants"]]
    return tree
