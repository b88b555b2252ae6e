# SPDX-License-Identifier: Apache-2.0
"""The remote side of the benchmark: one small server for all contestants, which counts what it is asked.

It speaks as much of three APIs as waiting needs: those calls of SOPS that tell a task's state (with its cache of 10 s
and answers as large as SOPS 3.34's), the run of a dbt Cloud job, and plain HTTP that says 404 until the end. Every task
is running until the time that ``/bench/ends`` has set for it.

All speak TLS, since the dbt Cloud trigger knows nothing else. The server writes its certificate into the file that it
is given, prints its port, and ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SOPS = "/api/bk-sops/prod/"
DBT = "/api/v2/accounts/"
CONTROL = "/bench/"
#: Seconds for which SOPS answers a status call from its cache; keyed on the whole request.
SOPS_CACHE = 10.0
STARTED = "2026-11-22 21:03:18 +0800"
#: Connections that may wait to be accepted; some contestants open one for each task at once.
BACKLOG = 65535
_REASONS = {200: "OK", 403: "Forbidden", 404: "Not Found"}


class Site:
    """What is true on the remote side, and what was asked.

    :param deny_batches: the app may not call ``get_tasks_status``.
    """

    def __init__(self, *, deny_batches: bool = False) -> None:
        self.deny_batches = deny_batches
        self.ends: dict[int, float] = {}
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self._cache: dict[tuple[str, bytes], tuple[float, bytes]] = {}

    def ended(self, task_id: int) -> bool:
        return time.time() >= self.ends.get(task_id, float("inf"))

    def answer(self, target: str, body: bytes) -> tuple[int, bytes]:
        """Give HTTP status and body."""
        path = target.partition("?")[0]
        if path.startswith(SOPS):
            name, *ids = path[len(SOPS) :].strip("/").split("/")
            self.requests[name] += 1
            if name in ("get_tasks_status", "get_task_status"):
                return self._cached(name, target, body, int(ids[0]))
            return 200, self._sops(name, body, int(ids[0]))
        if path.startswith(DBT):
            self.requests["dbt run"] += 1
            return 200, _dumps(dbt_run(int(path.rstrip("/").rpartition("/")[2]), self.ended))
        self.requests["http"] += 1
        return (200, b"done") if self.ended(int(path.rpartition("/")[2])) else (404, b"not yet")

    def control(self, path: str, body: bytes) -> tuple[int, bytes]:
        if path == f"{CONTROL}ends":
            self.ends = {int(task_id): end for task_id, end in json.loads(body).items()}
        return 200, _dumps({"requests": self.requests, "connections": self.connections})

    def _cached(self, name: str, target: str, body: bytes, task_id: int) -> tuple[int, bytes]:
        if name == "get_tasks_status" and self.deny_batches:
            message = "App has no permission to the resource"
            refusal = {"code": 1640301, "message": message, "data": None, "result": False}
            return 403, _dumps(refusal)
        now = time.monotonic()
        until, answer = self._cache.get((target, body), (0.0, b""))
        if until < now:
            answer = self._sops(name, body, task_id)
            self._cache[(target, body)] = (now + SOPS_CACHE, answer)
        return 200, answer

    def _sops(self, name: str, body: bytes, task_id: int) -> bytes:
        data: Any
        if name == "get_tasks_status":
            data = [sops_row(one, self.ended(one)) for one in sorted(json.loads(body)["task_id_list"], reverse=True)]
        elif name == "get_task_status":
            data = sops_status(task_id, self.ended(task_id)) | {"children": _children(self.ended(task_id))}
        elif name == "get_tasks_manual_intervention_state":
            ids = json.loads(body)["task_id_list"]
            data = [{"id": one, "manual_intervention_required": False} for one in ids]
        elif name == "get_task_detail":
            data = sops_detail(task_id, self.ended(task_id))
        else:
            raise ValueError(f"no contestant should need {name}")
        return _dumps({"result": True, "data": data, "code": 0, "message": "", "trace_id": "0" * 32})


def sops_status(task_id: int, ended: bool, name: str = "") -> dict[str, Any]:
    """One status of SOPS 3.34: a task's, or a node's."""
    return {
        "id": f"n{task_id:031x}",
        "state": "FINISHED" if ended else "RUNNING",
        "root_id:": f"n{task_id:031x}",  # SOPS spells it with the colon
        "parent_id": f"n{task_id:031x}",
        "version": f"v{task_id:031x}",
        "loop": 1,
        "retry": 0,
        "skip": False,
        "error_ignorable": False,
        "error_ignored": False,
        "elapsed_time": int(time.monotonic()),
        "start_time": STARTED,
        "finish_time": time.strftime("%Y-%m-%d %H:%M:%S +0000", time.gmtime()) if ended else None,
        "name": name or f"nightly rollout {task_id}",
    }


def sops_row(task_id: int, ended: bool) -> dict[str, Any]:
    """One row of ``get_tasks_status``."""
    status = sops_status(task_id, ended)
    return {
        "id": task_id,
        "name": status["name"],
        "status": status,
        "flow_type": "common",
        "current_flow": "finished" if ended else "execute_task",
        "is_deleted": False,
        "create_time": STARTED,
        "start_time": STARTED,
        "finish_time": status["finish_time"] or "",
        "url": f"http://sops.example.com/taskflow/execute/7/?instance_id={task_id}",
    }


def _children(ended: bool) -> dict[str, Any]:
    done = {"state": "FINISHED", "finish_time": STARTED, "elapsed_time": 0}
    rows = [sops_status(number, ended, f"step {number}") | (done if number < 3 else {}) for number in range(1, 4)]
    return {row["id"]: row | {"children": {}} for row in rows}


def sops_detail(task_id: int, ended: bool) -> dict[str, Any]:
    """What ``get_task_detail`` answers, with a tree of nodes as large as that of a small task."""
    row = sops_row(task_id, ended)
    component = {"code": "sleep_timer", "version": "legacy", "data": {"bk_timing": {"hook": False, "value": "${IP}"}}}
    node = {"type": "ServiceActivity", "component": component, "incoming": ["l1"], "outgoing": "l2", "labels": []}
    constant = {"name": "IP", "key": "${IP}", "value": "10.0.0.8", "show_type": "show", "custom_type": "input"}
    return {
        "id": task_id,
        "name": row["name"],
        "project_id": 7,
        "project_name": "bench",
        "create_time": STARTED,
        "start_time": STARTED,
        "finish_time": row["finish_time"],
        "elapsed_time": 60,
        "creator": "bench",
        "executor": "bench",
        "create_method": "api",
        "template_id": 101,
        "task_url": row["url"],
        "outputs": [{"key": "${IP}", "value": "10.0.0.8", "name": "IP"}] if ended else [],
        "constants": {f"${{IP{number}}}": constant for number in range(10)},
        "pipeline_tree": {"activities": {f"n{number}": node for number in range(10)}, "gateways": {}, "flows": {}},
    }


def dbt_run(run_id: int, ended: Callable[[int], bool]) -> dict[str, Any]:
    """A run of a job as dbt Cloud's administrative API v2 describes it."""
    done = ended(run_id)
    moments = ["created", "updated", "dequeued", "started", "finished"]
    moments += ["last_checked", "last_heartbeat", "should_start"]
    durations = ["duration", "queued_duration", "run_duration"]
    data: dict[str, Any] = {f"{name}_at": "2026-11-22 13:03:18.000000+00:00" for name in moments}
    data |= dict.fromkeys(durations, "00:03:20")
    data |= {f"{name}_humanized": "3 minutes, 20 seconds" for name in durations}
    data |= dict.fromkeys(("trigger", "job", "environment", "run_steps", "status_message", "repository_id"))
    data |= {
        "id": run_id,
        "trigger_id": run_id + 1,
        "account_id": 1,
        "environment_id": 2,
        "project_id": 3,
        "job_definition_id": 4,
        "status": 10 if done else 3,
        "status_humanized": "Success" if done else "Running",
        "in_progress": not done,
        "is_complete": done,
        "is_success": done,
        "is_error": False,
        "is_cancelled": False,
        "is_running": not done,
        "dbt_version": "1.9.0-latest",
        "git_branch": "main",
        "git_sha": "0" * 40,
        "owner_thread_id": None,
        "executed_by_thread_id": f"scheduler-run-{run_id}",
        "deferring_run_id": None,
        "artifacts_saved": done,
        "artifact_s3_path": f"prod/runs/{run_id}/artifacts/target",
        "has_docs_generated": False,
        "has_sources_generated": False,
        "notifications_sent": done,
        "blocked_by": [],
        "href": f"https://cloud.getdbt.com/deploy/1/projects/3/runs/{run_id}/",
    }
    return {
        "status": {"code": 200, "is_success": True, "user_message": "Success!", "developer_message": ""},
        "data": data,
    }


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


