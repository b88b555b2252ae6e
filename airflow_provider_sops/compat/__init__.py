# SPDX-License-Identifier: Apache-2.0
"""What differs between the supported Airflows and is not in common-compat: all such branches stand here."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from airflow import __version__
from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout, conf, get_current_context

from airflow_provider_sops.kill_reasons import DELETED, NO_STATUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

try:  # Airflow 3.2 and newer
    from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout
except ImportError:
    from airflow.exceptions import TaskDeferralError  # type: ignore[no-redef]

    try:  # Airflow 3.0 and 3.1
        from airflow.exceptions import TaskDeferralTimeout  # type: ignore[no-redef]
    except ImportError:
        TaskDeferralTimeout = None  # type: ignore[assignment, misc]

__all__ = [
    "ASSETS_SINCE",
    "CLEARING_RAISES_MAX_TRIES",
    "END_FROM_TRIGGER_SINCE",
    "HAS_ASSETS",
    "HAS_LOOPS",
    "HAS_PARTITION_KEYS",
    "HAS_PLUGIN_TABS",
    "KILLS_REACH_TRIGGERS",
    "NONE_IS_PUSHED",
    "START_FROM_TRIGGER_SINCE",
    "TRIGGERS_PUSH_XCOMS",
    "TRIGGERS_START_TASKS",
    "TaskDeferralError",
    "ask_airflow",
    "asset_outlets",
    "asset_stores",
    "base_url",
    "clears_store_on_success",
    "delete_xcom",
    "end_event",
    "expanded_arguments",
    "first_reschedule_date",
    "gauge",
    "has_listeners",
    "is_mapped_over",
    "is_out_of_time",
    "is_trigger_timeout",
    "is_unmapped",
    "link_key",
    "look_up_connection",
    "loop_iteration",
    "push_from_trigger",
    "read_variable",
    "resumed_context",
    "state_in_airflow",
    "through_xcom",
    "xcom_in_airflow",
]

P = ParamSpec("P")
T = TypeVar("T")

_airflow = tuple(int(part) for part in __version__.split(".")[:2])
#: Airflow 3.0 refuses to store an XCom that is ``None``; one that is not there is read as ``None``.
NONE_IS_PUSHED = _airflow != (3, 0)
#: Before Airflow 3.3, nothing runs when a user kills a deferred task.
KILLS_REACH_TRIGGERS = _airflow >= (3, 3)
#: Before Airflow 3.1, a task that is cleared while it runs keeps its ``max_tries``, like one that is retried.
CLEARING_RAISES_MAX_TRIES = _airflow >= (3, 1)

#: The first Airflow whose triggers can push XComs; Airflow 2 has no message for it.
END_FROM_TRIGGER_SINCE = "3.0"
TRIGGERS_PUSH_XCOMS = _airflow >= tuple(int(part) for part in END_FROM_TRIGGER_SINCE.split("."))

#: The first Airflow that renders the fields of a task that starts in the triggerer. 2.11 and 3.0 start it with what the
#: DAG's author wrote, 3.1 and 3.2 in a worker.
START_FROM_TRIGGER_SINCE = "3.3"
TRIGGERS_START_TASKS = _airflow >= tuple(int(part) for part in START_FROM_TRIGGER_SINCE.split("."))

#: Before Airflow 3.1, a plugin can add no tab to the page of a task instance.
HAS_PLUGIN_TABS = _airflow >= (3, 1)
#: The first Airflow with assets, watchers, and plugins' own apps in its API server.
ASSETS_SINCE = "3.0"
HAS_ASSETS = _airflow >= (3, 0)
#: Tasks can be in loops, and each try of a task has an id and XComs of its own.
HAS_LOOPS = _airflow >= (3, 4)
#: Events of assets can have partition keys.
HAS_PARTITION_KEYS = _airflow >= (3, 2)

#: What asks Airflow for a trigger just now: an event loop itself keeps no task alive.
_asking: set[asyncio.Task[Any]] = set()


async def _shielded(ask: Coroutine[Any, Any, T]) -> T:
    task = asyncio.get_running_loop().create_task(ask)
    _asking.add(task)
    task.add_done_callback(_asking.discard)
    return await asyncio.shield(task)


async def ask_airflow(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask Airflow something from a trigger: the one way for all that may go to the triggerer's supervisor.

    States, XComs, variables, connections and the masking of secrets travel over one channel, which belongs to the
    triggerer's own event loop. On Airflow 3.0 and 3.1 two things break it, which ends the triggerer with all its
    triggers: a question from a thread that asgiref does not know (``asyncio.to_thread``), and one that is cancelled
    while its answer is on the way. So what asks is shielded: who is cancelled goes, and the answer is still read.

    :param ask: a function that blocks.
    :return: what it returns.
    """
    from asgiref.sync import sync_to_async

    return await _shielded(sync_to_async(ask)(*args, **kwargs))


async def look_up_connection(conn_id: str) -> tuple[Connection, Mapping[str, Any]]:
    """Look a connection up from a trigger, see :func:`ask_airflow`.

    :return: the connection, and its extra as a dict.
    """
    from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

    async def look_up() -> tuple[Connection, Mapping[str, Any]]:
        connection = await get_async_connection(conn_id)
        return connection, await get_async_extra_dejson(connection)

    return await _shielded(look_up())


