# SPDX-License-Identifier: Apache-2.0
"""Both clients carry out the same flow: calls are answered, and reports handed out at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow, LogLine, Report, Secrets, Sleep
from airflow_provider_sops.core.http.async_client import carry_out
from airflow_provider_sops.core.http.client import SopsClient

PROJECT = Project(2)
Send = Callable[[Call], Answer]
#: Carries a flow out, with what stands for sending.
Carry = Callable[[Flow[Any], Send, Report], Any]


def synchronously(flow: Flow[Any], answer: Send, report: Report) -> Any:
    class Client(SopsClient):
        def send(self, call: Call, retry: object = None) -> Answer:
            return answer(call)

    return Client(None).run(flow, report)  # type: ignore[arg-type]


def asynchronously(flow: Flow[Any], answer: Send, report: Report) -> Any:
    async def send(call: Call) -> Answer:
        return answer(call)

    return asyncio.run(carry_out(flow, send, report))


@pytest.mark.parametrize("carry", [synchronously, asynchronously])
class TestBothClients:
    def test_a_report_is_handed_out_before_the_next_call_is_sent(self, carry: Carry) -> None:
        seen: list[object] = []
        secrets, line = Secrets(("hidden-word",)), LogLine("created")

        def flow() -> Flow[str]:
            yield secrets
            yield PROJECT.call("get_task_detail", task_id=1)
            yield line
            yield Sleep(0)
            yield PROJECT.call("get_task_status", task_id=1)
            return "done"

        def send(call: Call) -> Any:
            seen.append(call.name)

        assert carry(flow(), send, seen.append) == "done"
        assert seen == [secrets, "get_task_detail", line, "get_task_status"]

    def test_what_was_reported_before_an_error_is_not_lost(self, carry: Carry) -> None:
        seen: list[object] = []

        def flow() -> Flow[None]:
            yield LogLine("before")
            yield PROJECT.call("get_task_detail", task_id=1)

        def send(call: Call) -> Any:
            raise errors.SopsTimeoutError("no answer")

        with pytest.raises(errors.SopsTimeoutError):
            carry(flow(), send, seen.append)
        assert seen == [LogLine("before")]

    def test_an_error_that_the_flow_catches_is_no_end(self, carry: Carry) -> None:
        def flow() -> Flow[str]:
            try:
                yield PROJECT.call("get_task_detail", task_id=1)
            except errors.SopsTimeoutError:
                yield LogLine("no answer")
            return "done"

        def send(call: Call) -> Any:
            raise errors.SopsTimeoutError("no answer")

        seen: list[object] = []
        assert carry(flow(), send, seen.append) == "done"
        assert seen == [LogLine("no answer")]


def test_secrets_do_not_show_themselves() -> None:
    assert "hidden-word" not in repr(Secrets(("hidden-word",)))
