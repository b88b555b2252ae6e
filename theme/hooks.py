# SPDX-License-Identifier: Apache-2.0
"""What MkDocs does besides, so that the pages read well both on the site and where Markdown is shown as it is."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString
from mkdocs.plugins import CombinedEvent, event_priority
from mkdocs.utils import write_file

#: Comments mark the tabs, since those are invisible elsewhere; the text between them is that of the page.
_TAB = re.compile(r"^<!-- tab: (.+) -->$", re.M)
_TABS_END = re.compile(r"^<!-- tabs end -->$", re.M)
#: A role of Sphinx in a docstring, such as :class:`~module.Name` or :mod:`words <module>`, as it stands in the HTML.
_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>(?:([^<]*?) &lt;)?(~?)([\w.]+)(?:&gt;)?</code>")
#: where a long name may be broken: after ``_``, ``/`` and ``.``, but not before ``.py``
_END_OF_A_PART = re.compile(r"(?<=\w[_/])(?=[A-Za-z])|(?<=\w\.)(?=[A-Za-z]\w{3})")
#: what a reader who searches most likely wants, and what least
_SEARCH_BOOST = {
    **{"wait": 3, "run": 2, "operate": 2, "outputs": 2, "connect": 2},
    **{"architecture": 0.5, "design": 0.25, "reference": 0.5},
}
_BASES = re.compile(r'<p class="doc doc-class-bases">\s*Bases: (.*?)</p>', re.S)
#: an exception that a docstring names in its list
_RAISED = re.compile(r'(?<=<li class="doc-section-item field-body">)\s*<code>(Sops\w+)</code>')
#: the dash between a type, where there is none, and its description
_NO_TYPE = re.compile(r'(<li class="doc-section-item field-body">)\s*–')


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Make tabs of what stands between ``<!-- tab: title -->`` and the next tab or ``<!-- tabs end -->``."""
    opened = False
    if page.file.name == "index":
        page.meta["hide"] = ["navigation", "toc"]
    # not in the pages, whose front matter is shown where Markdown is
    page.meta["search"] = {"boost": _SEARCH_BOOST.get(page.file.name.partition("-")[0], 1)}

    def open_tab(match: re.Match[str]) -> str:
        nonlocal opened
        before, opened = "///\n\n" if opened else "", True
        return f"{before}/// tab | {match[1]}\n"

    parts = _TABS_END.split(markdown)
    for index, part in enumerate(parts[:-1]):
        opened = False
        parts[index] = _TAB.sub(open_tab, part) + "///\n"
    return "".join(parts)


class _Tables(Treeprocessor):
    """Each cell knows the heading of its column: on a narrow screen a row becomes a list (``site.css``)."""

    def run(self, root: Element) -> None:
        for table in root.iter("table"):
            labels = ["".join(heading.itertext()).strip() for heading in table.iter("th")]
            if len(labels) > 2:
                table.set("data-wide", "")
            for row in table.iter("tr"):
                for label, cell in zip(labels, row.findall("td"), strict=False):
                    cell.set("data-label", label)
            for code in table.iter("code"):
                _let_names_break(code)


class _Pictures(Treeprocessor):
    """Each picture that is not a link leads to its own file, where it is as large as it was taken."""

    def run(self, root: Element) -> None:
        for parent in [*root.iter()]:
            for index, child in enumerate(parent):
                if child.tag == "img" and parent.tag != "a":
                    link = parent[index] = Element("a", {"class": "picture", "href": child.get("src", "")})
                    link.tail, child.tail = child.tail, None
                    link.append(child)


def _let_names_break(code: Element) -> None:
    """Let a long name go on in the next line after a ``_``, ``.`` or ``/``, and nowhere else."""
    first, *others = _END_OF_A_PART.split(code.text or "")
    if not others or len(code):
        return
    code.text = AtomicString(first)
    for other in others:
        SubElement(code, "wbr").tail = AtomicString(other)


