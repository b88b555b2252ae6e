# SPDX-License-Identifier: Apache-2.0
"""A user's way through the web page, in a real browser: the connection, a run, the link, the XComs, the log.

The screenshots of it are the ones in ``docs/img/``; those of an older Airflow go to ``build/``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from airflow import __version__ as airflow_version
from playwright.sync_api import Page, expect

from airflow_provider_sops.connection import EXTRA_FIELDS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import ROOT, Standalone
from tests.live.processes import wait_until
from tests.ui.browser import TABS_WIDTH, Album, browser_page, log_in, tabs

DAG_ID = "sops_wait_and_use_outputs"
TASK_NAME = "Check host 10.0.0.8"
ALBUM = Album(ROOT / ("docs/img" if airflow_version >= "3.3" else f"build/img-{airflow_version}"))


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of the browser."""
    with browser_page() as page:
        yield page


def test_a_user_connects_and_runs_the_example(page: Page, site: Standalone, fake: FakeSopsClient) -> None:
    fill_in_the_connection(page, site, fake)
    press_test(page)
    # it runs for longer than the ten seconds from one look to the next, so that the log shows it running
    constants = {"IP": "10.0.0.8", "EXIT": "0", "seconds": "20"}
    task_id = fake.create_task("Long sleep", name=TASK_NAME, constants=constants, start=False)
    run_id = trigger_the_dag(page, site, task_id)
    wait_until("the sensor has looked", lambda: fake.count("get_task_status") > 0, seconds=300)
    fake.start_task(task_id)
    watch_it_succeed(page, site, run_id)
    run_page = f"{site.api.url}/dags/{DAG_ID}/runs/{run_id}/tasks"
    read_the_log(page, f"{run_page}/wait", task_id)
    open_the_link(page, f"{run_page}/wait", task_id)
    read_the_xcoms(page, f"{run_page}/wait")


def test_a_wait_without_a_worker_is_shown_as_any_other(page: Page, site: Standalone, fake: FakeSopsClient) -> None:
    dag_id, name = "sops_wait_without_worker", "No worker 10.0.0.8"
    connection = {**fake.connection(), "connection_id": "sops_default"}
    connection["extra"] = json.dumps(connection["extra"])
    if not site.api.ask("GET", "connections", connection_id_pattern="sops_default")["connections"]:
        site.api.ask("POST", "connections", connection)
    task_id = fake.create_task("Long sleep", name=name, constants={"IP": "10.0.0.8", "EXIT": "0", "seconds": "36000"})
    run_id = site.api.trigger(dag_id, {"sops_task_id": task_id})
    task_page = f"{site.api.url}/dags/{dag_id}/runs/{run_id}/tasks/wait"
    links = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/wait/links"
    wait_until("its link is there", lambda: fake.url in str(site.api.ask("GET", links)), seconds=300)
    log_in(page, site.api.url)
    open_the_link(page, task_page, task_id, name, ended=False, picture=False)
    fake.advance(36000)
    assert site.api.wait_for_run(dag_id, run_id, seconds=300) == "success"
    open_the_link(page, task_page, task_id, name, picture=False)
    read_the_xcoms(page, task_page)
    page.goto(task_page)
    expect(page.get_by_text(re.compile(f"SOPS task {task_id} .*is FINISHED")).first).to_be_visible()


def fill_in_the_connection(page: Page, site: Standalone, fake: FakeSopsClient) -> None:
    log_in(page, site.api.url)
    page.goto(f"{site.api.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill("sops_default")
    form.get_by_role("combobox").fill("BlueKing")
    page.get_by_role("option", name="BlueKing SOPS").click()
    form.locator("input[name=host]").fill(fake.status()["apigw_url"])
    form.locator("input[name=port]").fill(fake.url.rpartition(":")[2])
    form.locator("input[name=login]").fill("demo-app")
    form.locator("input[name=password]").fill("demo-secret")
    for label in ("SOPS address", "App code", "App secret"):
        expect(form.get_by_text(label, exact=True)).to_be_visible()
    expect(form.locator("input[name=password]")).to_have_attribute("type", "password")
    ALBUM.take(page, "connection-form", form, width=760, height=900, margin=0)

    form.get_by_text("Extra Fields", exact=True).click()
    form.locator("[name=element_bk_username]").fill("admin")
    form.locator("[name=element_bk_biz_id]").fill("2")
    # the form of an older Airflow knows no hidden extra field
    for name in ("bk_token", "access_token", "headers") if airflow_version >= "3.3" else ():
        expect(form.locator(f"[name=element_{name}]")).to_have_attribute("type", "password")
    nulls = form.get_by_text("null", exact=True)
    # before 3.2 they stand in the JSON editor, which is folded
    expect(nulls if airflow_version >= "3.2" else nulls.filter(visible=True)).to_have_count(0)
    ALBUM.take(page, "connection-form-extra", form, width=760, height=2400, margin=0)
    with page.expect_request(lambda request: request.method == "POST") as posted:
        form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("cell", name="sops_default")).to_be_visible()
    wanted = dict.fromkeys(EXTRA_FIELDS) | {"bk_username": "admin", "bk_biz_id": 2 if airflow_version >= "3.2" else "2"}
    saved = posted.value.post_data_json
    assert saved is not None
    assert json.loads(saved["extra"]) == wanted


