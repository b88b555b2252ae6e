# SPDX-License-Identifier: Apache-2.0
"""The webhook of a template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: Events of webhooks and SOPS' names for them.
WEBHOOK_EVENTS = {"task_finished": "任务完成", "task_failed": "任务失败"}


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where SOPS posts what happens to the tasks of a template; names are SOPS' own.

    :param endpoint: address that is posted to.
    :param events: of :data:`WEBHOOK_EVENTS`; ``"*"``: all.
    :param headers: headers of one's own.
    :param authorization: ``{"type": "bearer", "token": …}`` or ``{"type": "basic", "username": …, "password": …}``;
        empty: none.
    :param retry_times: how often a post that has failed is sent again.
    :param interval: seconds from a failure to the next try, on the fake's clock.
    :param timeout: seconds that the receiver has for its answer, by the wall clock.
    :raises ValueError: one of them cannot be.
    """

    endpoint: str
    events: Sequence[str] = ("*",)
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: Mapping[str, str] = field(default_factory=dict)
    retry_times: int = 2
    interval: float = 2
    timeout: float = 5

    def __post_init__(self) -> None:
        if not re.match(r"https?://\w", self.endpoint):
            raise ValueError(f"a webhook's endpoint is an http address, not {self.endpoint!r}")
        if isinstance(self.events, str) or not set(self.events) <= {"*", *WEBHOOK_EVENTS}:
            raise ValueError(f"a webhook has the events {', '.join(WEBHOOK_EVENTS)}, not {self.events!r}")
        fields = {"": set(), "bearer": {"token"}, "basic": {"username", "password"}}
        kind = self.authorization.get("type", "")
        if kind not in fields or set(self.authorization) - {"type"} != fields[kind]:
            needed = "; ".join(f"{name}: {', '.join(sorted(keys))}" for name, keys in fields.items() if name)
            raise ValueError(f"a webhook's authorization has a type and what it needs ({needed})")

    def wants(self, event: str) -> bool:
        """Whether an event is posted."""
        return "*" in self.events or event in self.events
