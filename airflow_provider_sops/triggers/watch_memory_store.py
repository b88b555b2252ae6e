# SPDX-License-Identifier: Apache-2.0
"""Where Airflow keeps what a watch remembers: with the asset (Airflow 3.3), before that in a Variable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from airflow_provider_sops.compat import ask_airflow, asset_stores, read_variable


class MemoryStore(Protocol):
    """Keeps one JSON value."""

    async def read(self) -> Any:
        """Return what was written last; ``None`` where nothing was."""

    async def write(self, value: Mapping[str, Any]) -> None:
        """Keep a value in place of the one before."""


class AirflowMemoryStore:
    """Keeps the memory of a watch in Airflow.

    :param trigger: the watch's.
    :param name: of the watch.
    """

    def __init__(self, trigger: Any, name: str) -> None:
        self.key = f"sops_watch_{name}"
        self._stores = asset_stores(trigger)

    async def read(self) -> Any:
        """Return what was written last, before Airflow was upgraded to 3.3 too; ``None`` where nothing was."""
        for store in self._stores:
            if (value := await ask_airflow(store.get, self.key)) is not None:
                return value
        text = await ask_airflow(read_variable, self.key)
        try:
            return None if text is None else json.loads(text)
        except ValueError:
            return text

    async def write(self, value: Mapping[str, Any]) -> None:
        """Keep a value in place of the one before."""
        for store in self._stores:
            await ask_airflow(store.set, self.key, dict(value))
        if not self._stores:
            await ask_airflow(self._write_variable, json.dumps(value))

    def _write_variable(self, text: str) -> None:
        from airflow.sdk import Variable

        Variable.set(self.key, text, description="What a watch of SOPS remembers. Deleted, it begins anew.")
