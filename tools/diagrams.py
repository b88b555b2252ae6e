# SPDX-License-Identifier: Apache-2.0
"""Draw which package imports which, as Mermaid diagrams in docs/design.md: `make diagrams`; `make lint` checks them.

A diagram shows the packages and modules of one package, with an arrow from each to what it imports. A package that has
packages of its own gets a diagram of its own. An arrow is left out where others lead the same way, so that what is
drawn is the order of the layers and not every import. Imports for type checking alone count too, and so do those
within functions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "design.md"
PACKAGE = "airflow_provider_sops"
BEGIN = "<!-- diagrams: written by `make diagrams` -->"
END = "<!-- diagrams end -->"

#: What each package or module of one package imports among the others.
Imports = Mapping[str, frozenset[str]]


def imports_within(graph: grimp.ImportGraph, package: str) -> Imports:
    """Read what the packages and modules of one package import of each other."""
    children = graph.find_children(package)
    owner = {module: child for child in children for module in (child, *graph.find_descendants(child))}
    found: dict[str, set[str]] = {child: set() for child in children}
    for module, child in owner.items():
        imported = {owner[other] for other in graph.find_modules_directly_imported_by(module) if other in owner}
        found[child] |= imported - {child}
    return {child: frozenset(imported) for child, imported in found.items()}


def reachable(imports: Imports, start: str) -> frozenset[str]:
    """Return everything that a module imports, directly or through others."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = imports[ahead.pop()] - found
        found |= new
        ahead += new
    return frozenset(found)


def reduced(imports: Imports) -> list[tuple[str, str]]:
    """Leave out each import that others imply; those of a cycle all stay, so that it shows."""
    reach = {module: reachable(imports, module) for module in imports}

    def is_implied(module: str, imported: str) -> bool:
        return any(
            imported in reach[between] and between not in reach[imported] and module not in reach[between]
            for between in imports[module]
        )

    return sorted(
        (module, imported)
        for module in imports
        for imported in imports[module]
        if imported in reach and not is_implied(module, imported)
    )


def diagram(graph: grimp.ImportGraph, package: str) -> Iterator[str]:
    """Return the lines of one package's diagram: packages as boxes, modules as rounded boxes."""
    imports = imports_within(graph, package)
    names = {module: module.removeprefix(f"{package}.") for module in imports}
    yield "```mermaid"
    yield "flowchart TD"
    for module in sorted(imports):
        name = names[module]
        yield f'    {name}["{name}/"]' if graph.find_children(module) else f"    {name}({name})"
    for module, imported in reduced(imports):
        yield f"    {names[module]} --> {names[imported]}"
    yield "```"


def opened(graph: grimp.ImportGraph, package: str) -> Iterator[str]:
    """Return a package, and those in it that have packages of their own."""
    yield package
    for child in sorted(graph.find_children(package)):
        if any(graph.find_children(grandchild) for grandchild in graph.find_children(child)):
            yield from opened(graph, child)


def diagrams() -> str:
    """Draw all diagrams."""
    sys.path.insert(0, str(ROOT))  # this checkout's package, whatever is installed
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    parts = []
    for package in opened(graph, PACKAGE):
        heading = f"`{package.replace('.', '/')}/`"
        parts.append("\n".join([heading, "", *diagram(graph, package)]))
    return "\n\n".join(parts)


def main() -> None:
    """Write the diagrams, or with `--check` fail where they are not those of the code."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"{PAGE.relative_to(ROOT)}: no lines {BEGIN} and {END}")
    renewed = f"{before}{BEGIN}\n\n{diagrams()}\n\n{END}{after}"
    if renewed == PAGE.read_text():
        return
    if "--check" in sys.argv[1:]:
        sys.exit(f"The diagrams in {PAGE.relative_to(ROOT)} are not those of the code. Renew them: make diagrams")
    PAGE.write_text(renewed)


if __name__ == "__main__":
    main()
