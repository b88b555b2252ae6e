# SPDX-License-Identifier: Apache-2.0
"""The built documentation (``make docs``), served as it will be, and a browser for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response, expect

from tests.site.pages import BASE, SITE
from tests.ui.browser import browser_page

#: the theme hides what a drawing is made of
_OPEN_DRAWINGS = """const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function (how) { return attach.call(this, { ...how, mode: "open" }); };"""


class _Handler(SimpleHTTPRequestHandler):
    """The site stands below a path, as on the host that it is published on."""

    def translate_path(self, path: str) -> str:
        known = urlsplit(path).path.startswith(BASE)
        return super().translate_path(path.removeprefix(BASE[:-1])) if known else str(Path(self.directory, "not there"))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        # as GitHub Pages does
        page = (SITE / "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Where the site is, with a slash at the end."""
    assert (SITE / "index.html").is_file(), "there is no site/: make docs"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(SITE))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{BASE}"
        server.shutdown()


@pytest.fixture(scope="session")
def _browser_page() -> Iterator[Page]:
    with browser_page() as page:
        expect.set_options(timeout=10_000)
        page.set_default_timeout(10_000)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.context.add_init_script(_OPEN_DRAWINGS)
        yield page


@pytest.fixture
def troubles() -> list[str]:
    """What a browser complains about; a test that uses `page` fails if there is any."""
    return []


@pytest.fixture
def page(_browser_page: Page, url: str, troubles: list[str]) -> Iterator[Page]:
    """A page that asks no other host for anything, and finds all that it asks for."""
    page = _browser_page
    page.set_viewport_size({"width": 1280, "height": 800})

    def on_request(request: Request) -> None:
        if not request.url.startswith((url, "data:", "blob:")):
            troubles.append(f"asks another host: {request.url}")

    def on_response(response: Response) -> None:
        if response.status >= 400:
            troubles.append(f"missing: {response.url}")

    def on_error(error: Error) -> None:
        troubles.append(f"error of a script: {error}")

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            troubles.append(message.text)

    page.on("request", on_request)
    page.on("response", on_response)
    page.on("pageerror", on_error)
    page.on("console", on_console)
    yield page
    page.remove_listener("request", on_request)
    page.remove_listener("response", on_response)
    page.remove_listener("pageerror", on_error)
    page.remove_listener("console", on_console)
    page.goto("about:blank")
    assert troubles == []
