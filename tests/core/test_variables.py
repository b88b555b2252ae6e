# SPDX-License-Identifier: Apache-2.0
"""Variables: both spellings, and how values are filled into a text."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from airflow_provider_sops.core.variables import as_text, bare_name, render, sops_key

OUTPUTS: dict[str, Any] = {
    "IP": "10.0.0.1",
    "EXIT": "0",
    "n": 5,
    "big": 12345678901234567890123,
    "yes": True,
    "none": None,
    "list": [1, "二", {"k": "v"}],
    "empty": "",
    "中文": "值",
    "lines": "one\r\ntwo\n",
    "evil": "x'; rm -rf / #",
    "self": "${IP}",
}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("${IP}", "IP"),
        ("$<IP>", "IP"),
        ("IP", "IP"),
        (" ${ IP } ", "IP"),
        ("$< IP >", "IP"),
        ("${中文}", "中文"),
        ("$IP", "$IP"),
        ("${a.b}", "a.b"),
        ("${a?b}", "a?b"),
        ("${}", "${}"),
        ("${a}${b}", "${a}${b}"),
        ("${IP", "${IP"),
    ],
)
def test_a_bare_name(key: str, name: str) -> None:
    assert bare_name(key) == name


def test_a_key_as_sops_writes_it() -> None:
    assert {sops_key(key) for key in ("IP", "${IP}", "$<IP>")} == {"${IP}"}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("ping ${IP}", "ping 10.0.0.1"),
        ("ping $<IP>; exit $<EXIT>", "ping 10.0.0.1; exit 0"),
        ("${ IP }$< IP >", "10.0.0.110.0.0.1"),
        ("${n} ${big} ${yes} ${none}", "5 12345678901234567890123 true null"),
        ("${list}", '[1, "二", {"k": "v"}]'),
        ("[${empty}]", "[]"),
        ("${中文}", "值"),
        ("${lines}", "one\r\ntwo\n"),
        ("${self}", "${IP}"),
        ("$IP ${} $<> {IP} $(IP) ${a b} 5$", "$IP ${} $<> {IP} $(IP) ${a b} 5$"),
        ("", ""),
    ],
)
def test_values_are_filled_in(text: str, rendered: str) -> None:
    assert render(text, OUTPUTS) == rendered


def test_names_may_be_given_in_either_spelling() -> None:
    assert render("${a} ${b} ${c}", {"a": 1, "${b}": 2, "$<c>": 3}) == "1 2 3"


def test_an_unknown_variable_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(KeyError) as caught:
        render("ping $<HOST>", {"IP": 1, "EXIT": 2})
    assert caught.value.args == ("$<HOST> is not among the SOPS task's outputs; there are: EXIT, IP",)
    with pytest.raises(KeyError, match="there are: none"):
        render("ping ${HOST}", {})


def test_an_unknown_variable_may_be_left_as_it_stands() -> None:
    assert render("ping $<HOST> ${IP}", OUTPUTS, strict=False) == "ping $<HOST> 10.0.0.1"


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_quoted_value_reaches_a_shell_as_it_is(name: str) -> None:
    command = render(f"printf %s ${{{name}}}", OUTPUTS, quote=True)
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert done.stdout.decode() == as_text(OUTPUTS[name])
    assert done.stderr == b""
