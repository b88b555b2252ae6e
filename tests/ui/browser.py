# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium, headless."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page, expect, sync_playwright

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

#: A page this wide has room for a task's tabs in one row.
TABS_WIDTH = 1260


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
            viewport={"width": 1200, "height": 800},
            device_scale_factor=1.5,
            locale="en-US",
            timezone_id="UTC",
            reduced_motion="reduce",
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


def tabs(page: Page) -> Locator:
    """The tabs of a task instance's page."""
    return page.get_by_role("link", name="Logs", exact=True).locator("..")


class Album:
    """Where the screenshots go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(
        self,
        page: Page,
        name: str,
        *parts: Locator,
        width: int = TABS_WIDTH,
        height: int = 800,
        margin: int = 12,
        wait_for: Literal["load", "networkidle"] = "networkidle",
    ) -> None:
        """Take a picture of what a user sees.

        :param parts: what to show: the picture holds these parts of the page and what lies between them; by default it
            holds all of the page.
        :param width: of the page, which the parts are laid out in.
        :param height: of the page; the parts must fit.
        :param margin: what to show around the parts.
        :param wait_for: what tells that all of it is there.
        """
        page.set_viewport_size({"width": width, "height": height})
        page.mouse.move(0, 0)
        page.wait_for_load_state(wait_for)
        for part in parts:
            part.scroll_into_view_if_needed()  # waits until it has its place
        clip = _around(parts, margin) if parts else None
        shot = page.screenshot(clip=clip, animations="disabled")
        self.folder.mkdir(parents=True, exist_ok=True)
        with Image.open(BytesIO(shot)) as picture:
            # a page has few colours, and a file with a palette is a third of one without
            picture.convert("RGB").quantize(256).save(self.folder / f"{name}.png", optimize=True)


def _around(parts: tuple[Locator, ...], margin: int) -> FloatRect:
    boxes = [box for part in parts if (box := part.bounding_box())]
    assert len(boxes) == len(parts), "a part of the picture is not to be seen"
    left, top = (min(box[side] for box in boxes) for side in ("x", "y"))
    right, bottom = max(box["x"] + box["width"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    return {
        "x": left - margin,
        "y": top - margin,
        "width": right - left + 2 * margin,
        "height": bottom - top + 2 * margin,
    }
