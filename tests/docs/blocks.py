# SPDX-License-Identifier: Apache-2.0
"""The code blocks of the READMEs and the docs."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

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
    def commands(self) -> list[str]:
        """The commands of a shell block, continued lines joined, without comments."""
        joined = without_comments(self.language, self.text).replace("\\\n", " ")
        return [" ".join(line.split()) for line in joined.splitlines() if line.strip()]


def pages() -> list[Path]:
    """Give the pages in English."""
    return [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if "zh" not in page.parts)]


def translation(page: Path) -> Path:
    """Give the page in Chinese."""
    if page.parent == ROOT:
        return page.with_name(f"{page.stem}.zh-CN.md")
    return ROOT / "docs" / "zh" / page.relative_to(ROOT / "docs" / "en")


def blocks(page: Path) -> list[Block]:
    """Give a page's blocks in their order."""
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
    """Give what a block does, without what it says about it."""
    if language == "python":
        return _python_without_comments(text)
    if language in ("bash", "toml"):
        text = re.sub(r"(^|[ \t])#[ !].*$", "", text, flags=re.M)
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def _python_without_comments(text: str) -> str:
    kept = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type != tokenize.COMMENT]
    lines = tokenize.untokenize(kept).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip())
