# SPDX-License-Identifier: Apache-2.0
"""The webhook endpoint: who is let in, what is believed, and what becomes an asset event."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_sops.compat import HAS_PARTITION_KEYS
from airflow_provider_sops.compat.api_server import look_up_connection_in_api_server
from airflow_provider_sops.hooks.sops import SopsHook
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.web import webhook, webhook_connections, webhook_task
from airflow_provider_sops.web.webhook_body import read_task_id
from airflow_provider_sops.web.webhook_limits import Rate
from tests.conftest import sample

TOKEN, NEXT = "t0ken-" + "a" * 40, "n3xt-" + "b" * 40
ASSET = "deployed"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_connections, "LIFETIME", 0.0)
    monkeypatch.setattr(webhook_connections, "GUESSES_PER_SECOND", 1000.0)
    monkeypatch.setattr(webhook_task, "_REREAD", 0.05)


@pytest.fixture
def asset(database: None) -> Iterator[str]:
    """An asset that a DAG is scheduled on, without events."""
    from airflow.models.asset import AssetActive, AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        model = AssetModel(name=ASSET, uri=ASSET, group="asset")
        session.add(model)
        session.flush()
        session.add(AssetActive(name=model.name, uri=model.uri))
    yield ASSET
    with create_session() as session:
        for table in (AssetEvent, AssetActive, AssetModel):
            session.execute(delete(table))


def events() -> list[tuple[Any, Any]]:
    """Return the events there are: what they hold, and their partition keys."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(AssetEvent).order_by(AssetEvent.id)).all()
        return [(event.extra, getattr(event, "partition_key", None)) for event in found]


@pytest.fixture
def hook(sops: FakeSops, connect: Callable[..., None], asset: str) -> FakeSops:
    """A connection that takes webhooks."""
    connect(sops, bk_biz_id=2, webhook_token=TOKEN, webhook_asset=asset)
    return sops


def body(task_id: Any, code: str = "task_finished") -> dict[str, Any]:
    """Return what SOPS posts, with another id."""
    posted: dict[str, Any] = sample("20b-webhook/17-posted-task_finished.json")["request"]["body"]
    posted["event"]["code"] = code
    posted["event"]["info"]["task_id"] = task_id
    return posted


def post(server: str, task_id: Any = 1, *, conn: str = "sops_default", token: str | None = TOKEN, **more: Any) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    options: dict[str, Any] = {"json": body(task_id), "headers": headers} | more
    return requests.post(f"{server}/sops/webhook/{conn}", timeout=30, **options)


def finished(sops: FakeSops, template: str = "Two steps with outputs") -> int:
    task_id = sops.create_task(template)
    sops.advance(10)
    return task_id


# ---- what is stored ----


def test_an_end_becomes_an_event_with_what_sops_itself_says(api_server: str, hook: FakeSops) -> None:
    task_id = finished(hook)
    answer = post(api_server, task_id)
    assert (answer.status_code, answer.json()) == (200, {"message": "stored"})
    ((extra, key),) = events()
    assert (extra["sops_task_id"], extra["state"]) == (task_id, "FINISHED")
    assert extra["outputs"] == {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}
    assert extra["task_name"] == hook.task(task_id).name, "not as the post says"
    assert key is None


def test_several_deliveries_make_one_event_also_after_a_restart(api_server: str, hook: FakeSops) -> None:
    task_id = finished(hook)
    assert [post(api_server, task_id).json()["message"] for _ in range(3)] == ["stored", "known", "known"]
    assert len(events()) == 1, "what was stored is looked up in the database"


def test_posts_side_by_side_make_one_event(api_server: str, hook: FakeSops) -> None:
    from concurrent.futures import ThreadPoolExecutor

    task_id = finished(hook)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(api_server, task_id), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(events()) == 1


def test_a_failure_and_a_later_finish_are_two_ends(api_server: str, hook: FakeSops) -> None:
    task_id = finished(hook, "Always fails")
    assert post(api_server, task_id, json=body(task_id, "task_failed")).status_code == 200
    hook.operate_node(task_id, "call", "skip")
    hook.advance(30)
    assert post(api_server, task_id).status_code == 200
    assert [extra["state"] for extra, _ in events()] == ["FAILED", "FINISHED"]


def test_a_map_names_the_asset_of_each_template(
    api_server: str, sops: FakeSops, connect: Callable[..., None], asset: str
) -> None:
    connect(sops, bk_biz_id=2, webhook_token=TOKEN, webhook_asset=json.dumps({"101": asset}))
    assert post(api_server, finished(sops)).status_code == 200
    other = finished(sops, "Parallel branches")
    assert post(api_server, other).status_code == 503
    assert len(events()) == 1


@pytest.mark.skipif(not HAS_PARTITION_KEYS, reason="Airflow 3.2 and newer")
def test_each_task_has_its_partition_where_it_is_asked_for(
    api_server: str, sops: FakeSops, connect: Callable[..., None], asset: str
) -> None:
    connect(sops, bk_biz_id=2, webhook_token=TOKEN, webhook_asset={"asset": asset, "partition_key": "task"})
    task_id = finished(sops)
    assert post(api_server, task_id).status_code == 200
    assert events()[0][1] == str(task_id)


