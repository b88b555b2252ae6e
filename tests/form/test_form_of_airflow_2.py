# SPDX-License-Identifier: Apache-2.0
"""The connection form that Airflow 2 draws from the hook's methods: what is typed is what the hook reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow import __version__ as airflow_version

from airflow_provider_sops.connection import EXTRA_FIELDS
from tests.cli.test_command_line import environ, run
from tests.form.typed import SECRETS, digest, typed, wanted

pytestmark = pytest.mark.skipif(airflow_version >= "3", reason="newer ones have another form, see tests/ui")

HERE = Path(__file__).parent
ADDRESS = "https://bkapi.example.com/api/bk-sops/prod"
#: a connection that was not typed into the form
IMPORTED = {
    "conn_type": "sops",
    "host": ADDRESS,
    "login": "demo-app",
    "password": "demo-secret",
    "extra": {
        "bk_username": "admin",
        "timeout": 20,
        "proxies": {"https": "http://proxy.example.com:3128"},
        "headers": {"X-Site": "Zq7header"},
    },
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of the forms: saved as typed, then with another description, then with other secrets."""
    home = tmp_path_factory.mktemp("airflow")
    conn_ids = [*typed(ADDRESS), "imported"]
    steps: list[dict[str, Any]] = [
        *({"add": conn_id, "fields": fields} for conn_id, fields in typed(ADDRESS).items()),
        {"import": "imported", "fields": IMPORTED | {"extra": json.dumps(IMPORTED["extra"])}},
        {"read": conn_ids},
        *({"edit": conn_id, "fields": {"description": "changed"}} for conn_id in conn_ids),
        {"read": conn_ids},
        {"edit": "form_esb", "fields": {"bk_token": "", "headers": "", "bk_username": "admin"}},
        {"edit": "form_access_token", "fields": {"access_token": "another-token"}},
        {"read": ["form_esb", "form_access_token"]},
    ]
    result_file = home / "result.json"
    run([sys.executable, HERE / "fill_in.py", json.dumps(steps), result_file], environ(home))
    read: dict[str, Any] = json.loads(result_file.read_text())
    return read


def test_what_is_typed_is_what_the_hook_reads(result: dict[str, Any]) -> None:
    assert result["read"][0].items() > wanted(ADDRESS).items()


def test_saving_it_again_changes_nothing_else(result: dict[str, Any]) -> None:
    assert result["read"][1] == result["read"][0]
    assert result["read"][1]["imported"]["headers"] == digest(repr({"X-Site": "Zq7header"}))


def test_a_secret_can_be_changed_and_removed(result: dict[str, Any]) -> None:
    after = result["read"][2]
    assert after["form_esb"]["credentials"]["bk_token"] == digest("")
    assert after["form_esb"]["headers"] == digest(repr({"X-Bk-Tenant-Id": "tenant-1"}))
    assert after["form_access_token"]["credentials"]["access_token"] == digest("another-token")


def test_page_shows_labels_help_and_placeholders_and_no_secret(result: dict[str, Any]) -> None:
    first = result["pages"][0]
    for field in EXTRA_FIELDS.values():
        assert field["label"] in first
    assert "Login token of a user." in first
    assert "https://bkapi.example.com/api/bk-sops/prod" in first  # the host's placeholder
    # a proxy's password is not hidden in this form, as the documentation says
    hidden = set(SECRETS) - {"Zq7proxy"}
    assert not [secret for secret in hidden for page in result["pages"] if secret in page]
