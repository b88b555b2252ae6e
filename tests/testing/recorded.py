# SPDX-License-Identifier: Apache-2.0
"""Plays what was recorded with a real SOPS against the fake, and compares the answers."""

from __future__ import annotations

import dataclasses
import http.client
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.testing.engine.node import all_specs
from airflow_provider_sops.testing.templates.template import Behaviour, Spec

SAMPLES = Path(__file__).parents[1] / "samples"
SCENARIOS = sorted({path.parent.name for path in SAMPLES.glob("*/[0-9]*.json")} - {"00-setup"})
RECORDED_URL = "http://sops.example.com"
STUB_URL = "http://stub.example.com"  # the services that the recorded tasks called
HEADERS = ("Content-Type", "Content-Language", "Allow", "Location")

_HTTP_500 = "请求失败，状态码: 500，响应: {'status': 500, 'msg': 'stub answer'}"
_REFUSED = (
    "请求异常，详细信息: HTTPConnectionPool(host='127.0.0.1', port=9): Max retries exceeded with url: {path} "
    "(Caused by "
    "NewConnectionError(\"HTTPConnection(host='127.0.0.1', port=9): Failed to establish a new connection: "
    '[Errno 111] Connection refused"))'
)
_JSON = {
    "ip": "10.0.0.1",
    "n": 42,
    "f": 1.5,
    "ok": True,
    "none": None,
    "list": [1, "a", {"k": "v"}],
    "text": "${IP}",
    "cn": "中文",
    "empty": "",
    "ml": "l1\nl2\n",
}
#: What the nodes of the recorded templates did: (template, node) -> behaviour.
_BEHAVIOURS = {
    (102, "sleep1"): Behaviour(seconds=0.1),
    (105, "call"): Behaviour(
        seconds=0.05, fail=3, message=_HTTP_500, failed_outputs={"status_code": 500}, outputs={"data": {}}
    ),
    (106, "call"): Behaviour(fail=None, message=_REFUSED.format(path="/nothing")),
    (106, "after"): Behaviour(seconds=0.05),
    (110, "fetch"): Behaviour(outputs={"data": _JSON, "status_code": 200}),
    (116, "ignored"): Behaviour(fail=None, message=_REFUSED.format(path="/")),
    (163, "child sleep"): Behaviour(seconds=60),
}
#: Scenarios that go on with tasks of another one.
_BEFORE = {
    "12b-errors-iam-and-credentials": ["12a-errors-not-found-and-auth"],
    "12c-errors-bad-input": ["12a-errors-not-found-and-auth"],
    "12d-errors-http-level": ["12a-errors-not-found-and-auth", "12c-errors-bad-input"],
}
#: The server's one dict for tasks that have not started had lost its children (see Replica).
_WITHOUT_CHILDREN = (
    "13a-create_and_start_task",
    "13b-fast_create_task",
    "13e-function-task-common_func",
    "20f-misc-apis",
)
#: What was done on the server itself before a request: (scenario, sample) -> (task, method of the fake).
_MEANWHILE = {
    ("16e-EXPIRED-and-deleted", "03-get_task_status-EXPIRED"): (50171, FakeSops.expire_task),
    ("16e-EXPIRED-and-deleted", "11-get_task_status-DELETED"): (50172, FakeSops.delete_task),
    ("20b-webhook", "09-get_task_detail-include_webhook_history-revoked"): (
        33,
        lambda fake, task_id: fake.operate(task_id, "revoke"),
    ),
    ("20c-callback-and-retry-that-change-nothing", "06-retry-of-a-FAILED-node-in-a-REVOKED-task"): (
        369,
        lambda fake, task_id: fake.operate(task_id, "revoke"),
    ),
    ("20c-callback-and-retry-that-change-nothing", "08-callback-in-a-REVOKED-task"): (
        372,
        lambda fake, task_id: fake.operate(task_id, "revoke"),
    ),
    ("20d-failed-then-paused", "01-get_task_status"): (373, lambda fake, task_id: fake.operate(task_id, "pause")),
}
#: Templates that were made anew for the scenarios from 20 on, alike: id -> that of the setup.
_SAME_TEMPLATES = {5: 101, 117: 101, 118: 106, 119: 103, 151: 101, 163: 113}
#: Id of a template that has no nodes left.
WITHOUT_NODES = 199
#: Tasks that were there before a scenario: (id, name, template, start).
_TASKS_BEFORE = {
    "01-lifecycle-two-sleeps": [(50002, "rec lifecycle", 1, True)],
    "11b-get_tasks_status-many": [
        (50104, "neg", 101, False),
        (50134, "first-created", 101, False),
        (50135, "second-created", 101, False),
    ],
    "20b-webhook": [
        (31, "t 1795873234.64", 117, True),
        (32, "t 1795873234.69", 118, True),
        (33, "t 1795873234.74", 119, True),
    ],
    "20c-callback-and-retry-that-change-nothing": [
        (369, "t 1795875253.10", 106, True),
        (372, "t 1795875257.14", 103, True),
    ],
    "20d-failed-then-paused": [(373, "t 1795875266.39", 106, True)],
    "20e-pause_subproc": [(381, "t 1795875378.02", 163, True)],
    "20f-misc-apis": [(369, "t 1795875253.10", 106, True), (371, "x", WITHOUT_NODES, False)],
}
#: What these were given: task -> constants.
_CONSTANTS_BEFORE = {31: {"IP": "10.1.1.1"}}
#: Nodes of these: recorded id -> (task, name).
_NODES_BEFORE = {
    "nb714ffbbac33f21bbe730491ea5b92e": (372, "sleep_long"),
    "na13aa69102b3e0eacdde9c710d82818": (369, "call"),
    "n897665b967f307db4457d75387791d7": (381, "sub"),
}


