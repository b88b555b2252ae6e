# SPDX-License-Identifier: Apache-2.0
"""An approval and a rejection in a real browser, from the page of the question to what comes of it in SOPS."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from airflow import __version__ as airflow_version
from playwright.sync_api import Page, expect

from airflow_provider_sops.compat.required_actions import HAS_REQUIRED_ACTIONS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import ROOT, Standalone
from tests.live.processes import wait_until
from tests.ui.browser import Album, browser_page, log_in

pytestmark = pytest.mark.skipif(not HAS_REQUIRED_ACTIONS, reason="this Airflow has no Required Actions")

DAG_ID = "sops_approval"
ALBUM = Album(ROOT / ("docs/img" if airflow_version >= "3.3" else f"build/img-{airflow_version}"))
HOSTILE = "</table><img src=x onerror=alert(1)> [x](javascript:alert(1)) `|`"


@pytest.fixture(scope="module")
def runs(site: Standalone, fake: FakeSopsClient) -> dict[str, tuple[str, int]]:
    """Runs that ask: by what comes of them, the run and its SOPS task."""
    connection = {**fake.connection(), "connection_id": DAG_ID}
    connection["extra"] = json.dumps(connection["extra"])
    site.api.ask("POST", "connections", connection)
    return {
        option: ask(site, fake, name)
        for option, name in (("Approve", "Release of 3.4.1"), ("Reject", "Release of 3.4.2"))
    }


def ask(site: Standalone, fake: FakeSopsClient, name: str) -> tuple[str, int]:
    """Let a run ask about a SOPS task of that name.

    :return: the run and the SOPS task.
    """
    task_id = fake.create_task("Pause for a person", name=name, constants={"IP": "10.0.0.8"})
    fake.advance(10)
    run_id = site.api.trigger(DAG_ID, {"sops_task_id": task_id})
    wait_until("it asks", lambda: site.api.states(DAG_ID, run_id) == {"deferred": 1}, seconds=200)
    return run_id, task_id


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of the browser, in which no script of SOPS' runs."""
    with browser_page() as page:
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        yield page


def open_question(page: Page, url: str, run_id: str) -> None:
    """Open the question as a user does who follows its link."""
    log_in(page, url)
    page.goto(f"{url}/dags/{DAG_ID}/runs/{quote(run_id, safe='')}/tasks/approve/required_actions")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()


def test_the_list_of_required_actions(page: Page, site: Standalone, runs: dict[str, tuple[str, int]]) -> None:
    log_in(page, site.api.url)
    page.goto(f"{site.api.url}/required_actions")
    for _, task_id in runs.values():
        expect(page.get_by_text(re.compile(f"SOPS task {task_id} 'Release of")).first).to_be_visible()
    table = page.get_by_text("Required Action State"), page.get_by_text(DAG_ID, exact=True).last
    ALBUM.take(page, "required-actions", *table, wait_for="load")


def test_an_approval(page: Page, site: Standalone, fake: FakeSopsClient, runs: dict[str, tuple[str, int]]) -> None:
    run_id, task_id = runs["Approve"]
    open_question(page, site.api.url, run_id)
    expect(page.get_by_text("waits at the node").first).to_be_visible()
    expect(page.get_by_text("please confirm").first).to_be_visible()
    expect(page.get_by_role("cell", name="10.0.0.8")).to_be_visible()
    link = page.get_by_role("link", name="Release of 3.4.1")
    assert f"instance_id={task_id}" in str(link.get_attribute("href"))
    page.get_by_role("textbox").last.fill("it is tested")
    question = page.get_by_text(f"SOPS task {task_id} ").first, page.get_by_role("button", name="Reject", exact=True)
    ALBUM.take(page, "required-action", *question, width=1000, height=900, wait_for="load")
    page.get_by_role("button", name="Approve", exact=True).click()
    assert site.api.wait_for_run(DAG_ID, run_id, seconds=200) == "success"
    assert site.api.xcom(DAG_ID, run_id, "approve")["params"] == {"reason": "it is tested"}
    wait_until("the SOPS task goes on", lambda: fake.task(task_id).state == "FINISHED", seconds=60)


def test_a_rejection(page: Page, site: Standalone, fake: FakeSopsClient, runs: dict[str, tuple[str, int]]) -> None:
    run_id, task_id = runs["Reject"]
    open_question(page, site.api.url, run_id)
    page.get_by_role("textbox").last.fill("not today")
    page.get_by_role("button", name="Reject", exact=True).click()
    assert site.api.wait_for_run(DAG_ID, run_id, seconds=200) == "failed"
    assert fake.task(task_id).state == "REVOKED"
    task_page = f"{site.api.url}/dags/{DAG_ID}/runs/{quote(run_id, safe='')}/tasks/approve"
    page.goto(f"{task_page}/required_actions")
    expect(page.get_by_text("Release of 3.4.2").first).to_be_visible()
    expect(page.get_by_text("Failed", exact=True).first).to_be_visible()
    answer = page.get_by_text("Response received").first, page.get_by_role("button", name="Reject", exact=True)
    ALBUM.take(page, "required-action-rejected", *answer, width=1000, height=900, wait_for="load")
    page.goto(task_page)
    expect(page.get_by_text("has rejected node 'confirm'").first).to_be_visible()


@pytest.mark.usefixtures("runs")
def test_a_question_shows_text_of_sops_as_text(page: Page, site: Standalone, fake: FakeSopsClient) -> None:
    run_id, _ = ask(site, fake, HOSTILE)
    open_question(page, site.api.url, run_id)
    expect(page.get_by_text("onerror=alert(1)").first).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("a[href^=javascript]").count() == 0
