# SPDX-License-Identifier: Apache-2.0
"""A fake SOPS server: a working stand-in for tests, examples and demonstrations.

``python -m airflow_provider_sops.testing`` runs it in the foreground; :class:`FakeSops` in a test. It needs nothing
but the standard library, and nothing of Airflow.
"""

from airflow_provider_sops.testing.client import FakeSopsClient
from airflow_provider_sops.testing.engine import Node, Refused, Task
from airflow_provider_sops.testing.fake import FakeSops, Request

__all__ = ["FakeSops", "FakeSopsClient", "Node", "Refused", "Request", "Task"]