def base_url() -> str:
    """Return the address of Airflow's web page, as far as it was set; two Airflows do not share one."""
    url: str | None = conf.get("api" if _airflow >= (3, 0) else "webserver", "base_url", fallback=None)
    return url or ""


def link_key(link: Any) -> str:
    """Return the XCom key under which Airflow 3 pushes an operator's link; Airflow 2 pushes none."""
    return str(getattr(link, "xcom_key", ""))


def resumed_context() -> Any:
    """Return the context of the task that runs here, if it is resumed after a deferral; else ``None``.

    When ``execution_timeout`` has passed while a task was deferred, Airflow 2 calls ``on_kill`` of a new operator, and
    never resumes it.
    """
    try:
        context = get_current_context()
    except Exception:  # no task runs; Airflow 2 and 3 say so in different ways
        return None
    return context if getattr(context["ti"], "next_method", None) else None


def is_trigger_timeout(error: AirflowException) -> bool:
    """Return whether a task is resumed because its trigger did not fire in time: Airflow 2 says so by the text only."""
    if TaskDeferralTimeout is None:
        return str(error) == "Trigger/execution timeout"
    return isinstance(error, TaskDeferralTimeout)


def first_reschedule_date(context: Any, retries: int | None) -> datetime | None:
    """Return when a rescheduled sensor was poked first, in this try or, as Airflow counts it, in its tries together.

    :return: ``None`` while it is poked for the first time.
    """
    ti = context["ti"]
    if hasattr(ti, "get_first_reschedule_date"):
        found: datetime | None = ti.get_first_reschedule_date(context)
        return found
    # Airflow 2, whose own sensor asks in the same way
    from airflow.sensors.base import _orig_start_date  # type: ignore[import-not-found, unused-ignore]

    return _orig_start_date(  # type: ignore[no-any-return, unused-ignore]
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=ti.map_index,
        try_number=(ti.max_tries or 0) - (retries or 0) + 1,
    )


def state_in_airflow(ti: Any) -> str:
    """Ask Airflow for the present state of a task instance; a running task that is being killed may have another one.

    :return: Airflow's word; ``no_status`` for one without a state, ``deleted`` for one that is not there.
    """
    if hasattr(ti, "current_state"):  # Airflow 2, which tells none from not there as little as its database does
        return str(ti.current_state() or NO_STATUS)
    ask = getattr(ti, "get_task_states", None)
    if ask is None:  # a triggerer knows the task instance by its ids alone
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ask = RuntimeTaskInstance.get_task_states
    mapped = ti.map_index is not None and ti.map_index >= 0
    states = ask(
        dag_id=ti.dag_id,
        task_ids=[ti.task_id],
        run_ids=[ti.run_id],
        map_index=ti.map_index if mapped else None,
    )
    state = states.get(ti.run_id, {}).get(f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id, DELETED)
    return NO_STATUS if state is None else str(getattr(state, "value", state))


def xcom_in_airflow(ti: Any, key: str) -> Any:
    """Read an XCom of a task instance that may be known by its ids alone; ``None`` where there is none."""
    if hasattr(ti, "xcom_pull"):
        return ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)
    from airflow.providers.common.compat.sdk import XCom

    return XCom.get_one(key=key, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index)


def delete_xcom(ti: Any, key: str) -> None:
    """Delete an XCom of a task instance that may be known by its ids alone, if there is one (Airflow 3)."""
    from airflow.providers.common.compat.sdk import XCom

    XCom.delete(key=key, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index)


def is_out_of_time() -> bool:
    """Tell, in ``on_kill``, whether ``execution_timeout`` is why: Airflow calls it while it handles that error."""
    return isinstance(sys.exc_info()[1], AirflowTaskTimeout)


def through_xcom(value: Any) -> Any:
    """Return what a later task gets when this value is pushed: the way through Airflow, to its database and back.

    The way is that of Airflow's own XComs. A custom backend is not asked: it may write into a store of its own.

    :raises Exception: whatever it is that Airflow raises on the way.
    """
    if _airflow < (3, 0):
        from airflow.models.xcom import BaseXCom as XComs  # type: ignore[attr-defined, unused-ignore]

        return XComs.deserialize_value(SimpleNamespace(value=XComs.serialize_value(value)))
    from airflow.sdk.bases.xcom import BaseXCom
    from msgspec import msgpack  # between a task and its supervisor
    from pydantic import JsonValue, TypeAdapter  # between the supervisor and the API server

    json_value: TypeAdapter[Any] = TypeAdapter(JsonValue)
    sent = msgpack.decode(msgpack.encode(json_value.validate_python(BaseXCom.serialize_value(value))))

    def whole(text: str) -> int:
        if not -(2**63) <= (number := int(text)) < 2**63:
            raise OverflowError("MessagePack holds no larger numbers, and SQLite makes fractions of them")
        return number

    def fraction(text: str) -> Any:  # PostgreSQL keeps decimals: 1e16 comes back as a whole number
        return json.loads(format(Decimal(text), "f"), parse_int=whole)

    stored = json.loads(json.dumps(sent), parse_int=whole, parse_float=fraction)
    answered = msgpack.decode(msgpack.encode(json_value.validate_json(json.dumps(stored))))
    return BaseXCom.deserialize_value(SimpleNamespace(value=answered))


