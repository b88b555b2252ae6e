# SPDX-License-Identifier: Apache-2.0
"""The macro `macros.sops.render` in a template, through Airflow's own plugins manager."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

import jinja2
import pytest

from airflow_provider_sops.core.variables import render
from airflow_provider_sops.plugins.sops import SopsPlugin

OUTPUTS = {"IP": "10.0.0.1", "EXIT": "0", "evil": "$(rm -rf /)", "list": [1, "二"]}


def first_of(*names: str) -> Any:
    """Return the first module that this Airflow has."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise AssertionError(names)


@pytest.fixture(scope="module")
def macros() -> Any:
    """What a template of this Airflow knows as ``macros``, with those of the plugins."""
    first_of("airflow.sdk.plugins_manager", "airflow.plugins_manager").integrate_macros_plugins()
    return first_of("airflow.sdk.execution_time.macros", "airflow.macros")


def test_airflow_finds_the_plugin_by_its_entry_point() -> None:
    (entry_point,) = importlib.metadata.entry_points(group="airflow.plugins", name="sops")
    assert entry_point.load() is SopsPlugin
    assert (SopsPlugin.name, SopsPlugin.macros) == ("sops", [render])


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{ macros.sops.render('ping ${IP}; exit $<EXIT>', outputs) }}", "ping 10.0.0.1; exit 0"),
        ("{{ macros.sops.render('echo ${evil}', outputs, quote=True) }}", "echo '$(rm -rf /)'"),
        ("{{ macros.sops.render('${list}', outputs) }}", '[1, "二"]'),
        ("{{ macros.sops.render('${HOST} ${IP}', outputs, strict=False) }}", "${HOST} 10.0.0.1"),
    ],
)
def test_the_macro_in_a_template(macros: Any, template: str, rendered: str) -> None:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701 (no page: a command)
    assert environment.from_string(template).render(macros=macros, outputs=OUTPUTS) == rendered


def test_an_unknown_variable_fails_the_template(macros: Any) -> None:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701
    template = environment.from_string("{{ macros.sops.render('ping $<HOST>', outputs) }}")
    with pytest.raises(KeyError, match="is not among the SOPS task's outputs; there are: EXIT, IP, evil, list"):
        template.render(macros=macros, outputs=OUTPUTS)
