# SPDX-License-Identifier: Apache-2.0
"""A fake SOPS server: a working stand-in for tests, examples and demonstrations.

``python -m airflow_provider_sops.testing`` runs it in the foreground; :class:`FakeSops` in a test. It needs nothing of
Airflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_sops.testing.client import FakeSopsClient
    from airflow_provider_sops.testing.engine.node import Node
    from airflow_provider_sops.testing.engine.task import Task
    from airflow_provider_sops.testing.fake import FakeSops
    from airflow_provider_sops.testing.refusals import Refused
    from airflow_provider_sops.testing.request_log import Request

__all__ = ["FakeSops", "FakeSopsClient", "Node", "Refused", "Request", "Task"]

_MODULES = {
    "FakeSops": "fake",
    "FakeSopsClient": "client",
    "Node": "engine.node",
    "Refused": "refusals",
    "Request": "request_log",
    "Task": "engine.task",
}


def __getattr__(name: str) -> Any:
    # Loaded when it is first used: pytest imports this package in every project where the provider is installed.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
