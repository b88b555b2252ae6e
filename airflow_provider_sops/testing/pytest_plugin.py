# SPDX-License-Identifier: Apache-2.0
"""pytest fixtures with a fake SOPS, for the tests of DAGs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_sops.core.approval.prepared_answers import PreparedAnswers
    from airflow_provider_sops.testing.fake import FakeSops

__all__ = ["fake_sops", "sops_answers", "sops_connection"]


@pytest.fixture
def fake_sops() -> Iterator[FakeSops]:
    """A fresh fake SOPS."""
    from airflow_provider_sops.testing.fake import FakeSops

    with FakeSops() as sops:
        yield sops


@pytest.fixture
def sops_answers() -> Iterator[PreparedAnswers]:
    """The answers to the questions of ``SopsApprovalOperator`` in ``dag.test()``, where nobody can be asked.

    ``sops_answers.approve()`` or ``sops_answers.reject()`` prepares one, before the DAG is run.
    """
    from airflow_provider_sops.core.approval.prepared_answers import PREPARED

    PREPARED.clear()
    yield PREPARED
    PREPARED.clear()


@pytest.fixture
def sops_connection(fake_sops: FakeSops, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Airflow connection ``sops_default`` leads to the fake.

    :return: the connection's id.
    """
    monkeypatch.setenv("AIRFLOW_CONN_SOPS_DEFAULT", json.dumps(fake_sops.connection()))
    return "sops_default"
