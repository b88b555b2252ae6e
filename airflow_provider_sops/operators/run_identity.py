# SPDX-License-Identifier: Apache-2.0
"""Who a try of an Airflow task is: the tags of its SOPS tasks, and which tries there were and will be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_sops.compat import base_url, loop_iteration
from airflow_provider_sops.core.run.tag import Tag, make_tag
from airflow_provider_sops.core.run.task_run import TaskRun

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_sops.core.api.project import Project
    from airflow_provider_sops.operators.run_record_store import RunRecordStore
    from airflow_provider_sops.operators.run_spec import RunSpec

#: How far the clocks and time zones of Airflow and SOPS may be apart.
_CLOCK_DIFFERENCE = timedelta(days=2)
#: Most tags of before a clear that are searched for.
_MOST_EARLIER_TAGS = 20


def make_task_run(spec: RunSpec, context: Context, project: Project, records: RunRecordStore) -> TaskRun:
    """Say who this try is and what it is to run.

    :param project: where the SOPS task is.
    """
    ti = context["ti"]
    start = run_start(context)
    looks_cleared = 1 < ti.try_number == ti.max_tries - spec.retries + 1
    return TaskRun(
        project=project,
        tag=tag_of(context, reattach=spec.reattach),
        task_spec=replace(spec.task_spec, title=spec.task_spec.title or f"{ti.dag_id} {ti.task_id}"),
        policy=spec.policy,
        on_retry=spec.on_retry,
        created_after=start - _CLOCK_DIFFERENCE if start else None,
        first_try=ti.try_number <= 1,
        cleared=spec.reattach and ti.try_number > 1 and ti.max_tries > spec.retries,
        first_after_clear=spec.reattach and looks_cleared,
        looks_cleared=looks_cleared,
        record=records.newest,
        keeps_records=records.works,
        earlier_tags=earlier_tags(context, spec.retries) if spec.revoke_on_kill and not spec.reattach else (),
    )


def run_start(context: Context) -> datetime | None:
    """Return when the DAG run started; ``None`` where no scheduler has started it."""
    start: datetime | None = getattr(context["dag_run"], "start_date", None)
    return start.astimezone(UTC) if start else None


def tag_of(context: Context, *, reattach: bool) -> Tag:
    """Make the tag under which this Airflow task's SOPS tasks are found again.

    ``max_tries`` itself is part of it, not ``max_tries - retries``: it too stays the same over retries and grows when a
    user clears a task that does not run, and it stays the same also when ``retries`` is edited in between.

    :param reattach: a cleared task takes up the SOPS task that there is.
    """
    return _tag(context, context["ti"].max_tries, site=base_url() if reattach else None)


def _tag(context: Context, max_tries: int, site: str | None = None) -> Tag:
    ti = context["ti"]
    return tag_of_run(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        run_start=run_start(context),
        task_id=ti.task_id,
        map_index=getattr(ti, "map_index", None),
        max_tries=max_tries,
        iteration=loop_iteration(context),
        site=site,
    )


def tag_of_run(
    *,
    dag_id: str,
    run_id: str,
    run_start: datetime | None,
    task_id: str,
    map_index: int | None,
    max_tries: int,
    iteration: int | None = None,
    site: str | None = None,
) -> Tag:
    """Make the tag of an Airflow task that is known by its ids and numbers.

    :param run_start: when the DAG run started; ``None`` where no scheduler has started it.
    :param iteration: of the loop that the task is in; ``None`` outside of loops.
    :param site: what is known of the Airflow itself; given when a cleared task takes up the SOPS task there is.
    """
    return make_tag(
        dag_id=dag_id,
        run_id=run_id,
        run_start=run_start.astimezone(UTC).isoformat(timespec="microseconds") if run_start else "",
        task_id=task_id,
        map_index=-1 if map_index is None else map_index,
        max_tries=max_tries,
        iteration=iteration,
        site=site,
    )


def earlier_tags(context: Context, retries: int) -> tuple[Tag, ...]:
    """Return the tags that this Airflow task may have had before a user cleared it, the newest first.

    A clear raises ``max_tries`` by the number of tries since the clear before; how many these were, nothing tells.
    """
    ti = context["ti"]
    if ti.try_number <= 1 or ti.max_tries <= retries:
        return ()
    lower = range(ti.max_tries - 1, -1, -1)
    return tuple(_tag(context, max_tries) for max_tries in lower[:_MOST_EARLIER_TAGS])


def retry_is_left(ti: Any) -> bool:
    """Return whether Airflow tries the task again when this try fails."""
    return bool(ti.try_number <= ti.max_tries)
