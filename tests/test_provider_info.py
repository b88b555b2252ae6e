# SPDX-License-Identifier: Apache-2.0
"""What Airflow learns of the provider, by its own schemas, manager and commands."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_provider_sops import __version__
from airflow_provider_sops.connection import EXTRA_FIELDS
from airflow_provider_sops.get_provider_info import get_provider_info

NAME = "airflow-provider-sops"
INFO = get_provider_info()
AIRFLOW = Path(airflow.__file__).parent


def test_the_entry_point_gives_the_provider_info() -> None:
    distribution = importlib.metadata.distribution(NAME)
    (entry_point,) = distribution.entry_points.select(group="apache_airflow_provider")
    assert entry_point.load()() == INFO


def test_the_version_is_that_of_the_distribution() -> None:
    assert INFO["versions"] == [__version__]
    assert importlib.metadata.version(NAME) == __version__


def test_it_fits_airflows_schema() -> None:
    """The one that a running Airflow checks providers with: a provider that does not fit is not loaded."""
    jsonschema.validate(INFO, json.loads((AIRFLOW / "provider_info.schema.json").read_text()))


def test_the_form_fits_airflows_schema() -> None:
    schema = json.loads((AIRFLOW / "provider.yaml.schema.json").read_text())
    described = schema["properties"].get("connection-types", {})
    if "conn-fields" in json.dumps(described):  # older Airflows know nothing of them
        jsonschema.validate(INFO["connection-types"], {**described, "definitions": schema.get("definitions", {})})
    for name, field in INFO["connection-types"][0]["conn-fields"].items():
        jsonschema.Draft202012Validator.check_schema(field["schema"])
        example = (EXTRA_FIELDS[name].get("enum") or ["1"])[0]
        if EXTRA_FIELDS[name].get("type", "string") == "string":
            jsonschema.validate(example, field["schema"])


@pytest.mark.parametrize("kind", ["hooks", "sensors", "operators", "triggers"])
def test_the_modules_are_there(kind: str) -> None:
    for entry in INFO[kind]:
        assert entry["integration-name"] == INFO["integrations"][0]["integration-name"]
        for module in entry["python-modules"]:
            importlib.import_module(module)


def test_the_classes_are_there() -> None:
    names = [
        INFO["connection-types"][0]["hook-class-name"],
        *INFO["extra-links"],
        *(plugin["plugin-class"] for plugin in INFO["plugins"]),
    ]
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), attribute), type)


@pytest.fixture(scope="module")
def manager() -> Any:
    from airflow.providers_manager import ProvidersManager

    return ProvidersManager()  # type: ignore[no-untyped-call]


def test_airflow_knows_the_provider(manager: Any) -> None:
    assert manager.providers[NAME].version == __version__


def test_airflow_knows_the_connection_type(manager: Any) -> None:
    hook = manager.hooks["sops"]
    assert hook is not None
    assert (hook.hook_class_name, hook.hook_name) == ("airflow_provider_sops.hooks.sops.SopsHook", "BlueKing SOPS")
    assert (hook.package_name, hook.connection_id_attribute_name) == (NAME, "sops_conn_id")
    assert hook.connection_testable is True


def test_airflow_knows_the_link(manager: Any) -> None:
    assert "airflow_provider_sops.links.sops.SopsTaskLink" in manager.extra_links_class_names


#: Airflow 3.0 shows the fields of no provider's form without it.
NO_FORM = airflow.__version__.startswith("3.0") and find_spec("flask_appbuilder") is None


#: What the API server hands to the page. In a process of its own: it puts dummies of Flask AppBuilder into the modules,
#: and that helps only before the providers are loaded.
READ_FORM = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

(form,) = (form for form in HookMetaService.hook_meta_data() if form.connection_type == "sops")
print("\\n" + json.dumps([form.standard_fields.password.title, sorted(form.extra_fields)]))
"""


@pytest.mark.skipif(NO_FORM, reason="Airflow 3.0 needs Flask AppBuilder for forms")
def test_airflow_knows_the_form(manager: Any) -> None:
    if airflow.__version__ >= "3":
        read = subprocess.run(
            [sys.executable, "-c", READ_FORM], check=True, capture_output=True, text=True, timeout=120
        )
        password, fields = json.loads(read.stdout.splitlines()[-1])
        assert password == "App secret"
    else:
        assert manager.field_behaviours["sops"]["relabeling"]["password"] == "App secret"
        widgets = manager.connection_form_widgets
        fields = {name.removeprefix("extra__sops__") for name in widgets if name.startswith("extra__sops__")}
    assert set(fields) == set(EXTRA_FIELDS)
