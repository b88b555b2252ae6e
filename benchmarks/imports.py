# SPDX-License-Identifier: Apache-2.0
"""What importing one provider adds to a DAG file: prints the seconds, in a process of its own.

What every DAG file imports is there before: ``airflow.sdk`` and the bases of operators, sensors, hooks and triggers.
"""

from __future__ import annotations

import importlib
import sys
import time

#: By name: the modules of a provider's operators, sensors and triggers.
PROVIDERS = {
    "sops": tuple(f"airflow_provider_sops.{kind}.sops" for kind in ("operators", "sensors", "triggers")),
    "dbt": tuple(f"airflow.providers.dbt.cloud.{kind}.dbt" for kind in ("operators", "sensors", "triggers")),
    "http": tuple(f"airflow.providers.http.{kind}.http" for kind in ("operators", "sensors", "triggers")),
    "airbyte": tuple(f"airflow.providers.airbyte.{kind}.airbyte" for kind in ("operators", "sensors", "triggers")),
}


def main() -> None:
    import airflow.triggers.base  # noqa: F401
    from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator  # noqa: F401

    began = time.perf_counter()
    for module in PROVIDERS[sys.argv[1]]:
        importlib.import_module(module)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
