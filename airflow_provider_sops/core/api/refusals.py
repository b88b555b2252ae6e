# SPDX-License-Identifier: Apache-2.0
"""How SOPS itself says no, release by release: by a code, by its words alone, or in the words of IAM.

Source: measured on SOPS 3.34; for what is older, SOPS' public code by tag (before 3.5.1 there are no codes).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.api.catalogue import MAX_TASK_NAME, MAX_TASK_NAME_BEFORE
from airflow_provider_sops.core.api.sops_releases import SINCE
from airflow_provider_sops.core.errors import make_error
from airflow_provider_sops.core.redact import scrub
from airflow_provider_sops.core.remote_message import one_line
from airflow_provider_sops.core.text import LONGEST_WORD, read_int, storable

#: The code of IAM's own denial, with HTTP 200 or 499 (SOPS 3.4 to 3.30).
_IAM_DENIED = 9_900_403
#: The HTTP status of such a denial, which nothing else has that a client gets to see.
_IAM_DENIED_STATUS = 499
#: SOPS' code for an app that is not on its own list for an API; where the user may not, IAM denies in other words.
APP_NOT_LISTED = 3_540_100
#: SOPS' code, sent as a string and with HTTP 500, for a fault inside it (measured on SOPS 3.34).
SOPS_CRASHED = 50_000
#: What is said when there is no code of IAM: since SOPS 3.31; by SOPS itself, in 3.3; by ESB, of the HTTP status.
_IAM_DENIALS = re.compile(
    rf"iam authentication exception|you have no permission to operate|user\[[^\]]*\] does not have perm"
    rf"|user\[[^\]]*\] does not exist or has not logged in|status code: {_IAM_DENIED_STATUS}",
    re.I,
)
#: Words of a release without IAM.
_NEVER_LOGGED_IN, _NO_ROLE = "has not logged in", "does not have perm"
#: Permissions that are named at most.
_MOST_ACTIONS = 5
#: The first SOPS that takes names of a hundred characters.
_LONG_NAMES_SINCE = SINCE["create_task.name of 100 characters"]

_BY_CODE: Mapping[int | None, type[errors.SopsApiError]] = {
    3_540_400: errors.SopsNotFoundError,
    3_540_000: errors.SopsInvalidParameterError,
    3_546_100: errors.SopsInvalidParameterError,
    3_545_000: errors.SopsInvalidOperationError,
}
#: Of a CREATED task the engine knows nothing yet: before 3.7.12 a revoke of one was refused by one of the last two.
_INVALID_OPERATIONS = re.compile(
    r"task not started|already started|task with current_flow:\w* cannot be"
    r"|pipeline to be revoked does not exist|action failed:.*PipelineModel matching query",
    re.I,
)
_NOT_FOUND = re.compile(
    r"matching query does not exist|object not found: |(?:task|template)\[id=[^\]]*\][^:]* does not exist"
    r"|business\[[^\]]*\] does not exist|project\([^)]*\) with scope\([^)]*\) does not exist",
    re.I,
)
_INVALID_PARAMETERS = "task params is invalid"
#: What get_task_status says of a node that its engine does not know, up to SOPS 3.6.45.
_UNKNOWN_NODE = re.compile(r"node\((\w+)\) does not exist")
_CRASH_HINT = (
    "Try again later: its database or message broker may be away; if it goes on, those who run SOPS can look the "
    "request id up in its log."
)


def is_iam_denial(code: object, message: str) -> bool:
    """Return whether the user in whose name a call was made may not do this, in the words of any release."""
    return read_int(code) == _IAM_DENIED or bool(_IAM_DENIALS.search(message))


def api_error_class(code: object, message: str, task_id: int | None = None) -> type[errors.SopsApiError]:
    """Return what kind of "no" SOPS said.

    By its code, where there is one that says it: an IAM denial has the code of "anything else", a task that
    ``get_task_status`` does not know too, and SOPS before 3.5.1 has none. These are told by their text.

    :param task_id: of the call; an unknown node of its number is the task itself.
    """
    if is_iam_denial(code, message):
        return errors.SopsIamDeniedError
    by_code = _BY_CODE.get(read_int(code))
    if by_code is not None:
        return by_code
    if node := _UNKNOWN_NODE.search(message):
        return errors.SopsNotFoundError if node.group(1) == str(task_id) else errors.SopsApiError
    if _INVALID_OPERATIONS.search(message):
        return errors.SopsInvalidOperationError
    if _NOT_FOUND.search(message):
        return errors.SopsNotFoundError
    if _INVALID_PARAMETERS in message:
        return errors.SopsInvalidParameterError
    return errors.SopsApiError


def just_started(error: errors.SopsError) -> bool:
    """Return whether a task's status cannot be told as it was started this very moment.

    Up to SOPS 3.6.45 a start takes effect in its request, and for some moments the engine knows the task's nodes not
    yet. Later ones say CREATED then. Of a task that is unknown or deleted it is the task's own number that is missing.
    """
    if not isinstance(error, errors.SopsApiError) or isinstance(error, errors.SopsNotFoundError):
        return False
    return error.api == "get_task_status" and bool(_UNKNOWN_NODE.search(error.remote_message or ""))


def refusal_error(
    call: Call, status: int, body: Mapping[str, Any], *, request_id: str | None, app: str, secrets: Collection[str]
) -> errors.SopsApiError | errors.SopsGatewayError:
    """Make the error of a call that SOPS itself refused.

    :param status: HTTP status.
    :param body: what SOPS answered.
    :param app: the app in whose name it was asked, in words.
    :param secrets: are replaced in what SOPS says.
    """
    message = one_line(body.get("message"), secrets)
    code = body.get("code")
    known: dict[str, Any] = {
        "code": scrub(code, secrets) if isinstance(code, str) else read_int(code),
        "remote_message": message,
        "status": status,
        "request_id": request_id,
    }
    kind = api_error_class(code, message, call.task_id)
    if read_int(code) == APP_NOT_LISTED and kind is errors.SopsApiError:
        hint = (
            f"SOPS itself lets only some apps call {call.name!r}, whatever the gateway grants: ask those who run "
            f"SOPS to add {app} to them."
        )
        return make_error(errors.SopsApiPermissionError, call, "SOPS says no", hint=hint, **known)
    if status == 500 and kind is errors.SopsApiError:
        # no "no": SOPS' word for a fault of its own, such as a database or broker that is away
        return make_error(errors.SopsGatewayUnavailableError, call, "SOPS failed inside", hint=_CRASH_HINT, **known)
    hint = _hint(kind, call, message, body.get("permission"), secrets)
    return make_error(kind, call, "SOPS says no", hint=hint, **known)


def _hint(
    kind: type[errors.SopsApiError], call: Call, message: str, permission: object, secrets: Collection[str]
) -> str:
    """Return what to do about a "no" of SOPS.

    :param permission: what IAM says of the permissions that are missing, as SOPS hands it on.
    """
    if kind is errors.SopsNotFoundError:
        ids = ", ".join(f"{name}={value}" for name, value in call.ids)
        return (
            f"Check the ids ({ids}) and the scope (is bk_biz_id a CMDB business or a SOPS project?): what was asked "
            "for is not there, was deleted, or belongs to another business."
        )
    if kind is errors.SopsIamDeniedError:
        if _NEVER_LOGGED_IN in message:
            return "Let the user of the connection log in to SOPS' page once, and be a member of the business."
        if _NO_ROLE in message:
            return "Give the user of the connection this permission in SOPS, or a role in the business that has it."
        return f"Give the user of the connection {_permissions(message, permission, secrets)}."
    if kind is errors.SopsInvalidOperationError:
        return "Look at the task's page: its present state does not allow this."
    if kind is errors.SopsInvalidParameterError:
        return f"Check the parameters that were given to {call.name}.{_name_limits(call)}"
    if call.name == "get_task_status" and _UNKNOWN_NODE.search(message):
        return "What was asked for has not begun yet, as if it was started just now: ask again in some seconds."
    return "Those who run SOPS can look the request id up in its log."


def _name_limits(call: Call) -> str:
    """Say how long a task's name may be, where a long one was given."""
    name = call.params.get("name")
    if not isinstance(name, str) or len(name) <= MAX_TASK_NAME_BEFORE:
        return ""
    limits = f"at most {MAX_TASK_NAME} characters, {MAX_TASK_NAME_BEFORE} before SOPS {_LONG_NAMES_SINCE}"
    return f" Its name has {len(name)} characters; a task's has {limits}."


def _permissions(message: str, permission: object, secrets: Collection[str]) -> str:
    """Name the permissions that are missing, where it is said which."""
    match = re.search(r"action:(\w+)", message)
    named = (
        [match.group(1)]
        if match
        else [storable(scrub(action, secrets), LONGEST_WORD) for action in _actions(permission)]
    )
    listed = list(dict.fromkeys(named))
    shown = ", ".join(repr(action) for action in listed[:_MOST_ACTIONS]) + (
        ", …" if len(listed) > _MOST_ACTIONS else ""
    )
    what = {0: "the permission", 1: f"the permission {shown}"}.get(len(listed), f"the permissions {shown}")
    return f"{what} in BlueKing's permission center (IAM)"


def _actions(permission: object) -> list[str]:
    """Read the actions of IAM's ``permission``: of both generations, ``{actions: [{id}]}`` and ``[{action_id}]``."""
    found: list[str] = []
    for entry in _dicts(permission):
        for action in _dicts(entry.get("actions")) or [entry]:
            names = (action.get(key) for key in ("action_id", "id", "action_name", "name"))
            found += [next((name for name in names if isinstance(name, str) and name), "")]
    return [action for action in found if action]


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]
