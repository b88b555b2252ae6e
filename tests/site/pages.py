# SPDX-License-Identifier: Apache-2.0
"""What pages the built documentation has."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "site"
_SITE_URL = re.search(r"^site_url: (.+)$", (ROOT / "mkdocs.yml").read_text(), re.M)
assert _SITE_URL
#: the path below which it is published
BASE = urlsplit(_SITE_URL[1]).path
LANGUAGES = ("en", "zh")


def names() -> list[str]:
    """Return the names of the pages that both languages have; those in Chinese are below ``zh/``."""
    docs = ROOT / "docs"
    own = {path.stem for language in LANGUAGES for path in (docs / language).glob("*.md")}
    return sorted(own | {path.stem for path in docs.glob("*.md")})


def address(name: str, language: str) -> str:
    """Return where a page is, from the root of the site."""
    return f"{name}.html" if language == "en" else f"{language}/{name}.html"


def addresses() -> list[str]:
    """Return the addresses of all pages."""
    return [address(name, language) for language in LANGUAGES for name in names()]
