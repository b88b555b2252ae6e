# SPDX-License-Identifier: Apache-2.0
"""The words of the page: what a task or node is doing, and what to do where nothing can be shown."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection
from datetime import datetime
from typing import Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.models import NodeStatus
from airflow_provider_sops.core.redact import scrub, scrub_values
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.text import storable, text_of

#: Longest value (characters) that is shown.
_LONGEST_VALUE = 4000

NOT_OURS = (
    "This task has no SOPS task.",
    "The tab shows the flow for tasks that wait for a SOPS task, run one or operate one: those of SopsTaskSensor, "
    "SopsRunTaskOperator, SopsGetTaskOutputsOperator, SopsOperateTaskOperator, SopsOperateNodeOperator and "
    "SopsApprovalOperator.",
)
NO_TASK_YET = (
    "There is no SOPS task yet.",
    "It appears here as soon as this task has run: look at its state and its log. A task that runs anew forgets the "
    "one before until it has created or found one.",
)
NO_CONNECTION = (
    "It is not known any more which connection this task used.",
    "Airflow keeps rendered arguments of the latest runs only ([core] num_dag_runs_to_retain_rendered_fields), and "
    "sops_conn_id of this task is a template. The log of the task names its SOPS task.",
)
NO_INSTANCE = ("Airflow has no such task instance.", "It may have been deleted, or its run. Open it from the grid.")
NO_SUCH_TASK = ("That SOPS task does not belong to this task.", "Open one from the list of the task's own page.")
NOT_LOGGED_IN = ("You are not logged in.", "Log in to Airflow, and open the tab again.")
NOT_ALLOWED = (
    "You may not see this.",
    "The tab needs the permissions to read the task instances and the XComs of this DAG. Ask who administers Airflow.",
)
BROKEN = (
    "The page could not be made.",
    "The log of Airflow's API server says why. Please report it to the authors of airflow-provider-sops.",
)
DELETED = "It was deleted in SOPS; what is shown is what SOPS still has of it."
STATUS_MISSING = (
    "The states of nodes are not shown: the app of the connection may not call get_task_status. Apply for this "
    "permission of bk-sops."
)


def sentences(error: errors.SopsError | errors.SopsConfigError, conn_id: str) -> tuple[str, str]:
    """Say why SOPS could not be read, and what to do; nothing of the connection but its id.

    :return: what happened, and what to do.
    """
    names = {"connection": f"connection {conn_id!r}", "api": "an API"}
    facts, said = "", ""
    if isinstance(error, errors.SopsError):
        names["api"] = error.api or "an API"
        known = [f"code {error.code}"] if error.code not in (None, "") else []
        known += [f"request id {error.request_id}"] if error.request_id else []
        facts = f" ({', '.join(known)})" if known else ""
        # what a gateway or an HTTP library says may name the address of SOPS
        said = f" SOPS says: {error.remote_message}" if _is_said_by_sops(error) else ""
    for kind, what, advice in _SENTENCES:
        if isinstance(error, kind):
            return f"{what.format(**names)}{facts}{said}", advice.format(**names)
    raise AssertionError(error)


def _is_said_by_sops(error: errors.SopsError) -> bool:
    return isinstance(error, errors.SopsApiError) and bool(error.remote_message)


_SENTENCES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    (
        errors.SopsNotFoundError,
        "SOPS has no such task for {connection}.",
        "It was deleted, or it is in another business or project than bk_biz_id and scope say.",
    ),
    (
        errors.SopsIamDeniedError,
        "The BlueKing user of {connection} may not view this SOPS task.",
        "Apply for the permission to view the task in BlueKing's permission center.",
    ),
    (
        errors.SopsApiPermissionError,
        "The app of {connection} may not call {api}.",
        "Apply for the API permission {api} of bk-sops in BlueKing's developer center.",
    ),
    (
        errors.SopsAuthenticationError,
        "SOPS does not accept the credentials of {connection}.",
        "Test the connection in Admin > Connections.",
    ),
    (errors.SopsIpRefusedError, "The gateway does not accept calls from Airflow's API server.", "Allow its address."),
    (errors.SopsRateLimitError, "The gateway limits how often SOPS is called.", "The page tries again by itself."),
    (errors.SopsApiNotFoundError, "This SOPS has no {api}.", "Check the address of {connection}."),
    (errors.SopsTimeoutError, "SOPS did not answer in time.", "The page tries again by itself."),
    (
        errors.SopsConnectionError,
        "Airflow's API server cannot reach the SOPS of {connection}.",
        "The page tries again by itself. Workers may reach it all the same: the API server needs a way to SOPS too.",
    ),
    (errors.SopsGatewayError, "The gateway in front of SOPS has refused a call.", "The page tries again by itself."),
    (errors.SopsApiError, "SOPS has refused to answer.", "The page tries again by itself."),
    (
        errors.SopsInvalidAnswerError,
        "What answers for {connection} does not answer as SOPS does.",
        "Test the connection in Admin > Connections.",
    ),
    (
        (errors.SopsConfigError, errors.SopsUnusableConnectionError),
        "A field of {connection} is missing or wrong.",
        "Test it in Admin > Connections.",
    ),
    (
        errors.SopsError,
        "Airflow's API server cannot use {connection}.",
        "The API server needs the connection too: one that stands in the environment of workers alone is none for it.",
    ),
)


def state_words(status: NodeStatus | None) -> tuple[str, str]:
    """Return what a node is doing: a word for its look, and one to read."""
    if status is None:
        return "none", "not started"
    if status.skip:
        return "skipped", "skipped"
    if status.error_ignored:
        return "ignored", "failed, ignored"
    return _LOOKS.get(status.state, "other"), status.state.value


#: How states look; what is not here has a look of its own.
_LOOKS = {
    TaskState.CREATED: "none",
    TaskState.READY: "ready",
    TaskState.RUNNING: "running",
    TaskState.BLOCKED: "running",
    TaskState.SUSPENDED: "suspended",
    TaskState.NODE_SUSPENDED: "suspended",
    TaskState.FAILED: "failed",
    TaskState.FINISHED: "finished",
    TaskState.REVOKED: "revoked",
    TaskState.EXPIRED: "revoked",
    TaskState.ENDED: "finished",
}


def look_of(state: TaskState) -> str:
    """Return the word for the look of a task."""
    return _LOOKS.get(state, "other")


def counts(status: NodeStatus | None) -> list[str]:
    """Return what is counted of a node: retries, and how often a loop has come to it."""
    found = []
    if status and status.retry:
        found.append(f"retry {status.retry}")
    if status and status.loop > 1:
        found.append(f"loop {status.loop}")
    return found


def time_text(moment: datetime | None) -> str:
    """Write a time as SOPS does."""
    return moment.strftime("%Y-%m-%d %H:%M:%S %z") if moment else ""


def duration_text(seconds: int) -> str:
    """Write a duration."""
    minutes, rest = divmod(max(0, seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        " ".join(f"{number} {unit}" for number, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if number)
        or "0 s"
    )


def value_text(value: Any, secrets: Collection[str]) -> str:
    """Write a value: a text as it is, anything else as JSON; secrets in it are masked."""
    value = scrub_values(value, secrets)
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    return storable(text, _LONGEST_VALUE)


def field_text(name: str, value: Any, secrets: Collection[str]) -> str:
    """Write the value of a field of a node's form, which may be a secret by its name."""
    return value_text(scrub_values({name: value}, secrets)[scrub(name, secrets)], ())


def name_text(name: object) -> str:
    """Write what SOPS calls something."""
    return text_of(name)


def fit(text: str, width: int, lines: int) -> list[str]:
    """Break a name into lines that fit into a node; what does not fit is left out, and told by an ellipsis.

    :param width: of a line, in Latin letters; a Chinese one takes two.
    """
    broken = [""]
    room = width
    for character in " ".join(text.split()):
        wide = 2 if unicodedata.east_asian_width(character) in "WF" else 0 if unicodedata.combining(character) else 1
        if wide > room:
            if len(broken) == lines:
                broken[-1] = broken[-1].rstrip()[: -1 if room < 1 else None] + "…"
                return broken
            head, space, tail = broken[-1].rpartition(" ")
            if space and character != " " and len(tail) < width // 2:
                broken[-1] = head
                broken.append(tail)
                room = width - sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in tail)
            else:
                broken.append("")
                room = width
        if character == " " and not broken[-1]:
            continue
        broken[-1] += character
        room -= wide
    return broken
