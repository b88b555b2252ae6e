# SPDX-License-Identifier: Apache-2.0
"""What was recorded with a real SOPS, as the answers that a client would have got."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.catalogue import APIS
from airflow_provider_sops.core.http.endpoint import Credentials, Endpoint
from airflow_provider_sops.core.http.reply import HttpReply

SAMPLES = Path(__file__).parent / "samples"
#: what SOPS itself has posted to somebody is no answer of an API
RECORDED = [path for path in sorted(SAMPLES.glob("*/[0-9]*.json")) if "-posted-" not in path.name]
OLD_DETAIL = json.loads((SAMPLES / "task-detail-sample.json").read_text())
ENDPOINT = Endpoint("apigw", "http://sops.example.com/apigw", Credentials("app", "secret-x", bk_username="tester"))


def call_of(path: Path) -> Call | None:
    """Return the call of a recorded request; ``None`` where it is none that a client would make."""
    request = json.loads(path.read_text())["request"]
    name, *ids = request["path"].split("?")[0].removeprefix("/apigw/").rstrip("/").split("/")
    api = APIS.get(name)
    if api is None or api.method != request["method"] or len(api.ids) != len(ids):
        return None
    if not all(one.isdigit() for one in ids):
        return None
    return Call(name, api.method, tuple((key, int(one)) for key, one in zip(api.ids, ids, strict=True)))


def reply_of(path: Path) -> HttpReply:
    """Return the recorded reply."""
    response = json.loads(path.read_text())["response"]
    text = json.dumps(response["json"]) if response.get("json") is not None else response.get("text")
    headers = {name.lower(): value for name, value in response["headers"].items()}
    return HttpReply(response["http_status"], headers, (text or "").encode())


def answer_of(name: str) -> Answer:
    """Read a recorded answer, named as ``folder/number``."""
    (path,) = SAMPLES.glob(f"{name}*.json")
    call = call_of(path)
    assert call is not None
    return ENDPOINT.read(call, reply_of(path))


def answer_with(api: str, data: Any, **ids: int) -> Answer:
    """Make an answer with other data."""
    return Answer(Call(api, APIS[api].method, tuple(ids.items())), data, {"result": True, "data": data}, "r-1")
