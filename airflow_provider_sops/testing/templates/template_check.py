# SPDX-License-Identifier: Apache-2.0
"""Mistakes in a template file: its JSON schema, and names that it does not have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema


class TemplateError(ValueError):
    """The template file is wrong."""


def check_templates(content: Mapping[str, Any]) -> None:
    """Check what a template file says.

    :raises TemplateError: the first mistake, and where it is.
    """
    schema = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(content))
    if error is not None:
        raise TemplateError(f"{_place(content, error.absolute_path)}{error.message}")
    rows = content.get("template", [])
    for key in ("id", "name"):
        _check_unique(f"templates with the {key}", [row[key] for row in rows])
    for row in rows:
        _check_names(row)


def _place(content: Any, path: Iterable[str | int]) -> str:
    """The way to a mistake by the names of what it goes through, e.g. ``template 'mine': node 'build': seconds: ``."""
    words: list[str] = []
    for step in path:
        content = content[step]
        if isinstance(step, int):
            named = isinstance(content, dict) and (content.get("key") or content.get("name"))
            words[-1] += f" {named!r}" if named else f" number {step + 1}"
        else:
            words.append(step)
    return "".join(f"{word}: " for word in words)


def _check_names(row: Mapping[str, Any]) -> None:
    where = f"template {row['name']!r}"
    nodes = [node["key"] for node in row["node"]]
    constants = row.get("constant", [])
    names = [constant["name"] for constant in constants]
    _check_unique(f"nodes of {where} with the key", nodes)
    _check_unique(f"constants of {where} with the name", names)
    sources = (constant["from"].rpartition(".")[0] for constant in constants if "from" in constant)
    schemes = (scheme["nodes"] for scheme in row.get("scheme", []))
    _check_known(f"{where}: there is no node", [*_flat(row.get("flow", [])), *sources, *_flat(schemes)], nodes)
    _check_known(f"{where}: there is no constant", row.get("outputs", []), names)


def _check_unique(what: str, values: Sequence[object]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise TemplateError(f"there are two {what} {value!r}")


def _check_known(what: str, named: Iterable[str], known: Sequence[str]) -> None:
    for name in named:
        if name not in known:
            raise TemplateError(f"{what} {name!r}")


def _flat(branches: Iterable[Any]) -> Iterator[str]:
    for item in branches:
        if isinstance(item, str):
            yield item
        else:
            yield from _flat(item)
