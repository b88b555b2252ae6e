# SPDX-License-Identifier: Apache-2.0
"""The tab "SOPS" of a task instance's page, in a real browser: each kind of task, light and dark, wide and narrow."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import pytest
from airflow import __version__ as airflow_version
from playwright.sync_api import Frame, Page, expect

from airflow_provider_sops.compat import HAS_PLUGIN_TABS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import ROOT, Standalone
from tests.live.processes import wait_until
from tests.ui.browser import Album, browser_page, log_in, tabs
from tests.ui.flows import HUNDRED, fake_with_flows

pytestmark = pytest.mark.skipif(not HAS_PLUGIN_TABS, reason="this Airflow has no tabs for plugins")

DAG_ID = "sops_tab"
DEPLOYMENT = "deploy_service"
ALBUM = Album(ROOT / ("docs/img" if airflow_version >= "3.3" else f"build/img-{airflow_version}"))
#: What the id of a run may hold, where a site allows it.
ODD_RUN_IDS = ("odd +a&b=c?d#e%20f 日报", "2026/11/22 #1", "100%")
#: A frame like that of a tab, in Airflow's own page.
FRAME = """address => {
    document.getElementById("odd")?.remove();
    const frame = document.createElement("iframe");
    frame.id = "odd";
    frame.setAttribute("sandbox", "allow-scripts allow-same-origin allow-forms");
    frame.setAttribute("src", address);
    document.body.prepend(frame);
}"""


@pytest.fixture(scope="module")
def sops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSopsClient]:
    """A fake SOPS with flows to look at."""
    with fake_with_flows(tmp_path_factory.mktemp("flows")) as client:
        yield client


@pytest.fixture(scope="module")
def run_id(site: Standalone, sops: FakeSopsClient) -> str:
    """A run in which all tasks have come as far as they do."""
    connection = {**sops.connection(), "connection_id": "sops_tab"}
    connection["extra"] = json.dumps(connection["extra"])
    site.api.ask("POST", "connections", connection)
    hundred = sops.create_task(HUNDRED, name="Deploy to a hundred hosts")
    found = site.api.trigger(DAG_ID, {"sops_task_id": hundred})
    wait_until("all tasks are as they stay", lambda: _has_settled(site, found), seconds=400)
    return found


def _has_settled(site: Standalone, run_id: str) -> bool:
    wanted = {"finished": "success", "retried": "failed", "foreign": "success", "running": "deferred"}
    states = {(one["task_id"], one["state"]) for one in site.api.instances(DAG_ID, run_id)}
    mapped = [one["state"] for one in site.api.instances(DAG_ID, run_id, "mapped")]
    return set(wanted.items()) <= states and mapped == ["success", "success"]


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of the browser, in which no script of SOPS' runs."""
    with browser_page() as page:
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        yield page
        refused = [text for text in complaints if "Content Security Policy" in text and "/sops/" in text]
        assert not refused, refused


def open_tab(
    page: Page, url: str, run_id: str, task_id: str, map_index: int | None = None, dag_id: str = DAG_ID
) -> Frame:
    """Open the tab as a user does, by a click on it."""
    mapped = "" if map_index is None else f"/mapped/{map_index}"
    log_in(page, url)
    page.goto(f"{url}/dags/{dag_id}/runs/{quote(run_id, safe='')}/tasks/{task_id}{mapped}")
    page.get_by_role("link", name="SOPS", exact=True).click()
    element = page.locator("iframe[title=SOPS]").element_handle()
    assert element
    frame = element.content_frame()
    assert frame
    frame.wait_for_url(re.compile(r"/sops/task_instance/page/"))
    frame.wait_for_selector("#main")
    return frame


def check_accessible(frame: Frame) -> None:
    """Let axe-core look for what keeps people out."""
    frame.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    found: dict[str, Any] = frame.evaluate("axe.run()")
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not serious, json.dumps(serious, indent=1, ensure_ascii=False)[:4000]


def test_a_finished_task(page: Page, site: Standalone, run_id: str) -> None:
    frame = open_tab(page, site.api.url, run_id, "finished")
    expect(frame.get_by_role("heading", level=1)).to_contain_text("Release of 3.4.1")
    expect(frame.get_by_text("FINISHED, 9 of 9 nodes done")).to_be_visible()
    assert "demo-secret" not in frame.content()
    check_accessible(frame)
    # a subprocess opens, a node in it is chosen, and the way back leads to the whole flow
    frame.get_by_role("link", name="Open the subprocess Check each host").click()
    expect(frame.get_by_role("navigation", name="Subprocesses")).to_contain_text("Check each host")
    frame.locator("a.node", has_text="Check port 443").first.click()
    expect(frame.get_by_role("heading", name="Node: Check port 443")).to_be_visible()
    expect(frame.get_by_text("https://10.0.0.8/").first).to_be_visible()
    frame.get_by_role("navigation", name="Subprocesses").get_by_role("link").first.click()
    expect(frame.locator("a.node", has_text="发布公告").first).to_be_visible()


