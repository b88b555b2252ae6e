# SPDX-License-Identifier: Apache-2.0
"""What a reader does with the documentation: search, copy, switch, look at drawings."""

from __future__ import annotations

import ast
import re

import pytest
from playwright.sync_api import Page, expect

from tests.site.pages import BASE, LANGUAGES, address, names


def _search(page: Page, words: str) -> None:
    field = page.locator("input.md-search__input")
    field.click()
    field.fill(words)
    field.press("End")  # as an input method ends: what is only inserted has no key that the page could hear of


@pytest.mark.parametrize(
    ("language", "words", "found"),
    [
        ("zh", "终止", "zh/run.html"),
        ("zh", "标准运维", "zh/index.html"),
        ("zh", "流程模板", "zh/run.html"),
        ("zh", "输出参数", "zh/outputs.html"),
        ("en", "revoke", "operate.html"),
        ("en", "poke_interval", "wait.html"),
    ],
)
def test_search_finds_words(page: Page, url: str, language: str, words: str, found: str) -> None:
    page.goto(url + address("install", language))
    _search(page, words)
    results = page.locator(".md-search-result__list > li a.md-search-result__link")
    expect(results.first).to_be_visible()
    expect(page.locator(f'.md-search-result__list > li a[href*="/{found}"]').first).to_be_attached()
    expect(page.locator(".md-search-result mark").first).to_be_attached()


@pytest.mark.parametrize(
    ("language", "words", "first"),
    [
        ("en", "sensor", "wait.html"),
        ("en", "on_clear", "run.html"),
        ("en", "outputs", "outputs.html"),
        ("zh", "占用 worker", "zh/wait.html"),
        ("zh", "on_clear", "zh/run.html"),
        ("zh", "输出参数", "zh/outputs.html"),
        ("zh", "ApiPermissions", "zh/design.html"),  # is there in English only
    ],
)
def test_search_finds_the_best_first_and_nothing_in_the_other_language(
    page: Page, url: str, language: str, words: str, first: str
) -> None:
    page.goto(url + address("install", language))
    _search(page, words)
    results = page.locator(".md-search-result__list > li > a.md-search-result__link")
    expect(results.first).to_have_attribute("href", re.compile(f"^{re.escape(url + first)}"))
    found = [link.removeprefix(url) for link in results.evaluate_all("links => links.map(link => link.href)")]
    assert [link for link in found if link.startswith("zh/") != (language == "zh")] == []


def test_a_name_is_one_word_to_the_search(page: Page, url: str) -> None:
    page.goto(url + address("install", "en"))
    _search(page, "on_clear")
    expect(page.locator(".md-search-result mark").first).to_have_text("on_clear")
    assert set(page.locator(".md-search-result mark").all_inner_texts()) <= {"on_clear", ""}


