# SPDX-License-Identifier: Apache-2.0
"""The code blocks of the READMEs and the docs."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_sops.testing import FakeSops

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=indent)```\s*$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    file: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def filename(self) -> str | None:
        """The name of the file that a block is, which its first line says in a comment."""
        match = re.match(r"# ([\w.]+\.(?:py|toml))\n", self.text)
        return match[1] if match else None

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, continued lines joined, without comments."""
        joined = without_comments(self.language, self.text).replace("\\\n", " ")
        return [" ".join(line.split()) for line in joined.splitlines() if line.strip()]


README = ROOT / "README.md"
INSTALL = ROOT / "docs" / "en" / "install.md"
ARCHITECTURE = ROOT / "docs" / "en" / "architecture.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DESIGN = ROOT / "docs" / "design.md"


def translated_pages() -> list[Path]:
    """Return the pages in English that are there in Chinese too."""
    return [README, *sorted((ROOT / "docs" / "en").rglob("*.md"))]


def pages() -> list[Path]:
    """Return all pages in English."""
    return [*translated_pages(), DESIGN, CONTRIBUTING]


def all_pages() -> list[Path]:
    """Return all pages in all languages."""
    both = [*pages(), *map(translation, translated_pages())]
    return [*both, ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"]


def translation(page: Path) -> Path:
    """Return the page in Chinese."""
    if page == README:
        return ROOT / "README.zh-CN.md"
    return ROOT / "docs" / "zh" / page.relative_to(ROOT / "docs" / "en")


def blocks(page: Path) -> list[Block]:
    """Return a page's blocks in their order."""
    text = page.read_text()
    return [
        Block(
            file=str(page.relative_to(ROOT)),
            line=text.count("\n", 0, match.start()) + 1,
            language=match["language"],
            text=re.sub(rf"^{match['indent']}", "", match["text"], flags=re.M),
        )
        for match in _FENCE.finditer(text)
    ]


def without_comments(language: str, text: str) -> str:
    """Return what a block does, without what it says about it."""
    if language == "python":
        return _python_without_comments(text)
    if language in ("bash", "toml"):
        text = re.sub(r"(^|[ \t])#[ !].*$", "", text, flags=re.M)
    if language == "mermaid":
        text = re.sub(r'"[^"]*"', '""', text)  # labels are in the language of the page
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def _python_without_comments(text: str) -> str:
    kept = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type != tokenize.COMMENT]
    lines = tokenize.untokenize(kept).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip())


def links(page: Path) -> list[str]:
    """Return the addresses of a page's links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", _FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def lead_to(fake: FakeSops, text: str) -> str:
    """Put a fake SOPS in the place of the made-up addresses and credentials of a block."""
    port = urlsplit(fake.url).port
    replaced = {
        "https://bkapi.example.com": fake.url,
        "https://paas.example.com": fake.url,
        '"port": 443': f'"port": {port}',
        "--conn-port 443": f"--conn-port {port}",
        "my-app-secret": fake.app_secret,
        "my-access-token": next(iter(fake.access.access_tokens)),
        "my-app": fake.app_code,
    }
    for made_up, real in replaced.items():
        text = text.replace(made_up, real)
    return text
