# SPDX-License-Identifier: Apache-2.0
"""Which business or project of SOPS is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.core.api.calls import DEFAULT_SCOPE, Call, Scope, make_call


@dataclass(frozen=True, slots=True)
class Project:
    """Where tasks are: the business or project that calls name."""

    bk_biz_id: int
    scope: Scope = DEFAULT_SCOPE

    def call(self, name: str, /, **params: Any) -> Call:
        """Describe a call of an API in this project."""
        return make_call(name, params, bk_biz_id=self.bk_biz_id, scope=self.scope)
