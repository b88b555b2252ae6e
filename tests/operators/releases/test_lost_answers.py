# SPDX-License-Identifier: Apache-2.0
"""Each answer of a run lost on its way, on every older SOPS: the SOPS task is started once, or not at all."""

from __future__ import annotations

import pytest

from airflow_provider_sops.testing.releases import find_release
from tests.operators.airflow_task import Triggerer
from tests.operators.conftest import World
from tests.operators.test_run_task_lost_answers import FAULTS, lose_each_answer

MODES = ("in the worker", "deferred")
pytestmark = pytest.mark.one_way_each(mode=MODES)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", FAULTS)
def test_whichever_answer_is_lost(world: World, triggerer: Triggerer, release: str, mode: str, kind: str) -> None:
    if find_release(release).has("get_task_list"):
        lose_each_answer(world, triggerer, mode, kind)
    else:  # SOPS can only count, so a retry does not know whether the task that is counted has been started
        not_knowing = ("create_task", "query_task_count")
        lose_each_answer(world, triggerer, mode, kind, not_knowing=not_knowing, lacking="get_task_list")
