# SPDX-License-Identifier: Apache-2.0
"""An auth manager in which users may see different things, as those of other vendors let them."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

#: What each user may not read.
DENIED = {
    "without-xcoms": DagAccessEntity.XCOM,
    "without-instances": DagAccessEntity.TASK_INSTANCE,
}


class PickyAuthManager(SimpleAuthManager):
    """A user named after a DAG may see that one alone; others all but what is denied to them."""

    def is_authorized_dag(
        self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None, **more: Any
    ) -> bool:
        name = user.username
        if name.startswith("of-"):
            # as Airflow's FAB has it: who asks for no DAG asks for any that he may see
            return details is None or details.id in (None, name.removeprefix("of-"))
        return DENIED.get(name) is None or DENIED[name] != access_entity
