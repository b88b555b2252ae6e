# SPDX-License-Identifier: Apache-2.0
"""Is a created task the one that was ordered? An old SOPS drops parameters that it does not know, without a word.

It is found out before the start, when the task does nothing yet: by the tree that ``create_task`` answers, or, when an
earlier try has created it, by the one of ``get_task_detail``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import nocache
from airflow_provider_sops.core.api.sops_releases import SINCE
from airflow_provider_sops.core.call_flow import Flow, LogLine
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.models import Template, readers
from airflow_provider_sops.core.pipeline_tree import Activity, activities
from airflow_provider_sops.core.run.task_run import TaskRun
from airflow_provider_sops.core.run.task_spec import NODE_FIELDS, SCHEMES, TaskSpec
from airflow_provider_sops.core.run.task_spec_check import CheckedSpec
from airflow_provider_sops.core.status_reading import REFUSED
from airflow_provider_sops.core.text import text_of

#: What to do once the DAG is put right.
_ANEW = (
    "A retry finds this same SOPS task: clear the Airflow task, or with on_clear='reattach' trigger a new DAG run, so "
    "that another one is created."
)


def compare(run: TaskRun, checked: CheckedSpec, task_id: int) -> Flow[None]:
    """Compare a task that is about to be started with the one to create.

    :param checked: the task to create.
    :param task_id: the created task, of this try or of an earlier one.
    :raises SopsConfigError: it would run other nodes, or with other constants.
    :raises errors.SopsError: which nodes it would run cannot be read.
    """
    task_spec, created = checked.task_spec, run.state.created.get(task_id)
    tree = created.pipeline_tree if created else (yield from _read_tree(run, task_spec, task_id))
    subject = f"SOPS task {task_id}" + (f" ({created.task_url})" if created and created.task_url else "")
    yield from _compare_nodes(run, checked, subject, tree)
    yield from _compare_constants(run, checked, subject, tree, is_own=created is not None)


def _compare_nodes(run: TaskRun, checked: CheckedSpec, subject: str, tree: Mapping[str, Any]) -> Flow[None]:
    """Refuse a task that would run other nodes.

    :param subject: the created task, for messages.
    :param tree: its pipeline tree.
    :raises SopsConfigError: names the nodes.
    """
    task_spec = checked.task_spec
    if not task_spec.node_fields:
        return
    if not tree.get("activities"):
        text = f"{subject} has no nodes that could be compared with those wanted."
        yield from run.state.once(LogLine(text, warning=True))
        return
    nodes = activities(checked.template.pipeline_tree) if checked.template else ()
    names = {node.id: node.name for node in nodes if not node.path}
    of_schemes = (yield from _scheme_nodes(run, checked)) if SCHEMES in task_spec.node_fields else None
    if differs := differing_nodes(task_spec.params, tree, names, of_schemes):
        raise _not_as_ordered(task_spec, subject, differs)


def _compare_constants(
    run: TaskRun, checked: CheckedSpec, subject: str, tree: Mapping[str, Any], *, is_own: bool
) -> Flow[None]:
    """Refuse a task whose constants SOPS has not taken.

    :param is_own: this try has created it; else an earlier one, perhaps with other values.
    :raises SopsConfigError: names the constants.
    """
    given, template = checked.task_spec.constants, checked.template
    constants = Template(0, "", tree).constants
    other = differing_constants(given, tree)
    if other and not is_own:
        # an earlier try may have given others, or a person: not taken is what has the template's own value
        own = template.constants if template else {}
        text = f"{subject} was created with other values of {', '.join(other)}; it keeps them."
        yield from run.state.once(LogLine(text))
        other = [key for key in other if key in own and is_same(own[key].get("value"), constants[key].get("value"))]
    if other:
        raise SopsConfigError(
            "constants", f"{subject} is not started: it does not have the value given to {', '.join(other)}. {_ANEW}"
        )
    dropped = [key for key in given if key not in constants]
    if dropped and tree and template is None:  # else their names were checked
        text = f"{subject} has no {', '.join(dropped)}: no node that runs refers to it, or the template has not."
        yield from run.state.once(LogLine(text, warning=True))


def _read_tree(run: TaskRun, task_spec: TaskSpec, task_id: int) -> Flow[Mapping[str, Any]]:
    """Read the tree of a task that an earlier try has created."""
    cannot = (
        f"Without it this retry cannot compare the nodes of SOPS task {task_id}, which an earlier try has created, "
        "with those wanted, so it has started nothing."
    )
    try:
        answer = yield run.project.call("get_task_detail", task_id=task_id, **nocache())
    except REFUSED as error:
        if not task_spec.node_fields:
            return {}
        raise errors.advised(error, f"{cannot} Grant the API, or clear the Airflow task.") from error.__cause__
    tree = readers.task_detail(answer).pipeline_tree
    if "activities" not in tree and task_spec.node_fields:
        since = f"SOPS has it since {SINCE['get_task_detail.pipeline_tree']}"
        raise answer.wrong(f"it has no pipeline_tree ({since}). {cannot} Clear the Airflow task")
    return tree


def _scheme_nodes(run: TaskRun, checked: CheckedSpec) -> Flow[set[str] | None]:
    """Read which nodes the execution schemes run; ``None`` where that cannot be read."""
    nodes, why = None, "SOPS does not list it"
    try:
        answer = yield run.project.call("get_template_schemes", template_id=checked.template_id)
        nodes = scheme_nodes(answer.data, checked.task_spec.params[SCHEMES])
    except errors.SopsError as error:
        why = str(error)
    if not nodes:
        yield from run.state.once(LogLine(f"Whether SOPS has taken {SCHEMES} is not checked. {why}", warning=True))
    return nodes


def differing_nodes(
    params: Mapping[str, Any],
    tree: Mapping[str, Any],
    names: Mapping[str, str],
    of_schemes: Collection[str] | None,
) -> str:
    """Compare the nodes that a task would run with those ordered: an old SOPS drops parameters that it does not know.

    Only the task's own nodes are compared, not those in its subprocesses; what every task of the template has may run.

    :param params: those of ``create_task``, with ids of nodes.
    :param tree: the task's pipeline tree.
    :param names: names of the template's nodes by id, where it could be read.
    :param of_schemes: ids of the nodes of the execution schemes; ``None`` when they are not known: only the nodes to
        leave out can be looked for then.
    :return: what differs, in words that follow on "it"; empty when nothing does.
    """
    left_out, run = ({str(own) for own in params.get(name) or ()} for name in NODE_FIELDS)
    executed = run - left_out
    if params.get(SCHEMES):
        run = run | set(of_schemes) if of_schemes is not None else set()

    def is_ordered(own: str) -> bool:
        return own not in left_out and (not run or own in run)

    nodes = [node for node in activities(tree) if not node.path]
    ids = _template_ids(tree, nodes, names, is_ordered)
    identified = [node for node in nodes if ids[node.id]]
    unwanted = [repr(node.name) for node in identified if node.optional and not is_ordered(ids[node.id])]
    missing = [repr(names.get(own, own)) for own in sorted(executed - set(ids.values()))]
    if len(identified) < len(nodes):  # which of the template's nodes the others are is not known, but how many
        missing = []
        others = [repr(node.name) for node in nodes if node.optional and not ids[node.id]]
        too_many = len(others) - len(run - left_out - set(ids.values())) if run else 0
        unwanted += [f"{too_many} of {', '.join(others)}"] if too_many > 0 else []
    parts = [f"would run {', '.join(unwanted)}, which was not wanted,"] if unwanted else []
    parts += [f"would not run {', '.join(missing)}"] if missing else []
    return " and ".join(parts).rstrip(",")


def _template_ids(
    tree: Mapping[str, Any], nodes: Iterable[Activity], names: Mapping[str, str], is_ordered: Callable[[str], bool]
) -> dict[str, str]:
    """Return the id of the template's node for each node of a task; empty where neither ids nor name show it."""
    found: dict[str, str] = {}
    for node in nodes:
        said = text_of(tree["activities"].get(node.id, {}).get("template_node_id"))
        own = said or (node.id if node.id in names else "")
        if not own:  # of several with this name one that is to run: SOPS has left the others out
            alike = [own for own, name in names.items() if name == node.name and own not in found.values()]
            own = min(alike, key=lambda own: not is_ordered(own), default="")
        found[node.id] = own
    return found