class Connection(asyncio.Protocol):
    """One TCP connection: as much of HTTP/1.1 as the contestants' clients send."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.buffer = b""
        self.counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            length = _content_length(head)
            if not end or len(rest) < length:
                return
            self.buffer = rest[length:]
            self._respond(head.split(b" ", 2)[1].decode(), rest[:length])

    def _respond(self, target: str, body: bytes) -> None:
        if target.startswith(CONTROL):
            status, answer = self.site.control(target, body)
        else:
            if not self.counted:
                self.counted = True
                self.site.connections += 1
            status, answer = self.site.answer(target, body)
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
        self.transport.write(f"{head}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)


def _content_length(head: bytes) -> int:
    _, _, after = head.lower().partition(b"\r\ncontent-length:")
    return int(after.partition(b"\r\n")[0] or 0)


def make_certificate(path: Path) -> ssl.SSLContext:
    """Make a certificate for this address, write it where the contestants find it, and serve with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path = path.with_suffix(".key")
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return context


async def serve(site: Site, context: ssl.SSLContext) -> None:
    """Serve until standard input is closed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(site), "127.0.0.1", 0, backlog=BACKLOG, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("certificate", type=Path, help="file to write the certificate into")
    parser.add_argument("--deny-batches", action="store_true", help="refuse get_tasks_status")
    args = parser.parse_args()
    asyncio.run(serve(Site(deny_batches=args.deny_batches), make_certificate(args.certificate)))


if __name__ == "__main__":
    main()
