# SPDX-License-Identifier: Apache-2.0
"""Template files."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.testing.templates.template_check import TemplateError
from airflow_provider_sops.testing.templates.template_file import DEFAULT_FILE, load_templates
from airflow_provider_sops.testing.templates.variables import render
from tests.testing.calls import Caller

MINE = """
[[template]]
id = 1
name = "mine"
outputs = ["VERSION", "hosts"]
flow = ["build", [["left"], ["again", ["a", ["b"]]], ["right", "inner"]], "end"]

  [[template.constant]]
  name = "VERSION"
  from = "build.version"

  [[template.constant]]
  name = "hosts"
  json = "[1, null]"

  [[template.node]]
  key = "build"
  plugin = "job_fast_execute_script"
  inputs = { job_content = "make ${hosts}" }
  seconds = 90
  outputs = { version = "2.0" }

  [[template.node]]
  key = "left"
  plugin = "sleep_timer"
  inputs = { bk_timing = 5 }

  [[template.node]]
  key = "right"
  plugin = "bk_display"

  [[template.node]]
  key = "inner"
  subprocess = "other"

  [[template.node]]
  key = "again"
  name = "other, once more"
  subprocess = "other"

  [[template.node]]
  key = "a"
  plugin = "bk_display"

  [[template.node]]
  key = "b"
  plugin = "bk_display"

  [[template.node]]
  key = "end"
  plugin = "bk_display"
  inputs = { bk_display_message = "${VERSION}" }

[[template]]
id = 2
name = "other"

  [[template.node]]
  key = "sleep"
  plugin = "sleep_timer"
  inputs = { bk_timing = 10 }
"""


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    with FakeSops(templates=file) as fake:
        task_id = fake.create_task("mine")
        fake.advance(90.5)
        assert {node.name for node in fake.task(task_id).nodes.values() if node.state == "RUNNING"} == {
            "left",
            "inner",
            "other, once more",
            "sleep",
        }
        fake.advance(10)
        task = fake.task(task_id)
        assert task.state == "FINISHED"
        assert sorted((row["key"], row["value"]) for row in task.outputs) == [
            ("${VERSION}", "2.0"),
            ("${hosts}", [1, None]),
        ]
        names = [row["name"] for row in Caller(fake)("get_template_list")["data"]]
        assert names == ["other", "mine"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('flow = ["build"', 'flow = ["bild"', "template 'mine': there is no node 'bild'"),
        ('from = "build.', 'from = "bild.', "template 'mine': there is no node 'bild'"),
        ('outputs = ["VERSION"', 'outputs = ["VERSIONS"', "template 'mine': there is no constant 'VERSIONS'"),
        ('subprocess = "other"', 'subprocess = "nothing"', "no template 'nothing'"),
        ('subprocess = "other"', 'subprocess = "mine"', "template 'mine' is its own subprocess: mine -> mine"),
        (
            'plugin = "sleep_timer"\n  inputs = { bk_timing = 10 }',
            'subprocess = "mine"',
            "is its own subprocess: (mine -> other -> mine|other -> mine -> other)$",
        ),
        ("id = 2\n", "", "template 'other': 'id' is a required property"),
        ("id = 2\n", "id = 1\n", "there are two templates with the id 1"),
        ('key = "b"\n', 'key = "a"\n', "there are two nodes of template 'mine' with the key 'a'"),
        ('plugin = "job_fast_execute_script"\n', "", "template 'mine': node 'build': 'plugin' is a required property"),
        ("seconds = 90", 'fail = "never"', "template 'mine': node 'build': fail: 'never' does not match"),
        ("seconds = 90", "second = 90", "template 'mine': node 'build': .*'second' was unexpected"),
        ("[1, null]", "[1, nil]", "template 'mine': JSONDecodeError"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE.replace(old, new))
    with pytest.raises(TemplateError, match=words):
        load_templates(file)


def test_the_default_set_keeps_to_the_schema(tmp_path: Path) -> None:
    """It is not checked each time that a fake starts."""
    copy = tmp_path / "copy.toml"
    copy.write_bytes(DEFAULT_FILE.read_bytes())
    assert [one.name for one in load_templates(copy)] == [one.name for one in load_templates()]


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        ("${n}", 5),
        ("n=${n}", "n=5"),
        ("${d['k']}-${d.k}-${l[0]}", "v-v-1"),
        ("${d['x']} ${x} ${1+1}", "${d['x']} ${x} ${1+1}"),
        ({"a": ["${n}", {"b": "${l}"}]}, {"a": [5, {"b": [1]}]}),
        (None, None),
    ],
)
def test_rendering(value: object, rendered: object) -> None:
    assert render(value, {"${n}": 5, "${d}": {"k": "v"}, "${l}": [1]}) == rendered
