# SPDX-License-Identifier: Apache-2.0
"""How a SOPS task's outputs are read, checked and made XComs, in a worker and in the triggerer alike."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY, mask_secret

from airflow_provider_sops.compat import NONE_IS_PUSHED, link_key, through_xcom
from airflow_provider_sops.core.failure_report import explain
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.task_outputs import OutputsUnavailable, TaskOutputs, read_outputs, select, task_page
from airflow_provider_sops.core.text import storable
from airflow_provider_sops.core.variables import sops_key
from airflow_provider_sops.exceptions import SopsOutputsException
from airflow_provider_sops.masking import maskable
from airflow_provider_sops.xcom_keys import TASK_ID_KEY, TASK_URL_KEY, WAIT_ENDED_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.hooks.sops import SopsHook

#: Characters that mean something else in an address.
_NOT_IN_KEYS = ("?", "#", "%", "\\")
#: Levels of lists and objects an output may have. Airflow 3 reads 200, with all that an output stands in, Airflow 2
#: as many as Python's recursion allows where it happens to be read.
_DEEPEST = 150


def fetch_outputs(
    hook: SopsHook,
    task_id: int,
    keys: Iterable[str] | None = None,
    *,
    log: Any,
    do_xcom_push: bool,
    assume_finished: bool = False,
    advice: str = "Name the outputs you need in keys.",
) -> TaskOutputs:
    """Read a finished task's outputs, mask the secret ones in logs, and check that they can be pushed.

    :param log: the task's log.
    :param do_xcom_push: the operator's.
    :param advice: what the author of the DAG can do about an output that cannot be pushed.
    :raises SopsOutputsException: the task is unfinished, failed or revoked, a key is absent, or an output cannot be
        pushed though the operator pushes XComs.
    """
    try:
        read: TaskOutputs = hook.run(read_outputs(task_id, hook.project, assume_finished=assume_finished))
    except OutputsUnavailable as problem:
        failed = problem.status is not None and problem.status.state is TaskState.FAILED
        page = hook.run(task_page(task_id, hook.project))
        why = f"\n{hook.run(explain(task_id, hook.project, problem.status))}" if failed else ""
        raise _unusable(f"{problem}{why or (page and f' Task page: {page}')}", page) from problem
    return use_outputs(read, keys, log=log, do_xcom_push=do_xcom_push, advice=advice)


def use_outputs(
    read: TaskOutputs,
    keys: Iterable[str] | None = None,
    *,
    log: Any,
    do_xcom_push: bool,
    advice: str = "Name the outputs you need in keys.",
) -> TaskOutputs:
    """Mask the secret ones of outputs that were read, select those of the keys, and check that they can be pushed.

    In a trigger it is called through :func:`~airflow_provider_sops.compat.ask_airflow`, as it lets Airflow mask.

    :raises SopsOutputsException: a key is absent, or an output cannot be pushed though the operator pushes XComs.
    """
    task_id = read.detail.task_id
    for notice in read.notices:
        log.warning("%s", notice)
    for secret in maskable(read.detail.secret_values):
        mask_secret(secret)
    log.info(
        "SOPS task %s %r finished at %s with outputs: %s",
        task_id,
        read.detail.name,
        read.detail.finish_time,
        ", ".join(map(_shown, read.values)) or "none",
    )
    try:
        selected = replace(read, values=select(read.values, keys))
    except KeyError as error:
        message = f"SOPS task {task_id} {read.detail.name!r} has {error.args[0]}"
        raise _unusable(message, read.detail.task_url) from error
    if do_xcom_push:
        _check_storable(selected, advice)
    return selected


def _unusable(message: str, task_url: str) -> SopsOutputsException:
    error = SopsOutputsException(message)
    error.task_url = task_url
    return error


def push_outputs(
    context: Context, outputs: Mapping[str, Any], *, log: Any, do_xcom_push: bool, extra_links: Collection[Any]
) -> None:
    """Push each output by its bare name and by its key in SOPS, unless the operator pushes no XComs.

    :param outputs: values by bare name.
    :param log: the task's log.
    :param do_xcom_push: the operator's.
    :param extra_links: the operator's links, whose keys are taken.
    """
    if not do_xcom_push:
        return
    made = output_xcoms(outputs, extra_links)
    for warning in made.warnings:
        log.warning("%s", warning)
    for key, value in made.xcoms:
        context["ti"].xcom_push(key=key, value=value)


@dataclass(frozen=True, slots=True)
class XComsToPush:
    """XComs in the order in which they are pushed, and what is to be logged of outputs that are not among them."""

    xcoms: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()


def output_xcoms(outputs: Mapping[str, Any], extra_links: Collection[Any]) -> XComsToPush:
    """Make an XCom of each output by its bare name and by its key in SOPS.

    :param outputs: values by bare name.
    :param extra_links: the operator's links, whose keys are taken.
    """
    own_keys = {
        XCOM_RETURN_KEY,
        TASK_URL_KEY,
        TASK_ID_KEY,
        WAIT_ENDED_KEY,
        *map(link_key, extra_links),
    }
    xcoms: list[tuple[str, Any]] = []
    warnings = []
    for name, value in outputs.items():
        if value is None and not NONE_IS_PUSHED:
            continue
        if not _can_be_key(name):
            warnings.append(f"Output {name} is in the returned dict only: its name cannot be an XCom key.")
            continue
        if name in own_keys:
            warnings.append(f"Output {name} is pushed as {sops_key(name)} only: the bare name is taken.")
        else:
            xcoms.append((name, value))
        xcoms.append((sops_key(name), value))
    return XComsToPush(tuple(xcoms), tuple(warnings))


def _can_be_key(name: str) -> bool:
    """Return whether Airflow finds its way to an XCom of this name, which it puts into an address as it is."""
    plain = name.isprintable() and not any(one in name for one in _NOT_IN_KEYS)
    return plain and all(part.strip(".") for part in name.split("/"))


def _check_storable(outputs: TaskOutputs, advice: str) -> None:
    """Refuse outputs that would not come back from XComs as they are; the returned dict has them all.

    :raises SopsOutputsException: names the output.
    """
    values, detail = dict(outputs.values), outputs.detail
    for name, value in values.items():
        # as it is pushed by itself, and with its name, as the returned dict has it
        if why := why_not_storable(value) or why_not_storable({name: value}):
            names = [name]
            break
    else:
        # together they may be what Airflow takes for something else
        names, why = list(values), why_not_storable(values)
    if why is not None:
        subject = f"Output {', '.join(map(_shown, names))} of SOPS task {detail.task_id}"
        raise _unusable(f"{subject} cannot be pushed into XCom ({why}); nothing was pushed. {advice}", detail.task_url)


def _shown(name: str) -> str:
    """Return an output's key as a log can take it."""
    return storable(sops_key(name))