def press_test(page: Page) -> None:
    page.set_viewport_size({"width": TABS_WIDTH, "height": 800})  # what is said is laid out once
    page.reload()
    page.get_by_placeholder("Search Connections").fill("sops_default")  # other tests have their own
    expect(page.get_by_text("1 Connection", exact=True)).to_be_visible()
    page.get_by_role("button", name="Test Connection").click()
    said = page.get_by_text("answers and the credentials are right")
    expect(said.first).to_be_visible()
    ALBUM.take(page, "connection-test", page.locator("[data-scope=toast][data-part=root]"))


def trigger_the_dag(page: Page, site: Standalone, task_id: int) -> str:
    wait_until("the example is there", lambda: site.api.ask("GET", f"dags/{DAG_ID}")["dag_id"], seconds=120)
    page.goto(f"{site.api.url}/dags/{DAG_ID}")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    field = form.locator("[name=element_sops_task_id]")
    field.fill(str(task_id))
    expect(form.get_by_text("The id of the SOPS task")).to_be_visible()
    ALBUM.take(page, "dag-trigger", form, width=760, height=900, margin=0)
    form.get_by_role("button", name="Trigger").click()
    runs = wait_until("the run is there", lambda: site.api.ask("GET", f"dags/{DAG_ID}/dagRuns")["dag_runs"], seconds=60)
    return str(runs[0]["dag_run_id"])


def watch_it_succeed(page: Page, site: Standalone, run_id: str) -> None:
    page.goto(f"{site.api.url}/dags/{DAG_ID}/runs/{run_id}")
    expect(page.get_by_text("Running", exact=True).first).to_be_visible()
    assert site.api.wait_for_run(DAG_ID, run_id, seconds=400) == "success"
    page.reload()
    # the run's and its two tasks'
    expect(page.get_by_text("Success", exact=True).filter(visible=True)).to_have_count(3)
    for task in ("wait", "use"):
        expect(page.get_by_text(task, exact=True).first).to_be_visible()
    instances = page.get_by_role("link", name="Task Instances"), page.get_by_text("SopsTaskSensor").first
    ALBUM.take(page, "dag-run", *instances, height=900, margin=4)


def read_the_log(page: Page, task_page: str, task_id: int) -> None:
    page.goto(task_page)
    for text in ("RUNNING, . of 3 nodes done", "FINISHED, 3 of 3 nodes done"):
        expect(page.get_by_text(re.compile(f"SOPS task {task_id} .*{text}")).first).to_be_visible()
    ALBUM.take(page, "task-log", tabs(page), page.get_by_text("Success criteria met").last, margin=4)


def open_the_link(
    page: Page, task_page: str, task_id: int, name: str = TASK_NAME, *, ended: bool = True, picture: bool = True
) -> None:
    page.goto(f"{task_page}/details")
    link = page.get_by_role("link", name="SOPS task")
    expect(link).to_be_visible()
    if picture:
        ALBUM.take(page, "task-link", tabs(page), page.get_by_role("row", name="Operator"), margin=4)
    with page.expect_popup() as popup:
        link.click()
    sops = popup.value
    expect(sops.get_by_role("heading", name=name)).to_be_visible()
    expect(sops.get_by_role("cell", name=str(task_id), exact=True)).to_be_visible()
    expect(sops.get_by_text("${IP}")).to_have_count(1 if ended else 0)
    if picture:
        ALBUM.take(sops, "sops-task", sops.locator("body"), width=760, height=1000)
    sops.close()


def read_the_xcoms(page: Page, task_page: str) -> None:
    page.goto(f"{task_page}/xcom")
    for key in ("IP", "${IP}", "EXIT", "${EXIT}", "return_value"):
        expect(page.get_by_role("cell", name=key, exact=True)).to_be_visible()
    expect(page.get_by_text("10.0.0.8", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Expand", exact=False).first.click()
    returned = page.get_by_role("row").filter(has=page.get_by_role("cell", name="return_value", exact=True))
    expect(returned).to_contain_text("10.0.0.8")
    # its viewer of JSON goes on asking for what another machine has
    ALBUM.take(page, "xcoms", tabs(page), page.get_by_role("table"), height=1200, margin=4, wait_for="load")
