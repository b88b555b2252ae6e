# SPDX-License-Identifier: Apache-2.0
"""An ASGI app that is imported with its first request."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class LazyApp:
    """Hand requests to the app that a function makes; the function is imported with the first of them.

    Airflow loads a plugin in every process, and only the API server serves what it holds.

    :param factory: ``package.module:function``; the function takes nothing and returns an ASGI app.
    """

    def __init__(self, factory: str) -> None:
        self.factory = factory
        self._app: AsgiApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            # Not in the event loop, which serves all of Airflow. Two first requests make two apps; the last one stays.
            self._app = await asyncio.to_thread(self._make)
        await self._app(scope, receive, send)

    def _make(self) -> AsgiApp:
        module, function = self.factory.split(":")
        app: AsgiApp = getattr(importlib.import_module(module), function)()
        return app