def _behaviour(template_id: int | None, spec: Spec) -> Behaviour:
    own_id = template_id or 0
    known = _BEHAVIOURS.get((own_id, spec.name)) or _BEHAVIOURS.get((_SAME_TEMPLATES.get(own_id, 0), spec.name))
    if known is not None:
        return known
    component = spec.data.get("component", {})
    if component.get("code") == "sleep_timer":
        # The sleeps of the real engine end up to half a second before their time.
        return Behaviour(seconds=float(component["data"]["bk_timing"]["value"]) - 0.4)
    return Behaviour()


@dataclasses.dataclass
class Exchange:
    """One recorded request with its answer."""

    scenario: str
    name: str
    request: dict[str, Any]
    response: dict[str, Any]
    at: float  # when the real server had done it


def exchanges(scenario: str) -> Iterator[Exchange]:
    """The recorded exchanges of a scenario, in order."""
    for path in sorted((SAMPLES / scenario).glob("*.json")):
        sample = json.loads(path.read_text())
        if "elapsed_ms" in sample:  # else it is no call, but what SOPS has posted
            at = datetime.fromisoformat(sample["sent_at_utc"]).timestamp() + 0.0009 * sample["elapsed_ms"]
            yield Exchange(scenario, path.stem, sample["request"], sample["response"], at)


def sample(scenario: str, name: str) -> Any:
    """One file of the samples."""
    return json.loads((SAMPLES / scenario / f"{name}.json").read_text())