# ---- who is let in ----


def test_both_tokens_are_valid_while_one_is_changed(
    api_server: str, sops: FakeSops, connect: Callable[..., None], asset: str
) -> None:
    task_id = finished(sops)
    connect(sops, bk_biz_id=2, webhook_token=f"{TOKEN} {NEXT}", webhook_asset=asset)
    assert [post(api_server, task_id, token=token).status_code for token in (TOKEN, NEXT)] == [200, 200]
    connect(sops, bk_biz_id=2, webhook_token=NEXT, webhook_asset=asset)
    assert [post(api_server, task_id, token=token).status_code for token in (TOKEN, NEXT)] == [401, 200]


@pytest.mark.parametrize(
    ("conn", "token"),
    [
        ("sops_default", "x" * 46),
        ("sops_default", TOKEN[:-1]),
        ("sops_default", ""),
        ("sops_default", None),
        ("sops_default", "\xe4" * 40),
        ("unknown", TOKEN),
        ("no_webhooks", TOKEN),
        ("another_type", TOKEN),
        ("broken", TOKEN),
        ("sops default", TOKEN),
        ("x" * 300, TOKEN),
    ],
)
def test_all_that_are_not_let_in_get_the_same_answer(
    api_server: str,
    hook: FakeSops,
    connect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    conn: str,
    token: str | None,
) -> None:
    connect(hook, conn_id="no_webhooks", bk_biz_id=2)
    monkeypatch.setenv(
        "AIRFLOW_CONN_ANOTHER_TYPE", json.dumps({"conn_type": "http", "extra": {"webhook_token": TOKEN}})
    )
    connect(hook, conn_id="broken", bk_biz_id=2, webhook_token="short", webhook_asset=ASSET)
    answer = post(api_server, finished(hook), conn=conn, token=token)
    assert answer.status_code == 401
    assert answer.json() == {"message": "no such connection, or a wrong token"}
    assert events() == []
    assert hook.count() == 0


def test_only_posts_are_taken(api_server: str, hook: FakeSops) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert requests.request(method, f"{api_server}/sops/webhook/sops_default", timeout=10).status_code == 405


def test_sops_records_what_was_answered(api_server: str, hook: FakeSops) -> None:
    endpoint = f"{api_server}/sops/webhook/sops_default"
    for template, token in {"Two steps with outputs": TOKEN, "No outputs": "wrong-" + "c" * 40}.items():
        hook.set_webhook(template, endpoint, authorization={"type": "bearer", "token": token}, retry_times=0)
    right, wrong = finished(hook), finished(hook, "No outputs")
    assert [recorded(task_id) for task_id in (right, wrong)] == [
        (200, "stored"),
        (401, "no such connection, or a wrong token"),
    ]


def recorded(task_id: int) -> tuple[int, str]:
    """Wait for a row in the callback record of a task, and return the status and the message of the answer."""
    detail = partial(SopsHook().call, "get_task_detail", task_id=task_id, include_webhook_history=True)
    while not (rows := detail()["task_webhook_history"]):
        pass
    return rows[0]["status_code"], rows[0]["response"]


def test_the_debug_button_of_sops_tells_whether_the_token_is_right(api_server: str, hook: FakeSops) -> None:
    # it posts an empty object (bkflow-django-webhook 2.0.2, webhook/api.py), and shows status and message
    right, wrong = (post(api_server, json={}, **more) for more in ({}, {"token": "wrong-" + "c" * 40}))
    assert (right.status_code, wrong.status_code) == (400, 401)
    assert right.json()["message"].startswith("the token is right")
    assert events() == []


# ---- what is not believed ----


@pytest.mark.parametrize("template", ["Long sleep", "Pause for a person"])
def test_a_post_about_a_task_that_runs_stores_nothing(api_server: str, hook: FakeSops, template: str) -> None:
    task_id = hook.create_task(template)
    hook.advance(2)
    assert post(api_server, task_id).status_code == 503, "SOPS asks again"
    assert events() == []


def test_a_task_that_the_connection_may_not_see_stores_nothing(api_server: str, hook: FakeSops) -> None:
    foreign = finished(hook, "Of another project")
    for task_id in (foreign, 10**9):
        assert post(api_server, task_id).status_code == 503
    assert events() == []


def test_an_old_end_is_not_stored_again(api_server: str, hook: FakeSops) -> None:
    task_id = finished(hook)
    hook.advance(webhook_task.MAX_AGE + 60)
    assert post(api_server, task_id).status_code == 503
    assert events() == []


