# SPDX-License-Identifier: Apache-2.0
"""What is installed with the provider, and what it brings along."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import airflow_provider_sops

ROOT = Path(__file__).parent.parent
NAME = "airflow-provider-sops"


def needed_by(name: str) -> set[str]:
    """Return the distributions that one needs, without extras."""
    found = [Requirement(text) for text in requires(name) or []]
    return {canonicalize_name(one.name) for one in found if not one.marker or one.marker.evaluate({"extra": ""})}


def test_all_that_it_needs_comes_with_airflow() -> None:
    wanted = needed_by(NAME)
    assert wanted == {
        "apache-airflow",
        "apache-airflow-providers-common-compat",
        "certifi",
        "httpx",
        "pendulum",
        "requests",
    }
    with_airflow, seen = {"apache-airflow"}, set[str]()
    while with_airflow - seen:
        name = (with_airflow - seen).pop()
        seen.add(name)
        with_airflow |= needed_by(name)
    assert wanted <= with_airflow


def test_it_announces_itself() -> None:
    announced = {(point.group, point.name): point for point in distribution(NAME).entry_points}
    assert set(announced) == {
        ("airflow.plugins", "sops"),
        ("apache_airflow_provider", "provider_info"),
        ("pytest11", "sops"),
    }
    info = announced["apache_airflow_provider", "provider_info"].load()()
    assert info["package-name"] == NAME
    assert info["versions"] == [airflow_provider_sops.__version__] == [distribution(NAME).version]
    assert announced["airflow.plugins", "sops"].load().name == "sops"
    assert announced["pytest11", "sops"].load() is sys.modules["airflow_provider_sops.testing.pytest_plugin"]


def test_the_wheel_is_complete(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "airflow_provider_sops"
    source = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file() and path.suffix in (".css", ".html", ".js", ".json", ".py", ".toml", ".typed")
    }
    assert {name for name in names if name.startswith("airflow_provider_sops/")} == source
    assert "airflow_provider_sops/py.typed" in names
    assert [name for name in names if name.endswith("licenses/LICENSE")]


@pytest.mark.parametrize("file", sorted(ROOT.glob("constraints/*.txt")), ids=lambda file: file.name)
def test_constraints_are_versions_and_nothing_else(file: Path) -> None:
    for line in file.read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9a-z.+]+", line), line
