# SPDX-License-Identifier: Apache-2.0
"""What a retry finds, and what becomes of a SOPS task when the Airflow task is killed: on every older SOPS."""

import pytest

from tests.operators.test_run_task_again import TestFound, TestRetryFailedNodes, airflow  # noqa: F401
from tests.operators.test_run_task_killed import *  # noqa: F403

pytestmark = pytest.mark.one_way_each
