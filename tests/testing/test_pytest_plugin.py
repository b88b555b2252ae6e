# SPDX-License-Identifier: Apache-2.0
"""The fixtures that users of the provider get."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from airflow_provider_sops.testing import FakeSops
from tests.testing.calls import Http


def test_a_fresh_fake_for_each_test(fake_sops: FakeSops) -> None:
    assert (fake_sops.tasks, fake_sops.count()) == ([], 0)
    assert Http(fake_sops.url).send("GET", fake_sops.url + "/").status == 200


def test_the_connection_leads_to_the_fake(fake_sops: FakeSops, sops_connection: str) -> None:
    assert sops_connection == "sops_default"
    assert json.loads(os.environ["AIRFLOW_CONN_SOPS_DEFAULT"]) == fake_sops.connection()


def test_the_plugin_and_the_fake_load_nothing_of_airflow() -> None:
    """pytest loads the plugin in every run of every project where the provider is installed."""
    program = (
        "import sys, airflow_provider_sops.testing.pytest_plugin\n"
        "for name in ('airflow_provider_sops.testing.fake', 'jsonschema', 'requests'):\n"
        "    assert name not in sys.modules, f'the plugin loads {name} at once'\n"
        "from airflow_provider_sops.testing import FakeSops, FakeSopsClient, Node, Refused, Request, Task\n"
        "sys.exit(', '.join(name for name in ('airflow', 'httpx', 'pendulum') if name in sys.modules))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "\n")