class _OurExtension(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        # after the inline Markdown (20), and before MkDocs makes addresses of paths (0)
        md.treeprocessors.register(_Tables(md), "tables_to_read", 5)
        md.treeprocessors.register(_Pictures(md), "pictures_to_open", 5)


def on_post_page(output: str, **_: Any) -> str:
    """Drop the links to the other language from the head of a page, and let it search in its own language.

    The theme's script takes those links for the roots of sites of their own, and asks each for a site map. The one site
    map names both languages of each page. The script finds the index of the search below what it has for the root.
    """
    output = re.sub(r'\s*<link rel="alternate"[^>]* hreflang=[^>]*>', "", output)
    return output.replace('"base": "..",', '"base": ".",')


def on_post_template(output: str, template_name: str, config: Any) -> str:
    """Keep the one page for all that is not there as the English site has it: another language's would replace it."""
    if template_name != "404.html":
        return output
    return on_post_page(output) if config.theme["language"] == "en" else ""


@event_priority(-200)
def on_post_build(config: Any) -> None:
    """Make an index for each language of the one that the plug-ins have written by now."""
    file = "search/search_index.json"
    index = json.loads(Path(config.site_dir, file).read_text(encoding="utf-8"))
    docs = defaultdict(list)
    for doc in index["docs"]:
        folder, _, doc["location"] = doc["location"].rpartition("/")
        docs[folder].append(doc)
    for folder in docs:
        own = json.dumps({**index, "docs": docs[folder]}, separators=(",", ":"))
        write_file(own.encode(), str(Path(config.site_dir, folder, file)))


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Make links of the roles in docstrings, and leave out what says nothing to a reader."""
    anchors = set(re.findall(r' id="([\w.]+)"', html))
    html = _BASES.sub(lambda match: _with_public_bases(match, anchors, page.file.locale), html)
    html = _NO_TYPE.sub(r"\1", html)
    html = _RAISED.sub(
        r'<autoref identifier="airflow_provider_sops.exceptions.\1" optional><code>\1</code></autoref>', html
    )
    return _ROLE.sub(lambda match: _link_of_role(match, anchors), html)


def _with_public_bases(bases: re.Match[str], anchors: set[str], locale: str) -> str:
    """Keep the base classes that are in the reference or come from elsewhere."""
    shown = []
    for base in re.findall(r"<code>.*?</code>", bases[1]):
        own = re.search(r'"(airflow_provider_sops\.[\w.]+)"', base)
        if not own or own[1] in anchors:
            shown.append(base)
    # the one word that mkdocstrings does not translate
    words = "基类：" if locale == "zh" else "Bases: "
    return f'<p class="doc doc-class-bases">{words}{", ".join(shown)}</p>' if shown else ""


def _link_of_role(role: re.Match[str], anchors: set[str]) -> str:
    words, short, path = role.groups()
    shown = words or f"<code>{path.rpartition('.')[2] if short else path}</code>"
    # a name alone is one of the same page; any other may be on another page of the reference
    found = [path] if "." in path else [anchor for anchor in anchors if anchor.endswith(f".{path}")]
    return f'<autoref identifier="{found[0]}" optional>{shown}</autoref>' if len(found) == 1 else shown


@event_priority(100)
def _tell_the_language(config: Any) -> None:
    """Let mkdocstrings write in the language that is built: it asks before the plug-in has said it."""
    language = config.plugins["i18n"].current_language or "en"
    config.theme["language"] = language
    # the handler, and with it what it has collected, is made anew for each language
    catalogue = Path(config.docs_dir, language, "docstrings.toml")
    translated = [{"theme/docstrings.py": {"catalogue": str(catalogue)}}] if catalogue.is_file() else []
    options = config.plugins["mkdocstrings"].config.handlers["python"]["options"]
    options["extensions"] = ["theme/signatures.py", *translated]


@event_priority(-200)
def _set_extensions(config: Any) -> None:
    """Add our extension; of those that each language adds anew, keep the last, which knows its language."""
    extensions = [*config.markdown_extensions, _OurExtension()]
    last = {extension if isinstance(extension, str) else type(extension): extension for extension in extensions}
    config.markdown_extensions[:] = list(last.values())


on_config = CombinedEvent(_tell_the_language, _set_extensions)
