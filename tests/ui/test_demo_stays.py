# SPDX-License-Identifier: Apache-2.0
"""What ``make demo ARGS=--stay`` leaves to look at, in a real browser."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from airflow_provider_sops.compat import HAS_PLUGIN_TABS
from tests.live.airflow import ROOT
from tests.live.processes import Process, wait_until
from tests.ui.browser import browser_page, log_in

pytestmark = pytest.mark.skipif(not HAS_PLUGIN_TABS, reason="this Airflow has no tabs for plugins")


def test_the_demo_stays_until_it_is_stopped(tmp_path: Path) -> None:
    log = tmp_path / "demo.out"
    process = Process([sys.executable, ROOT / "tools" / "demo.py", "--stay"], env=os.environ, log=log)
    try:
        wait_until("it is there to be looked at", lambda: "Stop with" in process.tail(), seconds=500)
        address = re.search(r"The SOPS task in the Airflow UI: (\S+)", process.tail())
        assert address
        with browser_page() as page:
            log_in(page, address.group(1).partition("/dags/")[0])
            page.goto(address.group(1))
            frame = page.frame_locator("iframe[title=SOPS]")
            expect(frame.get_by_text("FINISHED, 3 of 3 nodes done")).to_be_visible()
    finally:
        process.terminate()
        wait_until("it has ended, and all that it has started", lambda: not process.running, seconds=90)
        process.stop()
    assert not re.search(r"The demo failed", log.read_text())