def test_a_retried_task_that_has_failed(page: Page, site: Standalone, run_id: str) -> None:
    frame = open_tab(page, site.api.url, run_id, "retried")
    expect(frame.locator("a.node.look-failed")).to_have_count(1)
    frame.locator("a.node.look-failed").click()
    expect(frame.get_by_text("<script>alert('disk full')</script>").first).to_be_visible()
    expect(frame.get_by_role("heading", name="SOPS tasks of all tries")).to_be_visible()
    links = frame.locator(".siblings a")
    expect(links).to_have_count(2)
    choose_and_check_dark(page, frame)
    page.evaluate("localStorage.removeItem('theme')")
    frame = open_tab(page, site.api.url, run_id, "retried")
    earlier = frame.locator(".siblings a").last
    number = earlier.inner_text()
    earlier.click()
    expect(frame.locator("dl", has_text="SOPS task").first).to_contain_text(number)


def choose_and_check_dark(page: Page, frame: Frame) -> None:
    address = page.url
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    assert page.url == address
    element = page.locator("iframe[title=SOPS]").element_handle()
    assert element
    dark = element.content_frame()
    assert dark
    dark.wait_for_selector(":root[data-theme=dark]")
    dark.locator("a.node.look-failed").click()
    expect(dark.get_by_role("heading", name="Reason of the failure")).to_be_visible()
    check_accessible(dark)


def test_a_running_task_renews_itself(page: Page, site: Standalone, run_id: str, sops: FakeSopsClient) -> None:
    frame = open_tab(page, site.api.url, run_id, "running")
    expect(frame.locator("a.node.look-running")).to_have_count(1)
    check_accessible(frame)
    (task,) = [one for one in sops.tasks if one.name.startswith("Release that takes long")]
    sops.operate(task.id, "pause")
    # without a click
    expect(frame.locator("#progress")).to_contain_text("SUSPENDED")
    sops.operate(task.id, "resume")
    expect(frame.locator("#progress")).to_contain_text("RUNNING")


def test_a_hidden_page_asks_nothing(page: Page, site: Standalone, run_id: str) -> None:
    frame = open_tab(page, site.api.url, run_id, "running")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/sops/" in request.url else None)
    hide = (
        "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true}); "
        "document.dispatchEvent(new Event('visibilitychange')) }"
    )
    frame.evaluate(hide, True)
    page.wait_for_timeout(15_000)
    assert not asked
    with page.expect_response(lambda response: "/sops/" in response.url):
        frame.evaluate(hide, False)


