# SPDX-License-Identifier: Apache-2.0
"""What was answered, by whom and where, and how the words for it are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_sops.core.text import storable_value, text_of

#: The two options, as Airflow's own ``ApprovalOperator`` calls them.
APPROVE = "Approve"
REJECT = "Reject"
OPTIONS = (APPROVE, REJECT)
#: The key among a response's inputs by which a question that the provider has closed by itself is known.
CLOSED_KEY = "_closed"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a question."""

    option: str
    #: the values of the question's params
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: the user's name; empty when nobody has answered in time, so that ``on_timeout`` is the answer
    by: str = ""
    by_id: str = ""
    #: ISO 8601; empty where it is not known
    at: str = ""

    @property
    def approves(self) -> bool:
        """Whether the node is to be confirmed."""
        return self.option == APPROVE

    def words(self, node_name: str, task_id: int) -> str:
        """Say who has answered what, as the beginning of a sentence."""
        what = "approved" if self.approves else "rejected"
        if self.by:
            return f"{self.by} has {what} node {node_name!r} of SOPS task {task_id} in Airflow"
        timeout = "approve" if self.approves else "reject"
        return (
            f"Nobody has answered in time, so node {node_name!r} of SOPS task {task_id} is {what} "
            f"(on_timeout is {timeout!r})"
        )

    def fields(self) -> dict[str, Any]:
        """Return what a trigger's row and its event hold."""
        return {"option": self.option, "params": dict(self.params), "by": self.by, "by_id": self.by_id, "at": self.at}


def answer_of_fields(fields: Any) -> Answer:
    """Read what :meth:`Answer.fields` has given.

    :raises ValueError: it is none.
    """
    if not isinstance(fields, Mapping) or fields.get("option") not in OPTIONS:
        raise ValueError("there is no answer in it")
    params = fields.get("params")
    return Answer(
        str(fields["option"]),
        dict(params) if isinstance(params, Mapping) else {},
        text_of(fields.get("by")),
        text_of(fields.get("by_id")),
        text_of(fields.get("at")),
    )


def answer_of_response(
    chosen_options: Any, params_input: Any, user: Mapping[str, Any] | None, responded_at: Any
) -> Answer | None:
    """Read a response as Airflow keeps it.

    :param user: ``{id, name}``; ``None`` for a response that no user has given.
    :param responded_at: a datetime, or a text.
    :return: ``None`` for one with which the provider itself has closed the question, and for one that is none.
    """
    params = params_input if isinstance(params_input, Mapping) else {}
    options = list(chosen_options or [])
    if CLOSED_KEY in params or not options or options[0] not in OPTIONS:
        return None
    user = user or {}
    at = responded_at.isoformat() if hasattr(responded_at, "isoformat") else text_of(responded_at)
    name = text_of(user.get("name")) or text_of(user.get("id"))
    return Answer(str(options[0]), storable_value(dict(params)), name, text_of(user.get("id")), at)