def why_not_storable(value: Any) -> str | None:
    """Return why a value would not come back from an XCom as it is; what PostgreSQL refuses is refused everywhere.

    What the value holds is not quoted: it may be a secret.
    """
    keys = set()
    for depth, one, is_key in _walk(value):
        if depth > _DEEPEST + 1:  # with the returned dict
            return f"it is nested more than {_DEEPEST} levels deep"
        if isinstance(one, float) and not math.isfinite(one):
            return f"{one} is not JSON"
        if isinstance(one, str):
            if "\0" in one:
                return "a text in it has a NUL character, which PostgreSQL refuses"
            if any("\ud800" <= character <= "\udfff" for character in one):
                return "a text in it has half a character (a lone surrogate), which is not Unicode"
            if is_key and one.startswith("__"):
                keys.add(one)
    marks = f", for it has the keys {', '.join(sorted(keys))}" if keys else ""
    try:
        if json.dumps(through_xcom(value), sort_keys=True) == json.dumps(value, sort_keys=True):
            return None
    except OverflowError:
        return "a number in it needs more than 64 bits"
    except Exception as error:  # of Airflow's classes for XComs, or of a class that it takes the value for
        return f"Airflow does not store and read it, {type(error).__name__}{marks}"
    return f"it would come back as something else{marks}"


def _walk(value: Any) -> Iterator[tuple[int, Any, bool]]:
    """Return all that stands in a value, keys too: with its level, and whether it is a key."""
    todo = [(0, value)]
    while todo:
        depth, one = todo.pop()
        yield depth, one, False
        if isinstance(one, dict):
            for key, inner in one.items():
                yield depth, key, True
                todo.append((depth + 1, inner))
        elif isinstance(one, list):
            todo += [(depth + 1, inner) for inner in one]