@pytest.fixture(scope="module")
def deployments(site: Standalone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Runs of a deployment, by what has come of it."""
    with fake_with_flows(tmp_path_factory.mktemp("deployments")) as sops:
        connection = {**sops.connection(), "connection_id": "sops_deploy"}
        connection["extra"] = json.dumps(connection["extra"])
        site.api.ask("POST", "connections", connection)
        finished = _deploy_to_the_end(site, sops, "3.4.1")
        failed = _deploy_to_the_end(site, sops, "3.4.2")
        running = site.api.trigger(DEPLOYMENT, {"version": "3.4.1"})
        links = f"dags/{DEPLOYMENT}/dagRuns/{running}/taskInstances/deploy/links"
        wait_until("it runs", lambda: sops.url in str(site.api.ask("GET", links)), seconds=120)
        yield {"finished": finished, "failed": failed, "running": running}


def _deploy_to_the_end(site: Standalone, sops: FakeSopsClient, version: str) -> str:
    run_id = site.api.trigger(DEPLOYMENT, {"version": version})

    def has_ended() -> bool:
        sops.advance(60)
        return site.api.run_state(DEPLOYMENT, run_id) in ("success", "failed")

    wait_until("the deployment ends", has_ended, seconds=200)
    return run_id


def test_a_deployment_that_has_finished(page: Page, site: Standalone, deployments: dict[str, str]) -> None:
    frame = open_tab(page, site.api.url, deployments["finished"], "deploy", dag_id=DEPLOYMENT)
    expect(frame.get_by_text("FINISHED, 3 of 3 nodes done")).to_be_visible()
    outputs = frame.get_by_role("region", name="Outputs")
    expect(outputs).to_contain_text("3.4.1")
    task = frame.get_by_role("region", name="Task", exact=True)
    ALBUM.take(page, "task-tab", tabs(page), outputs, task, height=1300, margin=4)


def test_a_deployment_that_runs(page: Page, site: Standalone, deployments: dict[str, str]) -> None:
    frame = open_tab(page, site.api.url, deployments["running"], "deploy", dag_id=DEPLOYMENT)
    expect(frame.get_by_text("RUNNING, 2 of 3 nodes done, now: Deploy to 10.0.0.9")).to_be_visible()
    page.set_viewport_size({"width": 650, "height": 800})
    page.goto(frame.url)  # by itself, its flow fits the first page of the documentation
    expect(page.locator("a.node.look-running")).to_have_count(1)
    ALBUM.take(page, "task-tab-running", page.locator("h1"), page.locator(".legend"), width=650)


def test_a_deployment_that_has_failed(page: Page, site: Standalone, deployments: dict[str, str]) -> None:
    run_id, reason = deployments["failed"], "No space left on device"
    frame = open_tab(page, site.api.url, run_id, "deploy", dag_id=DEPLOYMENT)
    page.goto(frame.url)
    page.locator("a.node.look-failed").click()
    node = page.get_by_role("region", name="Node: Deploy to 10.0.0.8")
    expect(node).to_contain_text(reason)
    ALBUM.take(page, "task-tab-failed", page.locator("h1"), node, width=688, height=1300)
    # the log of the Airflow task gives the same reason
    page.goto(f"{site.api.url}/dags/{DEPLOYMENT}/runs/{run_id}/tasks/deploy")
    said = page.get_by_text("Retry or skip the failed node").first
    expect(said).to_contain_text(reason)
    level = page.get_by_text("ERROR", exact=True).filter(visible=True).last
    ALBUM.take(page, "task-failed-log", level, said, height=1400, margin=4, wait_for="load")


def test_mapped_tasks(page: Page, site: Standalone, run_id: str) -> None:
    for index in range(2):
        frame = open_tab(page, site.api.url, run_id, "mapped", index)
        expect(frame.get_by_text(f"10.0.0.{index + 1}").first).to_be_visible()


def test_a_foreign_task(page: Page, site: Standalone, run_id: str) -> None:
    frame = open_tab(page, site.api.url, run_id, "foreign")
    expect(frame.get_by_role("heading", name="This task has no SOPS task.")).to_be_visible()
    check_accessible(frame)


def test_a_hundred_nodes(page: Page, site: Standalone, run_id: str) -> None:
    frame = open_tab(page, site.api.url, run_id, "waiting")
    expect(frame.locator("a.node")).to_have_count(142)
    open_tab(page, site.api.url, run_id, "waiting")
    address = frame.url
    page.goto(address)  # warm
    page.goto(address)
    first = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    # the page's policy lets no script be evaluated in it, which is how Playwright would wait
    paint = wait_until("it is painted", lambda: page.evaluate(first), seconds=30, every=0.1)
    print(f"Airflow {airflow_version}: a hundred nodes are painted {paint:.0f} ms after the request")
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360  # only the picture scrolls
    page.set_viewport_size({"width": 1200, "height": 800})
    link = page.locator(".address a")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    with page.expect_popup() as popup:
        link.click()
    expect(popup.value.get_by_role("heading", name="Deploy to a hundred hosts")).to_be_visible()


def test_a_wait_that_the_scheduler_has_started(page: Page, site: Standalone, run_id: str) -> None:
    frame = open_tab(page, site.api.url, run_id, "without_worker")
    # Airflow has no rendered arguments of it: its link tells the SOPS task
    expect(frame.get_by_role("heading", level=1)).to_contain_text("Deploy to a hundred hosts")


def test_below_a_path_prefix(page: Page, prefixed_url: str, run_id: str) -> None:
    frame = open_tab(page, prefixed_url, run_id, "finished")
    expect(frame.get_by_role("heading", level=1)).to_contain_text("Release of 3.4.1")
    assert frame.url.startswith(f"{prefixed_url}/sops/")


@pytest.mark.parametrize("odd", ODD_RUN_IDS)
def test_odd_ids_of_runs(page: Page, site: Standalone, run_id: str, odd: str) -> None:
    """Comes last: the run is called otherwise from then on.

    Some Airflows' own pages cannot open such a run. So the tab's address is opened as they fill it in: before 3.2 as
    the id is, later encoded.
    """
    rename_run(site, odd)
    log_in(page, site.api.url)
    for spelling in (odd, quote(odd, safe="")):
        page.evaluate(FRAME, f"sops/task_instance/open#{DAG_ID}/finished/{{MAP_INDEX}}/{spelling}")
        heading = page.frame_locator("iframe#odd").get_by_role("heading", level=1)
        expect(heading).to_contain_text("Release of 3.4.1")


def rename_run(site: Standalone, name: str) -> None:
    """Call the run otherwise in Airflow's database; no Airflow would make a run of such a name of its own accord."""
    with sqlite3.connect(site.home / "airflow.db", timeout=60) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
            if {"run_id", "dag_id"} <= columns:
                db.execute(f"UPDATE {table} SET run_id = ? WHERE dag_id = ?", [name, DAG_ID])  # noqa: S608
    db.close()
