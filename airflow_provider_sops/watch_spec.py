# SPDX-License-Identifier: Apache-2.0
"""The order for a watch: the arguments of the trigger, checked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from airflow_provider_sops.connection import DEFAULT_CONN_ID
from airflow_provider_sops.core.api.calls import parse_id, parse_scope
from airflow_provider_sops.core.api.catalogue import STATUS_CACHE_SECONDS
from airflow_provider_sops.core.states import FINAL_STATES, TaskState
from airflow_provider_sops.core.wait.policy import check_choice
from airflow_provider_sops.core.watch.watch_filter import WatchFilter
from airflow_provider_sops.operator_arguments import Duration, as_seconds

#: States that can be announced.
_STATES = {state.value: state for state in (*sorted(FINAL_STATES), TaskState.FAILED)}
_LONGEST_NAME = 200


class WatchSpec(NamedTuple):
    """The order for a watch: plain values only, no secret. Rows of the database hold them by these names.

    :param name: what its memory is called.
    :param template_ids: templates by id.
    :param template_names: templates by name.
    :param template_source: where these are kept, ``business`` or ``common``.
    :param keyword: a part of the SOPS task's name.
    :param create_method: how the SOPS task was created, in SOPS' words.
    :param states: those that are announced.
    :param with_outputs: read the outputs.
    :param since: ISO 8601 with offset: announce ends from then on; ``None``: from the first start on.
    :param bk_biz_id: the business (or project, see ``scope``); ``None``: the connection's.
    :param scope: ``cmdb_biz`` or ``project``; ``None``: the connection's.
    :param sops_conn_id: id of the connection.
    :param poll_interval: seconds between two looks.
    """

    name: str
    template_ids: tuple[int, ...]
    template_names: tuple[str, ...]
    template_source: str
    keyword: str
    create_method: str
    states: tuple[str, ...]
    with_outputs: bool
    since: str | None
    bk_biz_id: int | None
    scope: str | None
    sops_conn_id: str
    poll_interval: float

    def kwargs(self) -> dict[str, Any]:
        """Return the trigger's arguments, as a row can hold them: the same for equal orders."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}

    @property
    def filter(self) -> WatchFilter:
        """Which tasks are watched."""
        return WatchFilter(
            self.template_ids, self.template_names, self.template_source, self.keyword, self.create_method
        )

    @property
    def watched_states(self) -> frozenset[TaskState]:
        """The states that are announced."""
        return frozenset(_STATES[state] for state in self.states)

    @property
    def since_moment(self) -> datetime | None:
        """From when on ends are announced at the first start."""
        return None if self.since is None else datetime.fromisoformat(self.since)


def make_watch_spec(
    *,
    name: str,
    template_ids: int | str | Iterable[int | str] = (),
    template_names: str | Iterable[str] = (),
    template_source: str = "business",
    keyword: str = "",
    create_method: str = "",
    states: str | Iterable[str] = (TaskState.FINISHED.value,),
    with_outputs: bool = True,
    since: datetime | str | None = None,
    bk_biz_id: int | str | None = None,
    scope: str | None = None,
    sops_conn_id: str = DEFAULT_CONN_ID,
    poll_interval: Duration = float(STATUS_CACHE_SECONDS),
) -> WatchSpec:
    """Check the arguments of a trigger.

    :raises ValueError: names the argument that is wrong.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"name: must be a text of up to {_LONGEST_NAME} characters, not {name!r}")
    check_choice("template_source", template_source, ("business", "common"))
    ids = [template_ids] if isinstance(template_ids, int | str) else template_ids
    names = [template_names] if isinstance(template_names, str) else template_names
    return WatchSpec(
        name=name,
        template_ids=tuple(sorted({parse_id("template_ids", one) for one in ids})),
        template_names=tuple(sorted(set(map(str, names)))),
        template_source=template_source,
        keyword=keyword or "",
        create_method=create_method or "",
        states=_read_states([states] if isinstance(states, str) else states),
        with_outputs=bool(with_outputs),
        since=None if since is None else _read_moment(since).isoformat(),
        bk_biz_id=None if bk_biz_id in (None, "") else parse_id("bk_biz_id", bk_biz_id),
        scope=parse_scope(scope) if scope else None,
        sops_conn_id=sops_conn_id,
        poll_interval=max(as_seconds("poll_interval", poll_interval), float(STATUS_CACHE_SECONDS)),
    )


def _read_states(states: Iterable[str]) -> tuple[str, ...]:
    names = sorted({str(state) for state in states})
    for one in names:
        if one not in _STATES:
            raise ValueError(f"states: {one} cannot be watched for; there are: {', '.join(sorted(_STATES))}")
    if not names:
        raise ValueError("states: must name at least one state")
    return tuple(names)


def _read_moment(since: datetime | str) -> datetime:
    try:
        moment = datetime.fromisoformat(since) if isinstance(since, str) else since
    except ValueError as error:
        raise ValueError(f"since: must be a datetime, or ISO 8601, not {since!r}") from error
    if moment.tzinfo is None:
        raise ValueError(f"since: must have a time zone, not {since!r}")
    return moment
