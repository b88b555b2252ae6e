# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium, headless."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Locator, Page, expect, sync_playwright

#: it asks nothing of any other machine
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@contextmanager
def browser_page() -> Iterator[Page]:
    """An empty page, in English, of a size that fits a screenshot."""
    chromium = shutil.which("chromium")
    assert chromium, "there is no chromium on the PATH (on Debian: apt-get install chromium)"
    # Chromium's own sandbox refuses root
    flags = [*_FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
    expect.set_options(timeout=30_000)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        context = browser.new_context(
            viewport={"width": 1200, "height": 800}, locale="en-US", timezone_id="UTC", reduced_motion="reduce"
        )
        page = context.new_page()
        page.set_default_timeout(30_000)
        try:
            yield page
        finally:
            browser.close()


def log_in(page: Page, url: str) -> None:
    """Open the first page. In an older Airflow, whoever is not logged in yet lands there, wherever they want to go.

    :param url: the address of the API server.
    """
    page.goto(url)
    expect(page.get_by_text("Dags", exact=True).first).to_be_visible()


class Album:
    """Where the screenshots go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(
        self,
        page: Page,
        name: str,
        *,
        width: int = 1200,
        height: int = 800,
        of: Locator | None = None,
        wait_for: Literal["load", "networkidle"] = "networkidle",
    ) -> None:
        """Take a picture of what a user sees.

        :param of: a part of the page; by default all of it.
        :param wait_for: what tells that all of it is there.
        """
        page.set_viewport_size({"width": width, "height": height})
        page.mouse.move(0, 0)
        page.wait_for_load_state(wait_for)
        (of or page).screenshot(path=self.folder / f"{name}.png", animations="disabled")
