# SPDX-License-Identifier: Apache-2.0
"""A good answer of SOPS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.errors import make_error


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer of SOPS.

    ``data`` is its ``data`` field (``None`` where there is none), ``body`` the whole JSON object, ``request_id`` the id
    under which SOPS or the gateway logged the request, ``answered_at`` when it answered by its own clock (seconds since
    the epoch; ``None`` where the reply has no date).
    """

    call: Call
    data: Any
    body: Mapping[str, Any]
    request_id: str | None
    answered_at: float | None = None

    def wrong(self, what: str) -> errors.SopsInvalidAnswerError:
        """Make the error that says that this answer is not one of SOPS'."""
        return make_error(
            errors.SopsInvalidAnswerError,
            self.call,
            f"the answer is not one of SOPS': {what}",
            request_id=self.request_id,
            hint="If the SOPS site was upgraded lately, check that this provider supports its version.",
        )
