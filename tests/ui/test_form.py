# SPDX-License-Identifier: Apache-2.0
"""The connection form's own API: what the React form is given, what it posts, and what the hook then reads."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
import requests
from airflow import __version__ as airflow_version

from airflow_provider_sops.connection import EXTRA_FIELDS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.processes import wait_until

SECRET_FIELDS = {"bk_token", "access_token", "headers"}
#: one that is there, or the hook refuses it
CA_BUNDLE = requests.certs.where()
#: values that the page must never get back
SECRETS = ("demo-secret", "demo-token", "demo-access-token", "Zq7header", "Zq7proxy")


def post(
    conn_id: str, host: str, *, login: str = "", password: str = "", port: int = 0, **extra: Any
) -> dict[str, Any]:
    """What the form posts: what was typed, null for every other extra field, no empty standard field."""
    fields = {name: extra.get(name) for name in EXTRA_FIELDS}
    body = {"host": host, "login": login, "password": password, "port": port}
    return {
        "connection_id": conn_id,
        "conn_type": "sops",
        "extra": json.dumps(fields, indent=2),
        **{name: value for name, value in body.items() if value},
    }


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def forms(fake: FakeSopsClient) -> dict[str, dict[str, Any]]:
    """Three forms that between them use every field, by connection id."""
    status = fake.status()
    return {
        "form_user": post(
            "form_user",
            status["apigw_url"],
            login="demo-app",
            password="demo-secret",
            bk_username="admin",
            bk_biz_id=2,
        ),
        "form_esb": post(
            "form_esb",
            "127.0.0.1",
            login="demo-app",
            password="demo-secret",
            port=8443,
            api_type="esb",
            bk_token="demo-token",
            bk_biz_id=7,
            scope="project",
            verify="false",
            timeout=12.5,
            headers='{"X-Site": "Zq7header"}',
            tenant_id="tenant-1",
        ),
        "form_access_token": post(
            "form_access_token",
            "bkapi.example.com/api/bk-sops/stag/",
            access_token="demo-access-token",
            verify=CA_BUNDLE,
            proxies="http://user:Zq7proxy@proxy.example.com:3128",
        ),
    }


def wanted(fake: FakeSopsClient) -> dict[str, dict[str, Any]]:
    """What the hook must read from them."""
    nothing = {name: digest("") for name in ("app_code", "app_secret", "bk_username", "bk_token", "access_token")}
    app = nothing | {"app_code": digest("demo-app"), "app_secret": digest("demo-secret")}
    defaults = {
        "api_type": "apigw",
        "headers": digest("{}"),
        "bk_biz_id": None,
        "scope": "cmdb_biz",
        "read_timeout": 30.0,
        "verify": True,
        "proxies": digest("{}"),
        "unknown_fields": [],
    }
    proxy = "http://user:Zq7proxy@proxy.example.com:3128"
    return {
        "form_user": defaults
        | {
            "base_url": fake.status()["apigw_url"],
            "credentials": app | {"bk_username": digest("admin")},
            "bk_biz_id": 2,
        },
        "form_esb": defaults
        | {
            "api_type": "esb",
            "base_url": "https://127.0.0.1:8443/api/c/compapi/v2/sops",
            "credentials": app | {"bk_token": digest("demo-token")},
            "headers": digest(repr({"X-Site": "Zq7header", "X-Bk-Tenant-Id": "tenant-1"})),
            "bk_biz_id": 7,
            "scope": "project",
            "read_timeout": 12.5,
            "verify": False,
        },
        "form_access_token": defaults
        | {
            "base_url": "https://bkapi.example.com/api/bk-sops/stag",
            "credentials": nothing | {"access_token": digest("demo-access-token")},
            "verify": CA_BUNDLE,
            "proxies": digest(repr({"http": proxy, "https": proxy})),
        },
    }


def test_form_has_every_field_with_label_and_help(site: Standalone) -> None:
    answer = requests.get(
        f"{site.api.url}/ui/connections/hook_meta", headers=dict(site.api.session.headers), timeout=60
    )
    (form,) = [item for item in answer.json() if item["connection_type"] == "sops"]
    assert form["hook_name"] == "BlueKing SOPS"
    fields = form["extra_fields"]
    assert list(fields) == list(EXTRA_FIELDS)
    for name, field in fields.items():
        assert field["schema"]["title"], name
        assert field["description"].endswith("."), name
        assert field["value"] is None, name
        assert (field["schema"].get("format") == "password") == (name in SECRET_FIELDS), name
    types = {
        name: field["schema"]["type"][0] for name, field in fields.items() if "string" not in field["schema"]["type"]
    }
    assert types == {"bk_biz_id": "integer", "timeout": "number"}
    assert fields["api_type"]["schema"]["enum"] == ["apigw", "esb"]
    assert fields["scope"]["schema"]["enum"] == ["cmdb_biz", "project"]
    standard = form["standard_fields"]
    assert standard["host"]["title"] == "SOPS address"
    assert standard["host"]["placeholder"] == "https://bkapi.example.com/api/bk-sops/prod"
    assert (standard["login"]["title"], standard["password"]["title"]) == ("App code", "App secret")
    assert standard["url_schema"]["hidden"]


@pytest.fixture(scope="module")
def saved(site: Standalone, fake: FakeSopsClient) -> dict[str, dict[str, Any]]:
    """The forms, saved, then loaded, changed and saved again, as somebody does who changes the description."""
    answers: dict[str, dict[str, Any]] = {}
    for conn_id, form in forms(fake).items():
        site.api.ask("POST", "connections", form)
        loaded = site.api.ask("GET", f"connections/{conn_id}")
        path = f"connections/{conn_id}?update_mask=description&update_mask=extra&update_mask=password"
        answers[conn_id] = site.api.ask("PATCH", path, loaded | {"description": "changed"})
    return answers


def test_what_is_typed_is_what_the_hook_reads(
    site: Standalone, fake: FakeSopsClient, saved: dict[str, dict[str, Any]]
) -> None:
    assert [connection["description"] for connection in saved.values()] == ["changed"] * 3
    run_id = site.api.trigger("read_connections", {"conn_ids": list(saved)})
    state = site.api.wait_for_run("read_connections", run_id, seconds=240)
    assert state == "success", [site.api.log("read_connections", run_id, "read", map_index=n) for n in range(3)]
    read = {
        conn_id: site.api.xcom("read_connections", run_id, "read", map_index=index)
        for index, conn_id in enumerate(saved)
    }
    assert read == wanted(fake)


def test_page_gets_no_secret_back(site: Standalone, saved: dict[str, dict[str, Any]]) -> None:
    shown = json.dumps([saved, *(site.api.ask("GET", f"connections/{conn_id}") for conn_id in saved)])
    assert not [secret for secret in SECRETS if secret in shown]


def press_test(site: Standalone, form: dict[str, Any]) -> dict[str, Any]:
    """What the Test button of a saved connection does: it posts what the page was given, secrets masked."""
    site.api.ask("POST", "connections", form)
    loaded = site.api.ask("GET", f"connections/{form['connection_id']}")
    answer: dict[str, Any] = site.api.ask("POST", "connections/test", loaded | {"schema": ""})
    return answer


def test_test_button(site: Standalone, fake: FakeSopsClient) -> None:
    good = forms(fake)["form_user"] | {"connection_id": "test_good"}
    bad = good | {"connection_id": "test_bad", "password": "wrong"}
    silent = good | {"connection_id": "test_silent", "host": "http://127.0.0.1:1/api/bk-sops/prod"}
    incomplete = good | {"connection_id": "test_incomplete", "extra": "{}"}
    answers = {form["connection_id"]: press_test(site, form) for form in (good, bad, silent, incomplete)}
    assert {conn_id: answer["status"] for conn_id, answer in answers.items()} == {
        "test_good": True,
        "test_bad": False,
        "test_silent": False,
        "test_incomplete": False,
    }
    assert "answers and the credentials are right" in answers["test_good"]["message"]
    assert "get_task_detail: granted" in answers["test_good"]["message"]
    assert "1640101" in answers["test_bad"]["message"]
    assert "127.0.0.1:1" in answers["test_silent"]["message"]
    assert answers["test_incomplete"]["message"].startswith("bk_username")
    assert not [secret for secret in SECRETS if secret in json.dumps(answers)]


@pytest.mark.skipif(airflow_version < "3.3", reason="older ones test in the API server only")
def test_test_on_a_worker(site: Standalone, fake: FakeSopsClient) -> None:
    for conn_id, password, state in (("worker_good", "demo-secret", "success"), ("worker_bad", "wrong", "failed")):
        form = forms(fake)["form_user"] | {"connection_id": conn_id, "password": password}
        queued = site.api.ask("POST", "connections/enqueue-test", form | {"commit_on_success": True})
        site.api.session.headers["Airflow-Connection-Test-Token"] = queued["token"]

        def ended() -> Any:
            answer = site.api.ask("GET", "connections/enqueue-test")
            return answer if answer["state"] in ("success", "failed") else None

        answer = wait_until("the test on a worker ends", ended, seconds=120)
        assert answer["state"] == state, answer
        said = {"success": "answers and the credentials are right", "failed": "1640101"}[state]
        assert said in answer["result_message"]
        known = {one["connection_id"] for one in site.api.ask("GET", "connections", limit=100)["connections"]}
        assert (conn_id in known) == (state == "success")