class Player:
    """Plays a recorded scenario against a fake with the recorded templates, at the recorded times."""

    def __init__(self, fake: FakeSops, scenario: str) -> None:
        self.fake = fake
        self._scenario = scenario
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(fake.url).netloc, timeout=10)
        self._node_ids: dict[str, str] = {}
        fake.clock.stop()
        fake.site.templates.clear()
        self._prepare(scenario, next(exchanges(scenario)).at)

    def _prepare(self, scenario: str, begin: float) -> None:
        """Make what was there before a scenario."""
        for exchange in exchanges("00-setup"):
            if exchange.at < begin:
                self.play(exchange)
        templates = self.fake.site.templates
        templates[1] = dataclasses.replace(templates[101], id=1, deleted=True)
        for earlier in _BEFORE.get(scenario, []):
            for exchange in exchanges(earlier):
                self.play(exchange)
        if scenario in _WITHOUT_CHILDREN:
            del self.fake.site.replicas[0].created["children"]
        if scenario.startswith("20"):
            for own_id, alike in _SAME_TEMPLATES.items():
                templates[own_id] = dataclasses.replace(templates[alike], id=own_id)
            nothing = self.fake.site.graph(templates[101], templates[101].graph.tree["activities"])
            templates[WITHOUT_NODES] = dataclasses.replace(templates[101], id=WITHOUT_NODES, graph=nothing)
        for task_id, name, template, start in _TASKS_BEFORE.get(scenario, []):
            self.at(begin - 10)
            self.fake.site.next_task_id = task_id
            constants = _CONSTANTS_BEFORE.get(task_id)
            self.fake.create_task(template, name=name, start=start, user="tester", constants=constants)
            self._behave(task_id)
        for recorded, (task_id, name) in _NODES_BEFORE.items():
            if task_id in self.fake.site.tasks:
                self._node_ids[recorded] = self.fake.task(task_id).find_id(name)

    def _behave(self, task_id: int) -> None:
        """Let a task's nodes do what those of the recorded one did."""
        task = self.fake.task(task_id)
        for spec in all_specs(task.graph):
            spec.behaviour = _behaviour(task.template_id, spec)

    def at(self, moment: float) -> None:
        """Move the fake's time to a recorded one."""
        self.fake.clock.advance(moment - self.fake.clock.now())

    def play(self, exchange: Exchange) -> tuple[int, dict[str, str], Any]:
        """Send a recorded request.

        :return: HTTP status, headers, and the body: JSON, or text.
        """
        self.at(exchange.at)
        self._number_as_recorded(exchange)
        if (exchange.scenario, exchange.name) in _MEANWHILE:
            task_id, act = _MEANWHILE[exchange.scenario, exchange.name]
            act(self.fake, task_id)
        request = exchange.request
        path = self._own(request["path"])
        if request.get("query"):
            path += "?" + urllib.parse.urlencode({key: self._own(value) for key, value in request["query"].items()})
        body = request.get("body")
        data = None if body is None else self._own(body if isinstance(body, str) else json.dumps(body))
        headers = dict(request.get("headers") or {})
        self._connection.request(request["method"], path, data.encode() if data is not None else None, headers)
        reply = self._connection.getresponse()
        text = reply.read().decode()
        is_json = reply.headers["Content-Type"] == "application/json"
        answer = json.loads(text) if is_json else text
        self._learn_ids(exchange, answer)
        return reply.status, dict(reply.headers.items()), answer

    def _number_as_recorded(self, exchange: Exchange) -> None:
        """Let the fake give the ids that the real server gave."""
        data = (exchange.response.get("json") or {}).get("data")
        if isinstance(data, dict) and "create" in exchange.request["path"]:
            if "task_id" in data:
                self.fake.site.next_task_id = data["task_id"]
            if "template_id" in data:
                self.fake.site.next_template_id = data["template_id"]

    def exchanges(self) -> Iterator[Exchange]:
        """The exchanges of the scenario, to be played in order."""
        return exchanges(self._scenario)

    def known(self, answer: Any) -> Any:
        """A recorded answer without the rows of tasks and templates that were made elsewhere."""
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
            return answer
        ids = {*self.fake.site.tasks, *self.fake.site.templates}
        return answer | {
            "data": [row for row in answer["data"] if row.get("id", row.get("project_id")) in ids | {2, 7, 9}]
        }

    def _learn_ids(self, exchange: Exchange, answer: Any) -> None:
        """Node ids differ: the nodes of a created task are the same by their places in the tree."""
        recorded = (exchange.response.get("json") or {}).get("data")
        if "create" not in exchange.request["path"] or not recorded or not answer["result"]:
            return
        if "task_id" in recorded:
            self._match(recorded["pipeline_tree"], answer["data"]["pipeline_tree"])
            self._behave(recorded["task_id"])

    def _match(self, recorded: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        by_name = {node["name"]: node for node in own["activities"].values()}
        for node in recorded["activities"].values():
            match = by_name[node["name"]]
            self._node_ids[node["id"]] = match["id"]
            if "pipeline" in node:
                self._match(node["pipeline"], match["pipeline"])

    def _own(self, text: Any) -> str:
        own_text = str(text).replace(STUB_URL, self.fake.url)
        for recorded, own in self._node_ids.items():
            own_text = own_text.replace(recorded, own)
        return own_text


# ---- comparing ----

_ID = re.compile(r"\b[nl][0-9a-f]{31}\b|\bv?[0-9a-f]{32}\b")
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ([+-]\d{4})")
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)")
#: Collections of which the samples keep one element of each shape.
_TRIMMED = ("activities", "gateways", "flows", "line", "location", "constants")