def expanded_arguments(operator: Any) -> set[str]:
    """Return the names of the arguments that one of a mapped task's operators was made with; none for any other.

    Airflow keeps them, under a private name, to make such operators.
    """
    if not is_unmapped(operator):
        return set()
    return set(getattr(operator, "_BaseOperator__init_kwargs", ()))


def is_unmapped(operator: Any) -> bool:
    """Return whether this is one of a mapped task's operators, made in a worker: its DAG was read long before."""
    return bool(getattr(operator, "_BaseOperator__from_mapped", False))


def is_mapped_over(operator: Any, ti: Any) -> bool:
    """Return whether a later task is expanded over what this one returns, so that its length is to be recorded.

    Of a mapped task it is not: Airflow counts what its instances have returned.
    """
    if getattr(ti, "is_mapped", False) or operator.get_dag() is None:
        return False
    return next(iter(operator.iter_mapped_dependants()), None) is not None


def loop_iteration(context: Any) -> int | None:
    """Return which iteration of a loop a task is in, from 0; its map index does not tell. ``None`` outside of loops."""
    loop = context.get("loop") if HAS_LOOPS else None
    return None if loop is None else int(loop.index)


def has_listeners() -> bool:
    """Return whether a plugin listens to the ends of tasks; asked in a worker, where Airflow has loaded the plugins."""
    try:
        listener = import_module("airflow.sdk.listener")
    except ImportError:  # before Airflow 3.2
        listener = import_module("airflow.listeners.listener")
    return bool(listener.get_listener_manager().has_listeners)


def asset_outlets(operator: Any) -> list[Any]:
    """Return the outlets of an operator that are assets, each of which gets an event when it succeeds (Airflow 3)."""
    if not HAS_ASSETS or not operator.outlets:
        return []
    from airflow.sdk.definitions.asset import Asset, AssetRef

    return [outlet for outlet in operator.outlets if isinstance(outlet, Asset | AssetRef)]


def asset_stores(trigger: Any) -> list[Any]:
    """Return Airflow's stores of the assets that a trigger watches (Airflow 3.3); each has ``get`` and ``set``.

    Assets whose watchers have equal triggers share one trigger, and Airflow lists them under private names.
    """
    accessors = getattr(trigger, "asset_state_store", None)
    return [] if accessors is None else [store for _, store in sorted(accessors._by_name.items())]


def read_variable(key: str) -> str | None:
    """Read a Variable that a trigger has written, from a trigger (Airflow 3). To be called through :func:`ask_airflow`.

    ``Variable.get`` of Airflow 3.1 and newer takes any error on the way for a Variable that is not there.

    :return: ``None`` where there is none.
    :raises Exception: whatever it is that Airflow raises on the way.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    answer: Any = SUPERVISOR_COMMS.send(GetVariable(key=key))
    if not isinstance(answer, ErrorResponse):
        return None if answer.value is None else str(answer.value)
    if answer.error == ErrorType.VARIABLE_NOT_FOUND:
        return None
    raise AirflowRuntimeError(answer)


def gauge(name: str, value: float, tags: Mapping[str, str]) -> None:
    """Give a metric to Airflow, which hands it on where it is set up to."""
    from airflow.providers.common.compat.sdk import Stats

    Stats.gauge(name, value, tags=dict(tags))


def clears_store_on_success() -> bool:
    """Return whether the task state store is emptied when a task succeeds; a worker's success alone does that."""
    return bool(conf.getboolean("state_store", "clear_on_success", fallback=False))


def push_from_trigger(
    ti: Any, key: str, value: Any, mapped_length: int | None = None, *, through_backend: bool = False
) -> None:
    """Push an XCom from a trigger; pushed again, it is replaced. To be called through :func:`ask_airflow`.

    :param ti: the task instance, which may be known by its ids alone.
    :param mapped_length: how many tasks a later one is expanded to over the value; ``None``: none is.
    :param through_backend: a custom backend stores it, as of what an operator pushes. Links are stored without.
    :raises Exception: whatever it is that Airflow raises on the way.
    """
    from airflow.providers.common.compat.sdk import XCom
    from airflow.sdk.bases.xcom import BaseXCom

    xcoms: Any = XCom if through_backend else BaseXCom
    if mapped_length is not None and hasattr(xcoms, "_push"):  # Airflow 3.4, whose set() takes no length
        xcoms._push(ti, key, value, mapped_length=mapped_length)
        return
    xcoms.set(
        key=key,
        value=value,
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        **({} if mapped_length is None else {"_mapped_length": mapped_length}),
    )


def end_event() -> Any:
    """Make the event with which a trigger ends its task well. It carries no XComs: the first would commit the end."""
    from airflow.triggers.base import TaskSuccessEvent

    return TaskSuccessEvent()
