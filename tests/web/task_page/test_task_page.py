# SPDX-License-Identifier: Apache-2.0
"""The page of a SOPS task, served by Airflow's own app and read from a fake SOPS over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import traceback
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.failure_report import explain
from airflow_provider_sops.operators.run_identity import tag_of_run
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.web import task_page_words as words
from tests.clients import connect_to
from tests.web.task_page.conftest import RUN_ID, START, Site, add_instance

Connect = Callable[..., None]
TESTS = Path(__file__).parent.parent.parent


def text_of(answer: Any) -> str:
    """What a person reads: one line without tags."""
    body = answer.text.partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body.partition(">")[2])).split())


def refresh(answer: Any) -> int:
    found = re.search(r'data-refresh="(\d+)"', answer.text)
    return int(found.group(1)) if found else 0


def link_to_node(answer: Any, name: str) -> str:
    """The address of a node in the picture."""
    pattern = rf'<a href="([^"]+)" class="node[^>]*aria-label="{re.escape(name)},'
    found = re.search(pattern, answer.text)
    assert found, f"no node {name!r} in {answer.text}"
    return unescape(found.group(1))


def follow(site: Site, href: str, dag_id: str = "dag") -> Any:
    return site.get(f"page/{dag_id}{href}")


class TestTask:
    """What it shows of a task."""

    def test_finished(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        task_id = sops.create_task(constants={"IP": "10.0.0.8", "EXIT": "0"}, name="检查主机 <10.0.0.8>")
        sops.advance(60)
        add_instance(xcoms={"sops_task_id": task_id})
        answer = site.page()
        assert answer.status_code == 200
        text = text_of(answer)
        for part in (
            "检查主机 <10.0.0.8>",
            "FINISHED, 3 of 3 nodes done",
            f"SOPS task {task_id}",
            "by admin",
            "${EXIT}",
        ):
            assert part in text
        assert text.count("10.0.0.8") >= 3  # its name, an input, an output
        assert refresh(answer) == 0
        assert f"instance_id={task_id}" in answer.text  # the address in SOPS

    def test_running_is_renewed_and_failed_too(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        for number, (template, word) in enumerate({"Long sleep": "RUNNING", "Always fails": "FAILED"}.items()):
            task_id = sops.create_task(template)
            sops.advance(8)
            add_instance(map_index=number, xcoms={"sops_task_id": task_id})
            answer = site.page(map_index=number)
            assert word in text_of(answer)
            assert f"look-{word.lower()}" in answer.text
            assert refresh(answer) == 10

    def test_the_reason_is_that_of_the_tasks_own_log(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        task_id = sops.create_task("Always fails")
        sops.advance(8)
        add_instance(xcoms={"sops_task_id": task_id})
        with connect_to(sops) as client:
            log = client.run(explain(task_id, Project(2), None))
        name = re.search(r"Node '([^']+)'", log)
        assert name
        text = text_of(follow(site, link_to_node(site.page(), name.group(1))))
        reason = re.search(r"failed: (.*)", log)
        assert reason
        assert reason.group(1) in text
        lines = re.findall(r"    log: (.*)", log)
        assert lines
        for line in lines:
            assert " ".join(line.split()) in text
        assert "bk_http_request" in text
        assert "retry" not in text

    def test_retries_are_counted(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        task_id = sops.create_task("Always fails")
        sops.advance(8)
        (failed,) = (node for node in sops.task(task_id).nodes.values() if node.state == "FAILED")
        sops.operate_node(task_id, failed.spec.name, "retry")
        sops.advance(8)
        add_instance(xcoms={"sops_task_id": task_id})
        answer = site.page()
        assert ">retry 1<" in answer.text
        assert "Retries 1" in text_of(follow(site, link_to_node(answer, failed.spec.name)))

    def test_passwords_are_masked(self, site: Site, make_sops: Callable[..., FakeSops], connect: Connect) -> None:
        sops = make_sops(templates=TESTS / "secret_inputs.toml")
        connect(sops)
        task_id = sops.create_task("Tells its password")
        sops.advance(8)
        add_instance(xcoms={"sops_task_id": task_id})
        answer = site.page()
        node = follow(site, link_to_node(answer, "login"))
        for one in (answer, node):
            assert "Zq7" not in one.text
        assert "${password} password ***" in text_of(answer) or "${password} ***" in text_of(answer)
        assert "cannot log in with ***" in text_of(node)

    def test_subprocesses_open(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        task_id = sops.create_task("With a subprocess")
        sops.advance(60)
        add_instance(xcoms={"sops_task_id": task_id})
        answer = site.page()
        found = re.search(r'<a href="([^"]+)" class="open"', answer.text)
        assert found
        inner = follow(site, unescape(found.group(1)))
        assert "aria-current" in inner.text.partition("crumbs")[2]
        names = re.findall(r'class="node[^>]*aria-label="([^",]+),[^"]*: FINISHED', inner.text)
        assert len(names) >= 2
        child = follow(site, link_to_node(inner, names[0]))
        assert f"Node: {names[0]}" in text_of(child)

    def test_a_task_before_its_start(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        task_id = sops.create_task(start=False)
        add_instance(xcoms={"sops_task_id": task_id})
        answer = site.page()
        assert "CREATED, 0 of 3 nodes done" in text_of(answer)
        name = re.findall(r'class="node kind-task[^>]*aria-label="([^",]+),', answer.text)[0]
        assert "This node has not started." in text_of(follow(site, link_to_node(answer, name)))


class TestWhich:
    """Which SOPS task it is."""

    @pytest.mark.parametrize("how", ["xcom", "argument", "argument as text", "returned", "address"])
    def test_the_task_is_found(self, site: Site, sops: FakeSops, connect: Connect, how: str) -> None:
        connect(sops)
        task_id = sops.create_task(name="the one")
        url = f"http://sops.example.com/taskflow/execute/7/?instance_id={task_id}"
        argument = {"argument": task_id, "argument as text": str(task_id)}.get(how)
        pushed: dict[str, dict[str, Any]] = {
            "xcom": {"sops_task_id": task_id},
            "returned": {"return_value": {"sops_task_id": task_id}},
            "address": {"sops_task_url": url},
        }
        arguments = {"sops_conn_id": "sops_default", "sops_task_id": argument}
        add_instance(arguments=arguments, xcoms=pushed.get(how, {}))
        assert "the one" in text_of(site.page())

    def test_mapped_instances_have_one_each(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        for index in range(2):
            add_instance(map_index=index, xcoms={"sops_task_id": sops.create_task(name=f"number {index}")})
        for index in range(2):
            assert f"number {index}" in text_of(site.page(map_index=index))
        assert words.NO_INSTANCE[0] in text_of(site.page(map_index=2))

    def test_earlier_tries_and_generations(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        arguments = {"sops_conn_id": "sops_default", "template_id": 1}
        names = {}
        for max_tries, generation in ((1, 1), (1, 2), (3, 1)):
            tag = tag_of_run(
                dag_id="dag", run_id=RUN_ID, run_start=START, task_id="wait", map_index=-1, max_tries=max_tries
            )
            name = tag.name(f"try of {max_tries}", generation)
            names[max_tries, generation] = (sops.create_task(name=name), name)
        other = sops.create_task(name="of another task")
        sops.advance(60)
        present = names[3, 1][0]
        add_instance(arguments=arguments, xcoms={"sops_task_id": present}, max_tries=3, earlier=(1, 1))
        answer = site.page()
        text = text_of(answer)
        assert "SOPS tasks of all tries" in text
        for task_id, name in names.values():
            assert name in text
            assert name in text_of(site.page(sops_task_id=task_id))
        assert "generation 2, before it was cleared: finished" in text
        sops.clear_requests()
        assert words.NO_SUCH_TASK[0] in text_of(site.page(sops_task_id=other))
        assert not sops.requests

    def test_a_task_without_xcoms_is_found_by_its_tag(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        tag = tag_of_run(dag_id="dag", run_id=RUN_ID, run_start=START, task_id="wait", map_index=-1, max_tries=0)
        sops.create_task(name=tag.name("title", 1))
        newest = sops.create_task(name=tag.name("title", 2))
        add_instance(arguments={"sops_conn_id": "sops_default", "template_id": 1})
        assert f"SOPS task {newest}" in text_of(site.page())

    @pytest.mark.parametrize("run_id", ["a+b", "a/b", "a#b", "a?b", "a b", "a%20b", "a%2Bb", "100%", "日报", "a&b=c"])
    def test_ids_of_runs(self, site: Site, sops: FakeSops, connect: Connect, run_id: str) -> None:
        connect(sops)
        add_instance(run_id=run_id, xcoms={"sops_task_id": sops.create_task(name="the one")})
        assert "the one" in text_of(site.page(run_id=run_id))
        # the other spelling, that only an Airflow which does not encode would have meant, comes second
        assert "the one" in text_of(site.page(run_id=["none of it", run_id]))


class TestNothingToShow:
    """A sentence that helps, never a traceback."""

    def test_a_task_of_another_kind(self, site: Site) -> None:
        add_instance(arguments={"bash_command": "true"})
        assert text_of(site.page()) == " ".join(words.NOT_OURS)

    def test_no_task_yet(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        for index, arguments in enumerate(({}, {"template_id": 1})):
            add_instance(map_index=index, arguments={"sops_conn_id": "sops_default", **arguments})
            answer = site.page(map_index=index)
            assert text_of(answer) == " ".join(words.NO_TASK_YET)
            assert refresh(answer) == 10

    def test_no_such_instance(self, site: Site) -> None:
        for query in ({}, {"map_index": "x"}, {"run_id": "a\x00b"}, {"task_id": "x" * 2000}, {"sops_task_id": "x"}):
            answer = site.page(**query)
            assert (answer.status_code, text_of(answer)) == (404, " ".join(words.NO_INSTANCE))

    def test_a_deleted_task(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        task_id = sops.create_task(name="gone")
        sops.advance(60)
        sops.delete_task(task_id)
        add_instance(xcoms={"sops_task_id": task_id})
        text = text_of(site.page())
        assert words.DELETED in text
        assert "gone" in text

    def test_a_task_that_never_was(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        add_instance(xcoms={"sops_task_id": 999999})
        assert "SOPS has no such task for connection 'sops_default'." in text_of(site.page())

    @pytest.mark.parametrize(
        ("what", "said"),
        [
            ("no connection", "Airflow's API server cannot use connection 'sops_default'."),
            ("wrong field", "A field of connection 'sops_default' is missing or wrong."),
            ("no answer", "cannot reach the SOPS of connection 'sops_default'"),
            ("wrong secret", "SOPS does not accept the credentials of connection 'sops_default'."),
            ("no permission", "The app of connection 'sops_default' may not call get_task_detail."),
            ("no view", "The BlueKing user of connection 'sops_default' may not view this SOPS task."),
            ("login page", "does not answer as SOPS does"),
            ("no business", "A field of connection 'sops_default' is missing or wrong."),
        ],
    )
    def test_sops_cannot_be_read(
        self, site: Site, make_sops: Callable[..., FakeSops], monkeypatch: pytest.MonkeyPatch, what: str, said: str
    ) -> None:
        sops = make_sops(users={"admin": [] if what == "no view" else ["*"]})
        connection = sops.connection()
        task_id = sops.create_task(name="hidden")
        if what == "wrong field":
            connection["extra"]["api_type"] = "other"
        elif what == "no answer":
            sops.stop()
        elif what == "wrong secret":
            connection["password"] = "Zq7wrong"
        elif what == "no permission":
            sops.deny("get_task_status", "get_task_detail")
        elif what == "login page":
            sops.faults.add(kind="html", times=None)
        elif what == "no business":
            del connection["extra"]["bk_biz_id"]
        if what != "no connection":
            monkeypatch.setenv("AIRFLOW_CONN_SOPS_DEFAULT", json.dumps(connection))
        add_instance(xcoms={"sops_task_id": task_id})
        answer = site.page()
        assert answer.status_code == 200
        text = text_of(answer)
        assert said in text
        assert "hidden" not in text
        assert "Traceback" not in answer.text
        # nothing of the connection
        for part in (sops.url.rpartition(":")[2], "127.0.0.1", "demo-app"):
            assert part not in answer.text

    def test_what_may_be_read_is_shown(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        add_instance(xcoms={"sops_task_id": sops.create_task("Long sleep", name="half of it")})
        sops.advance(8)
        sops.deny("get_task_status")
        text = text_of(site.page())
        assert words.STATUS_MISSING in text
        assert "half of it" in text
        sops.grant("get_task_status")
        sops.deny("get_task_detail")
        add_instance(map_index=1, xcoms={"sops_task_id": sops.create_task("Long sleep", name="other half")})
        assert "may not call get_task_detail" in text_of(site.page(map_index=1))

    def test_what_nobody_has_thought_of(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow_provider_sops.web import task_page

        def fail(*_: Any) -> None:
            raise RuntimeError("what only the log may say")

        monkeypatch.setattr(task_page, "find_task_instance", fail)
        answer = site.page()
        assert answer.status_code == 500
        assert text_of(answer) == " ".join(words.BROKEN)
        assert "what only the log may say" not in answer.text


class TestReads:
    """How often SOPS is read, and who waits for it."""

    def test_a_hundred_tabs_cost_no_more_than_one(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        add_instance(xcoms={"sops_task_id": sops.create_task("Long sleep")})
        sops.advance(8)
        sops.clear_requests()
        sops.faults.add(kind="latency", seconds=0.2, times=None)
        asyncio.run(_open_tabs(site.app, site.cookie("anyone"), 100))
        assert {request.api for request in sops.requests} == {"get_task_status", "get_task_detail"}
        assert len(sops.requests) == 2

    def test_its_own_look_ups_are_not_in_the_event_loop(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        from airflow import settings
        from sqlalchemy import event

        in_loop: list[str] = []

        def look(*_: Any) -> None:
            if asyncio._get_running_loop() is not None:
                files = [frame.filename for frame in traceback.extract_stack()]
                in_loop.extend(file for file in files if "airflow_provider_sops/web/task_page" in file)

        connect(sops)
        add_instance(xcoms={"sops_task_id": sops.create_task()})
        event.listen(settings.engine, "before_cursor_execute", look)
        try:
            assert site.page().status_code == 200
        finally:
            event.remove(settings.engine, "before_cursor_execute", look)
        assert not in_loop


async def _open_tabs(app: Any, cookie: str, count: int) -> None:
    import httpx

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        query = {"run_id": RUN_ID, "task_id": "wait"}
        headers = {"cookie": f"_token={cookie}"}
        tabs = [client.get("/sops/task_instance/page/dag", params=query, headers=headers) for _ in range(count)]
        answers = await asyncio.gather(*tabs)
    assert {answer.status_code for answer in answers} == {200}
    assert all("RUNNING" in answer.text for answer in answers)
