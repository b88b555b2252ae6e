# SPDX-License-Identifier: Apache-2.0
"""Stands for Airflow's Required Actions behind the supervisors of workers and triggerers, as its API server keeps them.

It takes the messages that Airflow's own functions send; so what is tried is all that the provider does.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass
class Detail:
    """A question, and its response."""

    subject: str
    body: str
    options: list[str]
    params: dict[str, Any]
    assigned_users: list[dict[str, str]]
    response: dict[str, Any] | None = None


@dataclass
class RequiredActions:
    """The questions by the id of their task instance."""

    details: dict[str, Detail] = field(default_factory=dict)
    #: how often a question was asked, or asked anew
    asked: int = 0
    #: called when a question was asked, before the worker goes on
    on_ask: Callable[[], object] = lambda: None
    #: called with each response of a user
    on_answer: Callable[[dict[str, Any]], object] = lambda response: None
    #: called when a triggerer has read a response, before it goes on
    on_look: Callable[[], object] = lambda: None
    away: bool = False

    def send(self, msg: Any) -> Any:
        """Take a message of a worker's or a triggerer's code."""
        from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
        from airflow.sdk.execution_time import comms

        def refuse(status: int) -> Any:
            error = comms.ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": status})
            raise AirflowRuntimeError(error)

        if self.away:
            refuse(500)
        if isinstance(msg, comms.CreateHITLDetailPayload):
            self._ask(msg)
            return None
        if isinstance(msg, comms.GetHITLDetailResponse):
            detail = self.details.get(str(msg.ti_id))
            response = self._response(detail) if detail else None
            self.on_look()
            return response or refuse(404)
        if isinstance(msg, comms.UpdateHITLDetail):
            detail = self.details.get(str(msg.ti_id)) or refuse(404)
            if detail.response is not None:
                refuse(409)
            detail.response = self._made(msg.chosen_options, msg.params_input, None)
            return self._response(detail)
        if hasattr(comms, "MaskSecret") and isinstance(msg, comms.MaskSecret):
            return None
        raise AssertionError(f"nobody sends {msg!r}")

    def _ask(self, msg: Any) -> None:
        key = str(msg.ti_id)
        self.asked += 1
        known = self.details.get(key)
        if known is None:
            users = [{"id": user.id, "name": user.name} for user in msg.assigned_users or []]
            self.details[key] = Detail(msg.subject, msg.body, list(msg.options), dict(msg.params or {}), users)
        else:
            known.response = None  # and nothing else changes
        self.on_ask()

    @staticmethod
    def _response(detail: Detail) -> Any:
        given = detail.response
        user = given and given["responded_by_user"]
        return SimpleNamespace(
            response_received=given is not None,
            responded_by_user=SimpleNamespace(**user) if user else None,
            responded_at=given and given["responded_at"],
            chosen_options=given and given["chosen_options"],
            params_input=given["params_input"] if given else {},
        )

    @staticmethod
    def _made(options: list[str], params: dict[str, Any], user: dict[str, str] | None) -> dict[str, Any]:
        return {
            "chosen_options": list(options),
            "params_input": dict(params or {}),
            "responded_at": datetime.datetime.now(datetime.UTC),
            "responded_by_user": user,
            "timedout": False,
        }

    @property
    def detail(self) -> Detail:
        """The one question."""
        (detail,) = self.details.values()
        return detail

    @property
    def closed(self) -> bool:
        """Whether the provider has closed the one question by itself."""
        return self.detail.response is not None and "_closed" in self.detail.response["params_input"]

    def answer(self, option: str, params: dict[str, Any] | None = None, user: str = "alice") -> None:
        """A user answers the one question on Airflow's page."""
        assert self.detail.response is None, "Airflow's page refuses a second answer"
        self.detail.response = self._made([option], params or {}, {"id": user, "name": user})
        self.on_answer(self.detail.response)

    def follow(self, old: str, new: str) -> None:
        """A task instance gets a new id, as at each retry and clear; its question follows."""
        if old in self.details:
            self.details[new] = self.details.pop(old)
