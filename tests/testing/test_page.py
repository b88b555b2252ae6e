# SPDX-License-Identifier: Apache-2.0
"""The page of a task, where its link leads."""

from __future__ import annotations

from html.parser import HTMLParser

from airflow_provider_sops.testing import FakeSops
from tests.testing.calls import Caller, Http


class _Text(HTMLParser):
    """Collects the text and the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _page(fake: FakeSops, task_id: int) -> _Text:
    url = Caller(fake)("get_task_detail", task_id, nonce=fake.count())["data"]["task_url"]
    assert url.startswith(fake.url)
    reply = Http(fake.url).send("GET", url)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    page = _Text()
    page.feed(reply.text)
    return page


def test_the_page_of_a_task(fake_sops: FakeSops) -> None:
    task_id = fake_sops.create_task("With a subprocess", name="<script>alert(1)</script>", constants={"IP": "a&b<c>"})
    fake_sops.advance(1)
    page = _page(fake_sops, task_id)
    text = "\n".join(page.text)
    assert "<script>alert(1)</script>" in text
    assert "script" not in page.tags
    for words in ("RUNNING", "FINISHED", "READY", "child sleep", "sleep_timer", "None so far.", "蓝鲸 (7), business 2"):
        assert words in text
    fake_sops.advance(5)
    text = "\n".join(_page(fake_sops, task_id).text)
    assert "a&b<c>" in text
    assert "${IP}" in text


def test_the_page_of_a_failed_task_says_why(fake_sops: FakeSops) -> None:
    task_id = fake_sops.create_task("Always fails")
    fake_sops.advance(1)
    assert "请求异常，详细信息: Connection refused" in _page(fake_sops, task_id).text


def test_the_page_shows_no_password(fake_sops: FakeSops) -> None:
    task_id = fake_sops.create_task("Password output")
    fake_sops.advance(1)
    text = "\n".join(_page(fake_sops, task_id).text)
    assert "fake-pass-word-1" not in text
    assert "******" in text


def test_there_is_no_such_task(fake_sops: FakeSops) -> None:
    for query in ("instance_id=1", "instance_id=x", ""):
        reply = Http(fake_sops.url).send("GET", f"{fake_sops.url}/taskflow/execute/7/?{query}")
        assert reply.status == 404
