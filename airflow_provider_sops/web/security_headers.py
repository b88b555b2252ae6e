# SPDX-License-Identifier: Apache-2.0
"""What every answer of the page tells the browser: run and load nothing but its own files, and be framed by no one."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from airflow_provider_sops.lazy_app import AsgiApp, Receive, Scope, Send

#: Of the page: no inline script or style, nothing of another host, only Airflow's own page around it.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
#: They say nothing of anybody.
_PUBLIC = "/static/"


class SecurityHeaders:
    """Adds the headers to all answers of an app."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        public = _PUBLIC in scope.get("path", "")

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(b"cache-control", b"no-cache")] if public else []
                headers = dict((*_HEADERS, *own))
                kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in headers]
                message["headers"] = [*kept, *headers.items()]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def is_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Tell a request that a page of another site makes; a person who follows a link to the page is none."""
    site = headers.get("sec-fetch-site", "none")
    if site in ("same-origin", "none"):
        return False
    return (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) != ("navigate", "document")
