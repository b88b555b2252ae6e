# SPDX-License-Identifier: Apache-2.0
"""Every page of the documentation, in a wide window and in that of a telephone."""

from __future__ import annotations

from itertools import pairwise
from urllib.parse import unquote, urldefrag

import pytest
from playwright.sync_api import Page, expect

from tests.site.pages import LANGUAGES, SITE, address, addresses, names

WIDTHS = (1280, 390)
#: what of an article ends right of its page; what scrolls by itself (code, drawings) is as wide as its frame
TOO_WIDE = """() => {
    const article = document.querySelector("article");
    const right = document.documentElement.clientWidth;
    const scrolls = (element) => element.closest("pre, .highlight, .mermaid, .tabbed-labels");
    return [...article.querySelectorAll("*")]
        .filter((element) => !scrolls(element) || element.matches("pre, .highlight, .mermaid, .tabbed-labels"))
        .filter((element) => element.getClientRects().length && element.getBoundingClientRect().right > right + 1)
        .map((element) => `${element.tagName} ${element.textContent.slice(0, 60)}`);
}"""
#: a text that is cut off or lies over its neighbour
CELLS_TOO_FULL = """() => [...document.querySelectorAll("article td, article th")]
    .filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent)"""
#: a word, a number, a version or a short heading of a table that does not stand in one line; a name may be broken where
#: the page says so (`<wbr>`), which makes words of its parts
TORN = r"""() => {
    const lines = (node, start, end) => {
        const range = document.createRange();
        range.setStart(node, start);
        range.setEnd(node, end);
        const boxes = [...range.getClientRects()].filter((box) => box.width);
        return new Set(boxes.map((box) => Math.round(box.bottom))).size;
    };
    const torn = [];
    for (const cell of document.querySelectorAll("article td, article th")) {
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        for (let text; (text = texts.nextNode()); ) {
            const words = /[A-Za-z0-9]+(?:\.[0-9]+)*/g;
            for (let word; (word = words.exec(text.data)); )
                if (lines(text, word.index, words.lastIndex) > 1) torn.push(`${word[0]} in: ${cell.textContent}`);
            if (cell.matches("th") && text.data.length <= 8 && lines(text, 0, text.data.length) > 1)
                torn.push(`the heading ${text.data}`);
        }
    }
    return torn;
}"""
HEADINGS = """() => [...document.querySelectorAll("article :is(h1, h2, h3, h4, h5, h6)")]
    .map((heading) => [Number(heading.tagName[1]), heading.textContent.trim()])"""
PICTURES_WITHOUT_LINK = "() => [...document.querySelectorAll('article :not(a) > img')].map((picture) => picture.src)"
LINKS = "() => [...document.querySelectorAll('a[href]')].map((link) => link.href)"
IDS = "() => [...document.querySelectorAll('[id]')].map((element) => element.id)"


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """The ids of each page, as they are read."""
    return {}


@pytest.mark.parametrize("name", addresses())
def test_a_page_fits_and_its_headings_and_links_are_right(
    page: Page, url: str, name: str, known: dict[str, set[str]]
) -> None:
    page.goto(url + name)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        _check_that_it_fits(page, width)
    _check_headings(page)
    assert page.evaluate(PICTURES_WITHOUT_LINK) == []
    ids = page.evaluate(IDS)
    assert sorted(ids) == sorted(set(ids))
    for link in dict.fromkeys(page.evaluate(LINKS)):
        _check_link(page, url, link, known)


def _check_that_it_fits(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(CELLS_TOO_FULL) == []
    assert page.evaluate(TORN) == []


def _check_headings(page: Page) -> None:
    headings = page.evaluate(HEADINGS)
    assert [level for level, _ in headings].count(1) == 1
    assert headings[0][0] == 1
    assert all(text for _, text in headings)
    skipped = [text for (before, _), (level, text) in pairwise(headings) if level > before + 1]
    assert skipped == []


def _check_link(page: Page, url: str, link: str, known: dict[str, set[str]]) -> None:
    target, anchor = urldefrag(link)
    if not target.startswith(url):
        assert target.startswith("https://"), link
        return
    file = SITE / unquote(target.removeprefix(url))
    assert file.is_file(), link
    if anchor and file.suffix == ".html":
        if target not in known:
            page.goto(target)
            known[target] = set(page.evaluate(IDS))
        assert unquote(anchor) in known[target], link


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", names())
def test_the_other_language_is_that_of_the_same_page(page: Page, url: str, name: str, language: str) -> None:
    (other,) = set(LANGUAGES) - {language}
    page.goto(url + address(name, language))
    link = page.locator(f"a.md-select__link[hreflang={other}]")
    assert urldefrag(link.evaluate("link => link.href"))[0] == url + address(name, other)
    link.dispatch_event("click")
    expect(page).to_have_url(url + address(name, other))
    expect(page.locator("html")).to_have_attribute("lang", other)
