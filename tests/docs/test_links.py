# SPDX-License-Identifier: Apache-2.0
"""Links of the pages: those inside the project lead somewhere, those out of it are well formed and go to known places.

No other machine is asked.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.blocks import README, ROOT, all_pages, anchors, links, translated_pages, translation

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCE = PYPROJECT["project"]["urls"]["Source"]
SITE = PYPROJECT["project"]["urls"]["Documentation"]
#: all that the pages may link to outside the project's own repository
KNOWN = (
    SITE,
    f"{SITE}zh/",
    "https://github.com/TencentBlueKing/bk-sops",
    "https://semver.org",
    "https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/asset-scheduling.html",
    "https://github.com/apache/airflow/issues/54659",
    "https://github.com/apache/airflow/issues/56050",
)
#: what a path in the project's own repository may begin with, before the name of a file or folder
IN_MAIN = re.compile(r"/(?P<kind>tree|blob|raw)/main/(?P<path>[^?#]+)")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _is_external(link: str) -> bool:
    return ":" in link.partition("#")[0]


def _external() -> list[tuple[str, str]]:
    """Return the external links, each with where it stands."""
    found = [(_name(page), link) for page in all_pages() for link in links(page) if _is_external(link)]
    found += [("pyproject.toml", url) for url in PYPROJECT["project"]["urls"].values()]
    repo_url = re.search(r"^repo_url: (.+)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert repo_url
    footer = re.findall(r'href="([^"]+)"', (ROOT / "mkdocs.yml").read_text())
    found += [("mkdocs.yml", link) for link in footer]
    return list(dict.fromkeys([*found, ("mkdocs.yml", repo_url[1])]))


def _leads_somewhere(target: Path, anchor: str) -> bool:
    return target.exists() and (not anchor or unquote(anchor) in anchors(target))


@pytest.mark.parametrize("page", all_pages(), ids=_name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if _is_external(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        assert _leads_somewhere(target, anchor), link


@pytest.mark.parametrize(("place", "link"), _external())
def test_an_external_link_is_well_formed_and_known(place: str, link: str) -> None:
    parts = urlsplit(link)
    assert parts.scheme == "https"
    assert parts.netloc == parts.hostname  # no port, no user
    assert not parts.query
    if not (link == SOURCE or link.startswith((f"{SOURCE}/", f"{SOURCE}#"))):
        assert link in KNOWN
        return
    rest = link.removeprefix(SOURCE)
    if rest in ("", "/issues", "/security/advisories/new"):
        return
    match = IN_MAIN.match(rest)
    assert match, "a page of the repository that is not known"
    target = ROOT / unquote(match["path"])
    assert target.is_dir() if match["kind"] == "tree" else target.is_file()
    assert _leads_somewhere(target, parts.fragment)


@pytest.mark.parametrize("page", [README, translation(README)], ids=_name)
def test_a_readme_links_absolutely_as_it_is_read_elsewhere_too(page: Path) -> None:
    # PyPI shows it, where a path leads nowhere, and a `blob` is a page and no picture
    assert [link for link in links(page) if not _is_external(link)] == []
    assert _pictures(page) == [picture for picture in _pictures(page) if picture.startswith(f"{SOURCE}/raw/main/")]


@pytest.mark.parametrize("page", translated_pages(), ids=_name)
def test_both_languages_show_the_same_pictures(page: Path) -> None:
    # a drawing with words has one for each language
    other = [picture.replace("-zh.", "-en.") for picture in _pictures(translation(page))]
    assert _pictures(page) == other


def test_every_picture_is_shown() -> None:
    shown = {Path(picture).name for page in all_pages() for picture in _pictures(page)}
    assert shown == {picture.name for picture in (ROOT / "docs" / "img").iterdir()}


def _pictures(page: Path) -> list[str]:
    return re.findall(r"!\[[^]]*\]\(([^)\s]+)\)", page.read_text())


def test_the_sdist_holds_what_the_pages_are_built_from() -> None:
    included = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"/docs", "/mkdocs.yml", "/theme", "/Makefile", "/tests"} <= set(included)


def test_the_site_is_where_the_package_says() -> None:
    (site_url,) = re.findall(r"^site_url: (.+)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert site_url == SITE
