# SPDX-License-Identifier: Apache-2.0
"""Time that tests move: waits take none of the real one."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest


class MovedTime:
    """Stands for the module :mod:`time`: it begins now, and only sleeping moves it.

    :param on_sleep: called with the seconds of each sleep.
    """

    def __init__(self, on_sleep: Callable[[float], object] | None = None) -> None:
        self.now = time.time()
        self.sleeps: list[float] = []
        self._on_sleep = on_sleep

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        if self._on_sleep is not None:
            self._on_sleep(seconds)


def move_time(monkeypatch: pytest.MonkeyPatch, moved: MovedTime, *more_modules: str) -> None:
    """Let all loaded modules of the provider, and some more, take their time from ``moved``."""
    for name in (
        "operators.run_attempt",
        "sensors.sensor_wait",
        "triggers.deferral_hold",
        "triggers.wait_loop",
    ):  # are loaded when first used
        importlib.import_module(f"airflow_provider_sops.{name}")
    for name, module in list(sys.modules.items()):
        if name in more_modules or (name.startswith("airflow_provider_sops.") and ".testing" not in name):
            known = vars(module).get("time")
            if known is time or isinstance(known, MovedTime):
                monkeypatch.setattr(module, "time", moved)