def test_search_does_not_find_what_is_not_there(page: Page, url: str) -> None:
    page.goto(url + address("install", "zh"))
    _search(page, "饕餮")
    expect(page.locator(".md-search-result__meta")).to_contain_text("没有")
    expect(page.locator(".md-search-result__list > li")).to_have_count(0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_screen_says_and_shows_what_it_is(page: Page, url: str, language: str) -> None:
    page.goto(url + address("index", language))
    for what in ("article h1", "article img", "article .language-python pre", "article .language-bash pre"):
        box = page.locator(what).first.bounding_box()
        assert box
        assert box["y"] + box["height"] <= 800, what


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_heading_has_no_empty_line(page: Page, url: str, language: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(url + address("index", language))
    below = page.locator("article h1").evaluate(
        """heading => {
            const text = document.createRange();
            text.selectNode(heading.firstChild);
            return heading.getBoundingClientRect().bottom - text.getBoundingClientRect().bottom;
        }"""
    )
    assert below < 10


@pytest.mark.parametrize("language", LANGUAGES)
def test_where_no_page_is_both_languages_say_so(page: Page, url: str, troubles: list[str], language: str) -> None:
    missing = url + "zh/deeper/not-there.html"
    page.goto(missing)
    expect(page).to_have_title(re.compile("404.*页面不存在"))
    page.locator(f'article a[href="{BASE}{address("index", language)}"]').click()
    expect(page).to_have_url(url + address("index", language))
    expect(page.locator("html")).to_have_attribute("lang", language)
    # all that is missing is what is meant to be
    assert troubles[:1] == [f"missing: {missing}"]
    assert [trouble for trouble in troubles[1:] if "status of 404" not in trouble] == []
    troubles.clear()


def test_code_is_coloured_and_can_be_copied(page: Page, url: str) -> None:
    page.goto(url + address("wait", "en"))
    block = page.locator(".language-python.highlight").first
    colours = block.evaluate(
        "block => [...new Set([...block.querySelectorAll('span[class]')].map(span => getComputedStyle(span).color))]"
    )
    assert len(colours) >= 4
    block.locator("button[data-md-type=copy], .md-code__button, .md-clipboard").first.click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("from datetime import datetime, timedelta\n")


def test_light_and_dark(page: Page, url: str) -> None:
    page.goto(url + address("index", "zh"))
    backgrounds = []
    for label in ("使用浅色主题", "使用深色主题", "跟随系统"):
        page.get_by_title(label).click()
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark, system = backgrounds
    assert light == system == "rgb(255, 255, 255)"
    assert dark != light


@pytest.mark.parametrize(
    ("language", "shown", "tab"), [("en", "my-access-token", "Access token"), ("zh", "paas", "ESB")]
)
def test_tabs(page: Page, url: str, language: str, shown: str, tab: str) -> None:
    page.goto(url + address("connect", language))
    text = page.locator(".tabbed-block pre", has_text=shown).first
    expect(text).to_be_hidden()
    page.locator(".tabbed-labels label", has_text=tab).first.click()
    expect(text).to_be_visible()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("name", "count"), [("architecture", 1), ("design", 3)])
def test_drawings_are_drawn(page: Page, url: str, name: str, count: int, language: str) -> None:
    page.goto(url + address(name, language))
    drawings = page.locator("div.mermaid")
    expect(drawings).to_have_count(count)
    for drawing in drawings.all():
        box = drawing.bounding_box()
        assert box
        assert box["height"] > 100
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            drawn = drawing.locator("svg").evaluate("svg => svg.clientWidth / svg.viewBox.baseVal.width")
            assert drawn * 16 > 11, "its words are too small"


REFERENCE = [name for name in names() if name.startswith("reference-")]


@pytest.mark.parametrize(("language", "heading"), [("en", "Parameters:"), ("zh", "参数：")])
def test_the_reference_is_in_the_language_of_its_page(page: Page, url: str, language: str, heading: str) -> None:
    page.goto(url + address("reference-operators", language))
    assert page.get_by_text(heading, exact=True).count() > 5
    link = page.locator("article .doc-contents a.autorefs-internal", has_text="SopsException").first
    assert link.evaluate("link => link.href.split('#')[0]") == url + address("reference-exceptions", language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_says_values_and_names_nothing_private(page: Page, url: str, name: str, language: str) -> None:
    page.goto(url + address(name, language))
    assert page.get_by_text(re.compile(r":(attr|class|data|func|meth|mod):")).count() == 0
    for item in page.locator("article .doc-section-item").all_inner_texts():
        if default := re.search(r"(?:default:|默认：)\s*(.+?)\)\s*(?:–|$)", item):
            ast.literal_eval(default[1])
        assert not item.lstrip().startswith("–"), item
    for base in page.locator("article .doc-class-bases code").all():
        # those of the package are links, since they are in the reference
        inside = base.locator("[title^='airflow_provider_sops.'], [href*='#airflow_provider_sops.']")
        assert inside.count() == inside.and_(page.locator("a")).count(), base.inner_text()


@pytest.mark.parametrize("name", ["SopsTaskEndedTrigger", "WaitSpec"])
def test_the_reference_has_the_arguments_that_python_does_not_show(page: Page, url: str, name: str) -> None:
    page.goto(url + address("reference-triggers", "en"))
    parameters = page.locator(f"article .doc-class:has(> [id$='.{name}']) .doc-section-item").all_inner_texts()
    (interval,) = [item for item in parameters if item.startswith("poll_interval")]
    assert re.match(r"poll_interval \((Duration, default: 10\.0 |float)\)", " ".join(interval.split()))
