# SPDX-License-Identifier: Apache-2.0
"""A fake SOPS with flows to look at, among them one of a hundred nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_sops import testing
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.fake import fake_process

HUNDRED = "A hundred nodes"


@contextmanager
def fake_with_flows(folder: Path) -> Iterator[FakeSopsClient]:
    """Run it as a process of its own."""
    own = Path(testing.__file__).parent / "templates.toml"
    templates = folder / "templates.toml"
    flows = Path(__file__).with_name("flows.toml")
    templates.write_text("\n".join([own.read_text(), flows.read_text(), _hundred_nodes()]))
    with fake_process(folder, "--templates", str(templates)) as client:
        yield client


def _hundred_nodes() -> str:
    lines = ["[[template]]", "id = 910", f'name = "{HUNDRED}"', "outputs = []"]
    flow = [[[f"{batch}-{branch}"] for branch in range(5)] for batch in range(20)]
    lines.append(f"flow = {json.dumps(flow)}")
    for batch in range(20):
        for branch in range(5):
            lines += [
                "[[template.node]]",
                f'key = "{batch}-{branch}"',
                f'name = "部署第 {batch} 批主机 10.0.{batch}.{branch}"',
            ]
            lines += ['plugin = "bk_display"', f"seconds = {30 if batch == 9 else 0.01}"]
    return "\n".join(lines)
