# SPDX-License-Identifier: Apache-2.0
"""What Airflow's database knows of a task instance that the page needs. All of it blocks: call it in a thread."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.compat.api_server import (
    find_row,
    is_of_row,
    iteration_of_row,
    look_up_connection_in_api_server,
    max_tries_of_row,
    team_of,
)
from airflow_provider_sops.connection import DEFAULT_CONN_ID, Site, choose_project
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.run.tag import Tag
from airflow_provider_sops.core.text import read_int
from airflow_provider_sops.operators.run_identity import tag_of_run
from airflow_provider_sops.xcom_keys import TASK_ID_KEY, TASK_URL_KEY

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_RETURN_VALUE = "return_value"
#: The number of the task in the address of its page, the same in all releases of SOPS.
_TASK_IN_URL = re.compile(r"[?&]instance_id=([0-9]+)(?:[&#]|$)")
#: The argument that all of this provider's operators have, and the one that only ``SopsRunTaskOperator`` has.
_OURS, _RUNS = "sops_conn_id", "template_id"
#: Most runs of one Airflow task, told apart by clears, whose SOPS tasks are looked for.
_MOST_RUNS = 10


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """A task instance, as far as the page needs it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    #: Airflow's word; empty for none
    state: str
    #: its templated arguments as they were rendered, or as its author wrote them where nothing needs to be rendered;
    #: ``None`` if it is not one of this provider's
    arguments: Mapping[str, Any] | None = field(repr=False)
    xcoms: Mapping[str, Any] = field(repr=False)
    #: of its SOPS tasks, if it runs some itself: its present run first, then those before it was cleared
    tags: tuple[Tag, ...] = ()
    #: whose connections it uses; empty where Airflow has no teams
    team: str = ""

    @property
    def sops_conn_id(self) -> str:
        """The connection; empty where it is not known any more."""
        value = (self.arguments or {}).get(_OURS)
        return value if isinstance(value, str) else ""

    @property
    def sops_task_id(self) -> int | None:
        """The SOPS task that it runs, waits for or operates; ``None`` while there is none."""
        returned, url = self.xcoms.get(_RETURN_VALUE), self.xcoms.get(TASK_URL_KEY)
        in_url = _TASK_IN_URL.search(url) if isinstance(url, str) else None
        candidates = (
            self.xcoms.get(TASK_ID_KEY),
            (self.arguments or {}).get("sops_task_id"),
            returned.get("sops_task_id") if isinstance(returned, Mapping) else None,
            in_url.group(1) if in_url else None,
        )
        return next((number for one in candidates if (number := read_int(one)) is not None and number > 0), None)

    def project(self, site: Site) -> Project:
        """Return the business or project of its SOPS task.

        :raises SopsConfigError: neither it nor the connection names one.
        """
        arguments = self.arguments or {}
        biz_id, scope = (_given(arguments.get(name)) for name in ("bk_biz_id", "scope"))
        return choose_project(self.sops_conn_id, biz_id, scope, lambda: site)


def _given(value: Any) -> Any:
    """Read a rendered argument; some Airflows keep ``None`` as a text."""
    return None if value in (None, "", "None") else value


def find_task_instance(dag_id: str, run_ids: Sequence[str], task_id: str, map_index: int) -> TaskInstance | None:
    """Find a task instance.

    :param run_ids: the spellings of the run's id that the browser may have meant; the first that there is counts.
    :return: ``None`` when there is none.
    """
    from airflow.utils.session import create_session

    with create_session() as session:
        for run_id in run_ids:
            found = _find(session, dag_id, run_id, task_id, map_index)
            if found is not None:
                return found
    return None


def _find(session: Session, dag_id: str, run_id: str, task_id: str, map_index: int) -> TaskInstance | None:
    key: dict[str, Any] = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
    row = find_row(session, **key)
    if row is None:
        return None
    arguments = _arguments(session, key, row)
    tags: list[Tag] = []
    if arguments and _RUNS in arguments:
        iteration = iteration_of_row(session, row)
        for max_tries in _numbers_of_tries(session, row):
            tags.append(tag_of_run(**key, run_start=row.run_start, max_tries=max_tries, iteration=iteration))
    xcoms = _xcoms(session, row) if arguments else {}
    state = getattr(row.state, "value", row.state) or ""
    return TaskInstance(
        **key, state=str(state), arguments=arguments, xcoms=xcoms, tags=tuple(tags), team=team_of(dag_id)
    )


def _numbers_of_tries(session: Session, row: Any) -> list[int]:
    """Return the ``max_tries`` that it has had, which a clear raises: the present one first."""
    numbers = max_tries_of_row(session, row)
    return sorted(numbers, key=lambda number: (number != row.max_tries, -number))[:_MOST_RUNS]


def _arguments(session: Session, key: Mapping[str, Any], row: Any) -> Mapping[str, Any] | None:
    """Return its templated arguments: Airflow keeps the rendered ones of the latest runs only."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    rendered = RenderedTaskInstanceFields.get_templated_fields(row, session=session)
    if isinstance(rendered, Mapping):
        return rendered if _OURS in rendered else None
    return _written_arguments(session, key)


def _written_arguments(session: Session, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the arguments as the DAG's author wrote them, without those that need to be rendered."""
    from airflow.models.dagbag import DBDagBag
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    run = session.scalar(select(DagRun).where(DagRun.dag_id == key["dag_id"], DagRun.run_id == key["run_id"]))
    dag = DBDagBag(load_op_links=False).get_dag_for_run(run, session=session) if run else None
    if dag is None or not dag.has_task(key["task_id"]):
        return None
    operator: Any = dag.get_task(key["task_id"])
    names = tuple(operator.template_fields)
    if _OURS not in names:
        return None
    partial = getattr(operator, "partial_kwargs", None)
    values = {name: partial.get(name) if partial is not None else getattr(operator, name, None) for name in names}
    if partial is not None and _OURS not in partial:
        # of a mapped task Airflow keeps what was given alone, and no defaults
        expanded = getattr(getattr(operator, "expand_input", None), "value", None)
        if isinstance(expanded, Mapping) and _OURS not in expanded:
            values[_OURS] = DEFAULT_CONN_ID
    return {name: None if isinstance(value, str) and "{" in value else value for name, value in values.items()}


def _xcoms(session: Session, row: Any) -> Mapping[str, Any]:
    """Read the XComs that tell the SOPS task. What a custom backend keeps elsewhere tells nothing."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    found: dict[str, Any] = {}
    for keys in ((TASK_ID_KEY, TASK_URL_KEY), (_RETURN_VALUE,)):
        xcoms = session.execute(
            select(XComModel.key, XComModel.value).where(*is_of_row(XComModel, row), XComModel.key.in_(keys))
        )
        found |= {xcom.key: xcom.value for xcom in xcoms}
        if TASK_ID_KEY in found:  # what it returns may be large
            break
    return found


def read_site(conn_id: str, team: str) -> Site:
    """Look a connection up, and let Airflow mask its secrets in logs.

    :param team: whose it is; empty where Airflow has no teams.
    :raises SopsConfigError: names the field that is wrong.
    :raises Exception: whatever it is that Airflow raises when there is none.
    """
    from airflow_provider_sops.hooks.sops import site_of

    connection = look_up_connection_in_api_server(conn_id, team)
    if connection is None:
        raise LookupError(f"Airflow's API server finds no connection {conn_id!r}")
    return site_of(connection, connection.extra_dejson)
