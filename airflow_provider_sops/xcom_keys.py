# SPDX-License-Identifier: Apache-2.0
"""Keys of the XComs that the provider pushes for itself. DAGs read them, so they do not change."""

from __future__ import annotations

#: The address of the SOPS task's page, which the link opens.
TASK_URL_KEY = "sops_task_url"
#: The id of the SOPS task that an operator runs.
TASK_ID_KEY = "sops_task_id"
#: The id of a SOPS task the deferred wait for which ended badly by itself, not by a user's hand: a trigger that stood
#: still meanwhile, and finds its Airflow task ended, then revokes nothing.
WAIT_ENDED_KEY = "sops_wait_ended"