def comparable(value: Any, key: str = "", url: str = RECORDED_URL) -> Any:
    """An answer without what differs from run to run: ids, times, seconds, the address, the order of outputs."""
    if key in _TRIMMED and isinstance(value, (dict, list)):
        rows = value.values() if isinstance(value, dict) else value
        return sorted({json.dumps(_shape(row)) for row in rows})
    if isinstance(value, dict):
        if value and all(_ID.fullmatch(name) for name in value):
            return sorted((comparable(item, "", url) for item in value.values()), key=json.dumps)
        return {name: comparable(item, name, url) for name, item in value.items()}
    if isinstance(value, list):
        rows = [comparable(item, "", url) for item in value]
        if key == "outputs" and rows and isinstance(rows[0], dict):
            rows.sort(key=lambda row: str(row["key"]))
        return rows
    if key == "elapsed_time" and isinstance(value, int):
        return "<seconds>"
    return _comparable_text(value, url) if isinstance(value, str) else value


def _comparable_text(text: str, url: str) -> str:
    if "Traceback (most recent call last)" in text:
        lines = text.strip().splitlines()
        text = f"{lines[0]} … {lines[-1]}"
    text = text.replace(url, "<url>").replace(STUB_URL, "<url>").replace(urllib.parse.quote(url), "<url>")
    text = _LOCAL.sub(r"<local time \1>", text)
    text = _ISO.sub(r"<ISO time \1>", text)
    return _ID.sub("<id>", text)


def _shape(value: Any, key: str = "") -> Any:
    if key in ("value", "source_info"):
        return "any"
    if isinstance(value, dict):
        if key == "data" or (value and all(_ID.fullmatch(name) for name in value)):
            return sorted({json.dumps(_shape(item)) for item in value.values()})
        return {name: _shape(item, name) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return sorted({json.dumps(_shape(item)) for item in value})
    return type(value).__name__


def differences(recorded: Any, own: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Where two comparable answers differ: the path, and what stands there."""
    if isinstance(recorded, dict) and isinstance(own, dict):
        for name in recorded.keys() | own.keys():
            place = f"{path}.{name}" if path else name
            if name not in own:
                yield place, f"missing in the fake: {recorded[name]!r}"
            elif name not in recorded:
                yield place, f"only in the fake: {own[name]!r}"
            else:
                yield from differences(recorded[name], own[name], place)
    elif isinstance(recorded, list) and isinstance(own, list) and len(recorded) == len(own):
        for index, (left, right) in enumerate(zip(recorded, own, strict=True)):
            yield from differences(left, right, f"{path}[{index}]")
    elif recorded != own or type(recorded) is not type(own):
        yield path, f"recorded {recorded!r}, fake {own!r}"