MALFORMED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"event": null}',
    b'{"event": {"info": []}}',
    b'{"event": {"info": {}}}',
    b'{"event": {"info": {"task_id": -1}}}',
    b'{"event": {"info": {"task_id": true}}}',
    b'{"event": {"info": {"task_id": {"$gt": 0}}}}',
    b'{"event": {"info": {"task_id": "1; DROP TABLE asset_event"}}}',
    b'{"event": {"info": {"task_id": 1e400}}}',
    b'{"event": {"info": {"task_id": ' + b"9" * 5000 + b"}}}",
    b"[" * 100_000,
    b"task_id=7&task_success=True",
]


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("raw", MALFORMED)
def test_what_is_no_webhook_is_refused(api_server: str, hook: FakeSops, raw: bytes) -> None:
    assert post(api_server, data=raw, json=None).status_code == 400
    assert read_task_id(raw) is None
    assert hook.count() == 0


def test_a_large_body_is_refused_with_and_without_a_length(api_server: str, hook: FakeSops) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 65536

    assert post(api_server, data=b"x" * (webhook.MAX_BODY + 1), json=None).status_code == 413
    assert post(api_server, data=chunks(), json=None).status_code == 413
    assert post(api_server, data=b" " * (webhook.MAX_BODY + 1), json=None, token=None).status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(
    api_server: str, hook: FakeSops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "BODY_TIMEOUT", 0.2)
    where = urlsplit(api_server)
    with socket.create_connection((where.hostname, where.port), timeout=10) as client:
        head = f"POST /sops/webhook/sops_default HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        client.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert b" 408 " in client.recv(100)


# ---- what goes wrong ----


def test_while_sops_is_away_it_is_asked_again(api_server: str, hook: FakeSops) -> None:
    task_id = finished(hook)
    hook.faults.add(kind="status", status=502, times=None)
    assert post(api_server, task_id).status_code == 503
    hook.faults.clear()
    assert post(api_server, task_id).status_code == 200


def test_an_asset_that_airflow_does_not_know_is_named_in_the_log(
    api_server: str, sops: FakeSops, connect: Callable[..., None], asset: str, caplog: pytest.LogCaptureFixture
) -> None:
    connect(sops, bk_biz_id=2, webhook_token=TOKEN, webhook_asset="unheard of")
    assert post(api_server, finished(sops)).status_code == 503
    assert "Airflow knows no asset 'unheard of'" in caplog.text


def test_a_connection_without_a_business_says_so(
    api_server: str, sops: FakeSops, connect: Callable[..., None], asset: str, caplog: pytest.LogCaptureFixture
) -> None:
    connect(sops, bk_biz_id="", webhook_token=TOKEN, webhook_asset=asset)
    assert post(api_server, finished(sops)).status_code == 503
    assert "bk_biz_id" in caplog.text


def test_a_database_that_is_away_is_no_stack_trace(
    api_server: str, hook: FakeSops, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise ConnectionError("the database is away")

    monkeypatch.setattr(webhook_task, "store_ended_task", broken)
    answer = post(api_server, finished(hook))
    assert (answer.status_code, answer.json()) == (503, {"message": "Airflow cannot store it now"})


def test_no_log_has_a_token(api_server: str, hook: FakeSops, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    post(api_server, finished(hook))
    post(api_server, 10**9)
    post(api_server, token=NEXT)
    assert "told by a webhook" in caplog.text
    for token in (TOKEN, NEXT):
        assert token not in caplog.text


def test_guesses_cost_few_look_ups(api_server: str, hook: FakeSops, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(webhook_connections, "LIFETIME", 60.0)
    monkeypatch.setattr(webhook_connections, "GUESSES_PER_SECOND", 1.0)

    def look_up(conn_id: str) -> Any:
        looked.append(conn_id)
        return look_up_connection_in_api_server(conn_id)

    monkeypatch.setattr(webhook_connections, "look_up_connection_in_api_server", look_up)
    answers = {post(api_server, conn=f"guess_{number}").status_code for number in range(50)}
    assert answers <= {401, 503}
    assert len(looked) < 20


def test_a_rate_lets_so_many_through() -> None:
    rate = Rate(10.0)
    assert sum(rate.allows(100.0) for _ in range(50)) == 10
    assert not rate.allows(100.05)
    assert sum(rate.allows(100.0 + 0.11 * step) for step in range(1, 11)) == 10


def test_no_other_process_imports_a_web_framework() -> None:
    import subprocess
    import sys

    code = (
        "import airflow_provider_sops.plugins.sops, airflow_provider_sops.triggers.sops,"
        " airflow_provider_sops.assets, sys; print([m for m in sys.modules if m.split('.')[0] in"
        " ('starlette', 'fastapi', 'uvicorn') or m.split('.')[:2] == ['airflow_provider_sops', 'web']])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before = subprocess.run(
        [
            sys.executable,
            "-c",
            code.replace(
                "airflow_provider_sops.plugins.sops, airflow_provider_sops.triggers.sops, airflow_provider_sops.assets",
                "airflow.plugins_manager, airflow.triggers.base",
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    ours, airflows = ran.stdout.splitlines()[-1], before.stdout.splitlines()[-1]
    assert set(json.loads(ours.replace("'", '"'))) <= set(json.loads(airflows.replace("'", '"')))
