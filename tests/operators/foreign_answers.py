# SPDX-License-Identifier: Apache-2.0
"""Answers that are not SOPS', or not of its API, to what changes something: it may have been done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_sops.testing import FakeSops, Request
from tests.verdict_cases import crash

#: Arguments of faults, by what answers.
FOREIGN: dict[str, dict[str, Any]] = {
    "a login page": {"kind": "html"},
    "nobody there": {"kind": "html", "status": 404},
    "a redirect": {"kind": "redirect"},
    "half a JSON": {"kind": "not_json"},
    "a crash": {"kind": "function", "function": crash},
}


def answer_instead(fake: FakeSops, api: str, fault: dict[str, Any], act: Callable[[Request], object]) -> None:
    """Let the next call of an API take effect, and something else than SOPS answer it.

    :param act: the effect.
    """

    def take_effect(when: str, request: Request) -> None:
        if (when, request.api) == ("before", api):
            fake.on_request = None
            if fault["kind"] != "not_json":  # of which the fake does the whole
                act(request)

    fake.on_request = take_effect
    fake.faults.add(api, **fault)
