# SPDX-License-Identifier: Apache-2.0
"""A fake SOPS as a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_sops.testing import FakeSopsClient
from tests.live.processes import Process, wait_until


@contextmanager
def fake_process(folder: Path, *arguments: str) -> Iterator[FakeSopsClient]:
    """Run ``python -m airflow_provider_sops.testing`` and give what steers it."""
    log = folder / "fake-sops.out"
    process = Process([sys.executable, "-m", "airflow_provider_sops.testing", *arguments], env=os.environ, log=log)
    try:
        wait_until("the fake SOPS listens", lambda: "AIRFLOW_CONN" in log.read_text(), seconds=30, every=0.1)
        yield FakeSopsClient(log.read_text().splitlines()[0])
    finally:
        process.stop()


def connection_json(fake: FakeSopsClient, **extra: object) -> str:
    """The connection to a fake, as Airflow reads it from a variable."""
    connection = fake.connection()
    connection["extra"] |= extra
    return json.dumps(connection)
