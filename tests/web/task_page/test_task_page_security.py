# SPDX-License-Identifier: Apache-2.0
"""Who may see the page of a SOPS task, and what may run in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from typing import Any

import jwt
import pytest

from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.web import task_page_words as words
from tests import hostile
from tests.web.task_page.conftest import Site, add_instance
from tests.web.task_page.test_task_page import follow, text_of

Connect = Callable[..., None]
SCRIPTS = (
    "<script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    "\"'><svg onload=alert(1)>",
    "{{ 1000003*7 }}{% raw %}",
    "javascript:alert(1)//",
)


@pytest.fixture
def secret_task(site: Site, sops: FakeSops, connect: Connect) -> FakeSops:
    """A task instance of the DAG "theirs" with a SOPS task of a telling name, and one of the DAG "mine"."""
    connect(sops)
    for dag_id in ("theirs", "mine", "~"):  # no DAG can have the last one's id
        add_instance(dag_id, xcoms={"sops_task_id": sops.create_task(name=f"plans of {dag_id}")})
    sops.clear_requests()
    return sops


def assert_nothing(answer: Any, sops: FakeSops, *statuses: int) -> None:
    """Nothing was told, and nothing was even read."""
    assert answer.status_code in statuses, answer.text
    assert "plans of" not in answer.text
    assert not sops.requests
    assert "default-src 'none'" in answer.headers["content-security-policy"]


class TestWho:
    """Airflow's own check decides."""

    def test_each_sees_what_airflow_lets_him_see(self, site: Site, secret_task: FakeSops) -> None:
        assert_nothing(site.page("theirs", user="of-mine"), secret_task, 403)
        assert_nothing(site.page("theirs", user="without-xcoms"), secret_task, 403)
        assert_nothing(site.page("theirs", user="without-instances"), secret_task, 403)
        assert "plans of mine" in text_of(site.page("mine", user="of-mine"))
        assert "plans of theirs" in text_of(site.page("theirs", user="of-theirs"))

    def test_who_is_not_logged_in_sees_nothing(self, site: Site, secret_task: FakeSops) -> None:
        answer = site.page("theirs", user=None)
        assert_nothing(answer, secret_task, 401)
        assert words.NOT_LOGGED_IN[0] in answer.text

    @pytest.mark.parametrize("how", ["another key", "no signature", "expired", "not a token"])
    def test_forged_tokens(self, site: Site, secret_task: FakeSops, how: str) -> None:
        good = site.cookie("anyone")
        claims = jwt.decode(good, options={"verify_signature": False})
        head = jwt.get_unverified_header(good)
        if how == "another key":
            token = jwt.encode(claims, "k" * 64, algorithm=head["alg"])
        elif how == "no signature":
            token = jwt.encode(claims, "", algorithm="none")
        elif how == "expired":
            from airflow.configuration import conf

            secret = conf.get("api_auth", "jwt_secret")
            token = jwt.encode({**claims, "exp": 1}, secret, algorithm=head["alg"], headers={"kid": head.get("kid")})
        else:
            token = "of-theirs"
        cookie = {"cookie": f"_token={token}"}
        assert_nothing(site.page("theirs", user=None, headers=cookie), secret_task, 401, 403)

    @pytest.mark.parametrize(
        "path",
        [
            "page/~?run_id={run}&task_id=wait",
            "page/~?dag_id=mine&run_id={run}&task_id=wait",
            "page/%7E?run_id={run}&task_id=wait",
            "page/theirs?dag_id=mine&run_id={run}&task_id=wait",
            "page/theirs?dag_id=~&run_id={run}&task_id=wait",
            "page/mine%2F..%2Ftheirs?run_id={run}&task_id=wait",
            "page/mine/../theirs?run_id={run}&task_id=wait",
            "page/?dag_id=theirs&run_id={run}&task_id=wait",
            "page?dag_id=theirs&run_id={run}&task_id=wait",
            "page/theirs/?run_id={run}&task_id=wait",
            "page/%25?run_id={run}&task_id=wait",
            "page/mine?run_id={run}&task_id=wait&dag_id=theirs&sops_task_id={other}",
        ],
    )
    def test_other_ways_to_name_a_dag(self, site: Site, secret_task: FakeSops, path: str) -> None:
        other = min(task.id for task in secret_task.tasks)
        run = "manual__2026-11-22T13%3A03%3A25%2B00%3A00"
        answer = site.get(path.format(run=run, other=other), user="of-mine")
        assert "plans of" not in answer.text
        assert not [request for request in secret_task.requests if "detail" in request.api or "status" in request.api]

    def test_it_only_reads(self, site: Site, secret_task: FakeSops) -> None:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            headers = {"cookie": f"_token={site.cookie('anyone')}"}
            assert site.client.request(method, "/sops/task_instance/page/mine", headers=headers).status_code == 405
        assert "plans of mine" in text_of(site.page("mine"))
        assert {request.method for request in secret_task.requests} == {"GET"}

    def test_another_site_reads_nothing(self, site: Site, secret_task: FakeSops) -> None:
        for place in ("cross-site", "same-site"):
            for mode, dest in (("cors", "empty"), ("no-cors", "image"), ("navigate", "iframe"), ("no-cors", "script")):
                headers = {"sec-fetch-site": place, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
                assert_nothing(site.page("mine", headers=headers), secret_task, 403)
        answer = site.page("mine", headers={"origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
        # a person follows a link to it
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        assert "plans of mine" in text_of(site.page("mine", headers=headers))

    def test_the_door_knows_nothing(self, site: Site, secret_task: FakeSops) -> None:
        answer = site.get("open", user=None)
        assert answer.status_code == 200
        assert not secret_task.requests
        for file in ("task_page.css", "task_page.js", "open.js", "theme.js"):
            assert site.get(f"static/{file}", user=None).status_code == 200
        for file in ("../task_page.py", "..%2Ftask_page.py", "%2e%2e/templates/task.html", ""):
            assert site.get(f"static/{file}", user=None).status_code == 404


class Tags(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one."""
        self.tags.append((tag, dict(attrs)))


def assert_harmless(answer: Any) -> None:
    """A page has no script, style or address but its own."""
    assert answer.status_code == 200
    for tag, attributes in Tags(answer.text).tags:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form", "style", "foreignobject")
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("style", "srcdoc", "formaction", "xlink:href")
            if name in ("src", "href"):
                assert value
                assert value.startswith(("?", "../static/")), (tag, name, value)
        if tag == "script":
            assert str(attributes["src"]).startswith("../static/")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.text.count("<script") == 2
    assert "7000021" not in answer.text


class TestText:
    """All that SOPS says is text."""

    @pytest.mark.parametrize("text", SCRIPTS)
    def test_scripts_in_names_outputs_and_logs(self, site: Site, sops: FakeSops, connect: Connect, text: str) -> None:
        connect(sops)
        failed = sops.create_task("Always fails", constants={"IP": text})
        sops.advance(8)
        hostile.fill(sops, failed, text)
        log = f"[2026-11-22 21:05:32,000][ERROR] {text}"
        body = {"result": True, "code": 0, "data": log, "message": ""}
        sops.faults.add("get_task_node_log", **hostile.say(200, json.dumps(body)))
        done = sops.create_task(constants={"IP": text, "EXIT": text}, name=text[:90])
        sops.advance(60)
        for index, task_id in enumerate((failed, done)):
            add_instance(map_index=index, xcoms={"sops_task_id": task_id})
            answer = site.page(map_index=index)
            assert_harmless(answer)
            assert " ".join(text.split())[:20] in unescape(answer.text)
        page = site.page(map_index=0)
        links = [attributes for tag, attributes in Tags(page.text).tags if tag == "a"]
        (href,) = [str(one["href"]) for one in links if "look-failed" in str(one.get("class"))]
        chosen = follow(site, href)
        assert_harmless(chosen)
        assert "End of its log" in text_of(chosen)

    def test_characters_that_cannot_be_shown(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        task_id = sops.create_task("Always fails")
        sops.advance(8)
        hostile.fill(sops, task_id)
        add_instance(xcoms={"sops_task_id": task_id})
        answer = site.page()
        assert_harmless(answer)
        hostile.assert_storable(text_of(answer)[:20_000])

    def test_an_address_that_is_a_script_is_not_shown(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        task_id = sops.create_task()
        sops.site.url = "javascript:alert(1)//"
        add_instance(xcoms={"sops_task_id": task_id})
        answer = site.page()
        assert_harmless(answer)
        assert "javascript:" not in answer.text

    def test_scripts_in_the_address_of_the_page(self, site: Site, sops: FakeSops, connect: Connect) -> None:
        connect(sops)
        task_id = sops.create_task()
        for text in SCRIPTS:
            add_instance(run_id=text, xcoms={"sops_task_id": task_id})
            assert_harmless(site.page(run_id=text, node=text))
            assert_harmless(site.page(run_id=text, subprocess=text))
