# SPDX-License-Identifier: Apache-2.0
"""A fake SOPS with a poller."""

from __future__ import annotations

import pytest

from airflow_provider_sops.testing import FakeSops
from tests.core.poll.site import Site


@pytest.fixture
def site(sops: FakeSops) -> Site:
    return Site(sops, "apigw")


@pytest.fixture
def either_site(sops: FakeSops, api_type: str) -> Site:
    return Site(sops, api_type)
