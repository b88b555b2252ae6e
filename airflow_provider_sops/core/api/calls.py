# SPDX-License-Identifier: Apache-2.0
"""What to ask of SOPS: one call of an API, with its ids and parameters."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from airflow_provider_sops.core.api.catalogue import APIS, Api, Method
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.text import read_int, repr_of

#: What the number in ``bk_biz_id`` is: a CMDB business or a SOPS project.
Scope = Literal["cmdb_biz", "project"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
#: SOPS takes it for granted where a call names none.
DEFAULT_SCOPE: Scope = "cmdb_biz"


@dataclass(frozen=True, slots=True)
class Call:
    """One call, before it is known which endpoint it goes to."""

    name: str
    method: Method
    #: ids in the order of the gateway's path
    ids: tuple[tuple[str, int], ...]
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: only reads, so that it may be repeated
    reads: bool = False
    #: values among the parameters that must not be shown, should a refusal quote them
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def task_id(self) -> int | None:
        """The SOPS task this call is about, if it is about one."""
        return dict(self.ids).get("task_id")


def parse_id(name: str, value: object) -> int:
    """Read an id as a positive int; SOPS answers a redirect for anything else.

    :param name: the id's name, for the error.
    :param value: an int, or a string of digits.
    :raises SopsConfigError: for anything else, ``bool`` and ``None`` included, and for what no SOPS can hold.
    """
    number = read_int(value)
    if number is not None and number > 0:
        return number
    raise SopsConfigError(name, f"must be a positive whole number, not {repr_of(value)}")


def parse_scope(value: str) -> Scope:
    """Check a scope: to SOPS any word but ``cmdb_biz``, even an empty one, means project.

    :raises SopsConfigError: if it is neither ``cmdb_biz`` nor ``project``.
    """
    for scope in SCOPES:
        if value == scope:
            return scope
    raise SopsConfigError("scope", f"must be 'cmdb_biz' or 'project', not {value!r}")


def make_call(
    name: str,
    params: Mapping[str, Any],
    *,
    bk_biz_id: int | None = None,
    scope: Scope = DEFAULT_SCOPE,
    http_method: Method | None = None,
    ids: Sequence[str] | None = None,
) -> Call:
    """Describe a call of any API of SOPS.

    :param name: the API's name.
    :param params: its parameters, the ids among them. ``None`` values are left out.
    :param bk_biz_id: business (or project, see ``scope``) to ask when ``params`` names none.
    :param scope: sent when the API takes a business and it is not the default.
    :param http_method: for an API not in :data:`APIS`; by default GET for ``get_…`` and ``query_…``, else POST.
    :param ids: for an API not in :data:`APIS`: which parameters stand in the gateway's path, in order; by default
        ``task_id`` or ``template_id`` where given, then ``bk_biz_id``.
    :raises SopsConfigError: when an id is missing or not a number.
    """
    if not name.isidentifier():
        raise SopsConfigError("name", f"{name!r} is not the name of an API")
    given = {key: value for key, value in params.items() if value is not None}
    possible_ids = given if bk_biz_id is None else {"bk_biz_id": bk_biz_id, **given}
    api = APIS.get(name)
    if api is None or http_method or ids is not None:
        api = _unlisted_api(name, possible_ids, http_method, ids)
    path_ids = []
    for id_name in api.ids:
        if id_name not in possible_ids:
            problem = f"{name} needs it"
            if id_name == "bk_biz_id":
                problem += ": give it to the call or as the connection's default business"
            raise SopsConfigError(id_name, problem)
        path_ids.append((id_name, parse_id(id_name, possible_ids[id_name])))
        given.pop(id_name, None)
    if "bk_biz_id" in api.ids and scope != DEFAULT_SCOPE:
        given.setdefault("scope", scope)
    return Call(name=name, method=api.method, ids=tuple(path_ids), params=given, reads=api.reads)


def _unlisted_api(name: str, given: Mapping[str, Any], http_method: Method | None, ids: Sequence[str] | None) -> Api:
    listed = APIS.get(name)
    looks_like_reading = name.startswith(("get_", "query_"))
    method: Method = http_method or (listed.method if listed else ("GET" if looks_like_reading else "POST"))
    if ids is None:
        ids = listed.ids if listed else [key for key in ("task_id", "template_id", "bk_biz_id") if key in given]
    return Api(method, tuple(ids), reads=listed.reads if listed else method == "GET")


def nocache(yes: bool = True) -> dict[str, str]:
    """Return a parameter that passes SOPS' caches: their key is the query, and SOPS ignores what it does not know."""
    return {"nocache": str(time.time_ns())} if yes else {}
