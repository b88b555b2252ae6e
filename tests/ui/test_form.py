# SPDX-License-Identifier: Apache-2.0
"""The connection form's own API: what the React form is given, what it posts, and what the hook then reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from airflow import __version__ as airflow_version

from airflow_provider_sops.connection import EXTRA_FIELDS
from airflow_provider_sops.testing import FakeSopsClient
from tests.form.typed import SECRETS, STANDARD_FIELDS, typed, wanted
from tests.live.airflow import Standalone
from tests.live.processes import wait_until

SECRET_FIELDS = {"bk_token", "access_token", "headers", "webhook_token"}


def post(conn_id: str, fields: dict[str, Any]) -> dict[str, Any]:
    """What the form posts: what was typed, null for every other extra field, no empty standard field."""
    extra = {name: fields.get(name) for name in EXTRA_FIELDS}
    return {
        "connection_id": conn_id,
        "conn_type": "sops",
        "extra": json.dumps(extra, indent=2),
        **{name: fields[name] for name in STANDARD_FIELDS if name in fields},
    }


def forms(fake: FakeSopsClient) -> dict[str, dict[str, Any]]:
    """What the forms of all connections post."""
    return {conn_id: post(conn_id, fields) for conn_id, fields in typed(fake.status()["apigw_url"]).items()}


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
    # before 3.2 the hook's methods describe the form, and all fields are texts
    assert types == ({"bk_biz_id": "integer", "timeout": "number"} if airflow_version >= "3.2" else {})
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
    assert read == wanted(fake.status()["apigw_url"])


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
