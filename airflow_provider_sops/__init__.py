# SPDX-License-Identifier: Apache-2.0
"""Apache Airflow provider for BlueKing Standard OPS (SOPS)."""

__version__ = "1.1.0.dev0"
