# SPDX-License-Identifier: Apache-2.0
"""Airflow's Required Actions (human in the loop, Airflow 3.1 and newer): the one place that speaks to them.

A worker may ask; a triggerer may read the response, and give one. No Airflow lets a worker read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from airflow import __version__

from airflow_provider_sops.compat import ask_airflow

if TYPE_CHECKING:
    from airflow.sdk.definitions.param import ParamsDict

_airflow = tuple(int(part) for part in __version__.split(".")[:2])

#: The first Airflow that has them.
REQUIRED_ACTIONS_SINCE = "3.1"
HAS_REQUIRED_ACTIONS = _airflow >= (3, 1)
#: A response resumes a deferred task by itself; before, somebody has to look for it.
RESPONSE_RESUMES = _airflow >= (3, 3)


class Response(NamedTuple):
    """A response as Airflow keeps it; of a question that is open all but ``received`` is empty."""

    received: bool
    chosen_options: tuple[str, ...] = ()
    params_input: Mapping[str, Any] = {}
    #: ``{id, name}``; ``None`` where no user has given it
    user: Mapping[str, str] | None = None
    at: Any = None


def params_of(params: ParamsDict | Mapping[str, Any] | None) -> ParamsDict:
    """Make the params of a question of what an operator was given; those of its DAG are not asked for.

    Before Airflow 3.2 they cannot be told apart, as in Airflow's own operators.

    :raises ValueError: one has a name that is not free.
    """
    from airflow.sdk.definitions.param import ParamsDict

    made = params if isinstance(params, ParamsDict) else ParamsDict(dict(params or {}))
    if hasattr(ParamsDict, "filter_params_by_source"):
        made = ParamsDict.filter_params_by_source(made, source="task")
    if reserved := [name for name in made if name in ("_options", "_closed")]:
        raise ValueError(f"params: {reserved[0]!r} is not free for a param")
    return made


def form_of(params: ParamsDict) -> dict[str, Any]:
    """Return params as Airflow's page makes a form of them."""
    form = {}
    for name in params:
        param = params.get_param(name)
        form[name] = param.serialize() if hasattr(param, "serialize") else param.dump()
    return form


def defaults_of(params: ParamsDict) -> dict[str, Any]:
    """Return the default values of params; those that have none are left out."""
    form = form_of(params)
    return {name: described.get("value") for name, described in form.items() if described.get("value") is not None}


def ask(
    ti_id: Any,
    *,
    subject: str,
    body: str,
    options: tuple[str, ...],
    params: Mapping[str, Any],
    assigned_users: list[Mapping[str, str]],
) -> None:
    """Ask, from a worker. Of a question that this task instance has asked before, a response is forgotten, and the text
    stays the first one's (Airflow 3.1 to 3.3).

    :param params: see :func:`form_of`.
    """
    from airflow.sdk.execution_time.hitl import upsert_hitl_detail

    upsert_hitl_detail(
        ti_id=ti_id,
        options=list(options),
        subject=subject,
        body=body,
        params=dict(params),
        assigned_users=assigned_users or None,  # type: ignore[arg-type]
    )


async def read_response(ti_id: str) -> Response | None:
    """Read a task instance's response, from a trigger.

    :return: ``None`` where nothing was asked.
    :raises Exception: whatever it is that Airflow raises on the way.
    """
    from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail

    try:
        return _response(await ask_airflow(get_hitl_detail_content_detail, ti_id=UUID(ti_id)))
    except Exception as error:
        if _status_of(error) == 404:
            return None
        raise


async def respond(ti_id: str, option: str, params_input: Mapping[str, Any]) -> bool:
    """Give the response in nobody's name, from a trigger, unless somebody has given one.

    :return: whether it is given.
    :raises Exception: whatever it is that Airflow raises on the way.
    """
    from airflow.sdk.execution_time.hitl import update_hitl_detail_response

    try:
        await ask_airflow(
            update_hitl_detail_response, ti_id=UUID(ti_id), chosen_options=[option], params_input=dict(params_input)
        )
    except Exception as error:
        if _status_of(error) in (404, 409):
            return False
        raise
    return True


def _response(detail: Any) -> Response:
    user = detail.responded_by_user
    return Response(
        received=bool(detail.response_received),
        chosen_options=tuple(detail.chosen_options or ()),
        params_input=dict(detail.params_input or {}),
        user={"id": str(user.id), "name": str(user.name)} if user else None,
        at=detail.responded_at,
    )


def _status_of(error: Exception) -> int | None:
    """Return the HTTP status that the API server has answered with, as a triggerer's supervisor hands it on."""
    response = getattr(error, "error", None)
    detail = getattr(response, "detail", None)
    status = detail.get("status_code") if isinstance(detail, dict) else None
    return status if isinstance(status, int) else None


def is_response(event: Any) -> bool:
    """Return whether an event is a response with which Airflow itself resumes a deferred task (Airflow 3.3)."""
    return isinstance(event, Mapping) and "chosen_options" in event and "responded_at" in event
