# SPDX-License-Identifier: Apache-2.0
"""Does a built distribution work? `smoke.py FILE CONSTRAINTS` installs it into an empty environment and uses it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

#: Runs in the new environment: every module can be imported, Airflow knows the provider, the hook reaches the fake.
USE = """
import importlib, json, os, pkgutil
import airflow_provider_sops
from airflow_provider_sops.hooks.sops import SopsHook
from airflow_provider_sops.testing import FakeSops

for module in pkgutil.walk_packages(airflow_provider_sops.__path__, "airflow_provider_sops."):
    if module.name.split(".")[-1] not in ("__main__", "pytest_plugin"):
        importlib.import_module(module.name)
with FakeSops() as fake:
    os.environ["AIRFLOW_CONN_SOPS_DEFAULT"] = json.dumps(fake.connection())
    task_id = fake.create_task()
    assert SopsHook().get_task_detail(task_id).task_id == task_id
from airflow.providers_manager import ProvidersManager

assert ProvidersManager().providers["airflow-provider-sops"].version == airflow_provider_sops.__version__
assert "sops" in ProvidersManager().hooks
"""


def main() -> None:
    """Install and use the distribution; any failure ends the program."""
    file, constraints = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as home:
        venv, environ = f"{home}/venv", {**os.environ, "AIRFLOW_HOME": f"{home}/airflow"}
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, venv], check=True)
        install = ["uv", "pip", "install", "--quiet", "--python", venv, "--constraints", str(constraints)]
        install += ["--build-constraints", str(constraints), str(file)]
        subprocess.run(install, check=True)
        use = [f"{venv}/bin/python", "-W", "ignore", "-c", USE]
        subprocess.run(use, check=True, env=environ, cwd=home, stdout=subprocess.DEVNULL)
    print(f"{file.name}: installed into an empty environment, it works")


if __name__ == "__main__":
    main()
