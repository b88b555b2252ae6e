# SPDX-License-Identifier: Apache-2.0
"""What to ask of SOPS: the APIs with their HTTP methods and the order of ids in the gateway's paths."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.text import read_int, repr_of

Method = Literal["GET", "POST"]
#: What the number in the ``bk_biz_id`` place is: a CMDB business or a SOPS project.
Scope = Literal["cmdb_biz", "project"]

SCOPES: tuple[str, ...] = ("cmdb_biz", "project")
#: SOPS refuses a ``get_tasks_status`` for more ids (measured on SOPS 3.34).
MAX_IDS_PER_STATUS_CALL = 50
#: The same for ``get_tasks_manual_intervention_state``.
MAX_IDS_PER_INTERVENTION_CALL = 9
#: Seconds for which SOPS answers status calls from a cache: asking faster gains nothing.
STATUS_CACHE_SECONDS = 10
#: The same for ``get_task_detail``, errors included.
DETAIL_CACHE_SECONDS = 60
#: Longest name of a task that ``create_task`` accepts; and that SOPS before 3.6.31 accepts.
MAX_TASK_NAME = 100
MAX_TASK_NAME_BEFORE = 50

_TASK = ("task_id", "bk_biz_id")
_TEMPLATE = ("template_id", "bk_biz_id")
_BIZ = ("bk_biz_id",)


@dataclass(frozen=True, slots=True)
class Api:
    """One API of SOPS: its HTTP method, its ids in the order of the gateway's path, and whether it only reads."""

    method: Method
    ids: tuple[str, ...]
    reads: bool


def _get(*ids: str) -> Api:
    return Api("GET", ids, reads=True)


def _read_by_post(*ids: str) -> Api:
    return Api("POST", ids, reads=True)


def _post(*ids: str) -> Api:
    return Api("POST", ids, reads=False)


#: Path orders as SOPS 3.34 has them. Any other API can be called too, see :func:`make_call`.
APIS: Mapping[str, Api] = {
    "claim_functionalization_task": _post(*_TASK),
    "create_and_start_task": _post(*_TEMPLATE),
    "create_clocked_task": _post(*_TEMPLATE),
    "create_periodic_task": _post(*_TEMPLATE),
    "create_task": _post(*_TEMPLATE),
    "create_template": _post(*_BIZ),
    "dispatch_plugin_query": _post(),
    "fast_create_task": _post(*_BIZ),
    "get_clocked_task_list": _get(*_BIZ),
    "get_common_template_info": _get("template_id"),
    "get_common_template_list": _get(),
    "get_functionalization_task_list": _get(),
    "get_mini_app_list": _get(*_BIZ),
    "get_periodic_task_info": _get(*_TASK),
    "get_periodic_task_list": _get(*_BIZ),
    "get_plugin_detail": _get(*_BIZ),
    "get_plugin_list": _get(*_BIZ),
    "get_task_count": _get(*_BIZ),
    "get_task_detail": _get(*_TASK),
    "get_task_list": _get(*_BIZ),
    "get_task_node_data": _get("bk_biz_id", "task_id"),
    "get_task_node_detail": _get(*_TASK),
    "get_task_node_log": _get(*_TASK),
    "get_task_operate_record": _get(*_TASK),
    "get_task_status": _get(*_TASK),
    "get_tasks_manual_intervention_state": _read_by_post(*_BIZ),
    "get_tasks_status": _read_by_post(*_BIZ),
    "get_template_info": _get(*_TEMPLATE),
    "get_template_list": _get(*_BIZ),
    "get_template_schemes": _get("bk_biz_id", "template_id"),
    "get_user_project_detail": _get(*_BIZ),
    "get_user_project_list": _get(),
    "import_common_template": _post(),
    "import_project_template": _post(*_BIZ),
    "modify_constants_for_periodic_task": _post(*_TASK),
    "modify_constants_for_task": _post(*_TASK),
    "modify_cron_for_periodic_task": _post(*_TASK),
    "node_callback": _post(*_TASK),
    "operate_node": _post("bk_biz_id", "task_id"),
    "operate_task": _post(*_TASK),
    "preview_common_task_tree": _read_by_post("bk_biz_id", "template_id"),
    "preview_task_tree": _read_by_post("bk_biz_id", "template_id"),
    "query_task_count": _read_by_post(*_BIZ),
    "register_project": _post(),
    "set_periodic_task_enabled": _post(*_TASK),
    "start_task": _post(*_TASK),
}


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
    if value == "cmdb_biz":
        return "cmdb_biz"
    if value == "project":
        return "project"
    raise SopsConfigError("scope", f"must be 'cmdb_biz' or 'project', not {value!r}")


def make_call(
    name: str,
    params: Mapping[str, Any],
    *,
    bk_biz_id: int | None = None,
    scope: Scope = "cmdb_biz",
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
    if "bk_biz_id" in api.ids and scope != "cmdb_biz":
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
    """Give a parameter that passes SOPS' caches: their key is the query, and SOPS ignores what it does not know."""
    return {"nocache": str(time.time_ns())} if yes else {}