def scheme_nodes(rows: object, schemes: object) -> set[str] | None:
    """Return the nodes of execution schemes.

    :param rows: the answer's data of ``get_template_schemes``: objects with ``id``, and in ``data`` JSON with node ids.
    :param schemes: id or ids of the schemes.
    :return: ids of the nodes; ``None`` when a scheme is not there or cannot be read.
    """
    listed = rows if isinstance(rows, list) else []
    by_id = {str(row.get("id")): row.get("data") for row in listed if isinstance(row, dict)}
    found: set[str] = set()
    for scheme in schemes if isinstance(schemes, list | tuple) else [schemes]:
        try:
            nodes = json.loads(str(by_id[str(scheme)]))
        except (KeyError, TypeError, ValueError):
            return None
        if not isinstance(nodes, list):
            return None
        found |= {text_of(node) for node in nodes}
    return found


def differing_constants(given: Mapping[str, Any], tree: Mapping[str, Any]) -> list[str]:
    """Compare the values of a task's constants with those given.

    Not those of passwords, which SOPS may keep in another form, nor what the task does not have: SOPS drops what no
    node that runs refers to. ``5`` and ``"5"`` are the same.

    :return: keys of those that have another value.
    """
    made = Template(0, "", tree)
    return [
        key
        for key, value in given.items()
        if isinstance(constant := made.constants.get(key), dict)
        and key not in made.secret_keys
        and not is_same(value, constant.get("value"))
    ]


def is_same(one: object, other: object) -> bool:
    """Return whether two values of a constant are the same, but for how SOPS stores them."""
    return _plain(one) == _plain(other)


def _plain(value: object) -> str:
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    return json.dumps(value, sort_keys=True, default=str)


def _not_as_ordered(task_spec: TaskSpec, subject: str, differs: str) -> SopsConfigError:
    """Make the error of a task that would run other nodes than those ordered.

    :param subject: the task.
    :param differs: see :func:`differing_nodes`.
    """
    fields = task_spec.node_fields
    advice = [
        f"SOPS has {name} since {SINCE[f'create_task.{name}']}, and drops it without a word before"
        for name in fields
        if f"create_task.{name}" in SINCE
    ]
    if advice:
        advice = [", and ".join(advice), "Name what is to be left out in exclude_task_nodes_id, which every SOPS has"]
    return SopsConfigError(
        " and ".join(fields), f"{subject} is not started: it {differs}. {'. '.join((*advice, _ANEW))}"
    )
