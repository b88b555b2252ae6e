# SPDX-License-Identifier: Apache-2.0
"""The tab "SOPS" of a task instance's page: who may see it, and what is put together for it. It only reads."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException as HttpError
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.catalogue import STATUS_CACHE_SECONDS
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.diagram.diagram import draw
from airflow_provider_sops.core.task_view import NodeView, TaggedTask, TaskView
from airflow_provider_sops.web import task_page_view as views
from airflow_provider_sops.web import task_page_words as words
from airflow_provider_sops.web.security_headers import SecurityHeaders, is_from_elsewhere
from airflow_provider_sops.web.task_page_airflow import TaskInstance, find_task_instance
from airflow_provider_sops.web.task_page_reader import Reader, lifetime_of, shared_reader
from airflow_provider_sops.web.task_page_view import Message, Place

log = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent
#: Longest parameter (characters): Airflow's ids have 250, SOPS' 33.
_LONGEST = 1000


def make_task_page() -> Any:
    """Make the app: the page, the door to it, and its files."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_api_route("/open", _open, methods=["GET"])
    app.add_api_route(
        "/page/{dag_id}",
        _page,
        methods=["GET"],
        # Airflow's own check, which reads the path parameter "dag_id"
        dependencies=[
            Depends(_refuse_others),
            Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE)),
            Depends(requires_access_dag("GET", DagAccessEntity.XCOM)),
        ],
    )
    app.mount("/static", StaticFiles(directory=_FOLDER / "static"))
    app.add_exception_handler(HttpError, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    return SecurityHeaders(app)


async def _open() -> Response:
    """Serve the door, which knows nothing yet: its script takes the ids from behind the "#" to the page."""
    return FileResponse(_FOLDER / "templates" / "open.html", media_type="text/html")


def _refuse_others(request: Request) -> None:
    """Refuse what Airflow's check would let pass, and what no page of Airflow asks for."""
    if request.path_params["dag_id"] == "~":  # "all DAGs" to Airflow's check
        raise HTTPException(404)
    if is_from_elsewhere(request.headers):
        raise HTTPException(403)


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HttpError) else 400
    what = {401: words.NOT_LOGGED_IN, 403: words.NOT_ALLOWED, 404: words.NO_INSTANCE}.get(status, words.BROKEN)
    return await _message(what, status=status)


async def _page(request: Request) -> Response:
    try:
        place, run_ids = _place(request)
    except ValueError:
        return await _message(words.NO_INSTANCE, status=404)
    try:
        instance = await asyncio.to_thread(find_task_instance, place.dag_id, run_ids, place.task_id, place.map_index)
        if instance is None:
            return await _message(words.NO_INSTANCE, status=404)
        return await _show(instance, replace(place, run_id=instance.run_id))
    except Exception:
        log.exception("The page of SOPS tasks could not be made")
        return await _message(words.BROKEN, status=500)


def _place(request: Request) -> tuple[Place, list[str]]:
    """Read the address.

    :return: the place, and the spellings of the run's id.
    :raises ValueError: it is none.
    """
    query = request.query_params
    texts = [*query.values(), *query.keys(), request.path_params["dag_id"]]
    if any(len(text) > _LONGEST or "\x00" in text for text in texts):
        raise ValueError("too long, or of no database")
    run_ids = list(dict.fromkeys(query.getlist("run_id")))[:2]
    sops_task_id = query.get("sops_task_id")
    place = Place(
        request.path_params["dag_id"],
        run_ids[0] if run_ids else "",
        query.get("task_id", ""),
        int(query.get("map_index", "-1")),
        int(sops_task_id) if sops_task_id else None,
        tuple(query.getlist("subprocess")),
        query.get("node", ""),
    )
    return place, run_ids


async def _show(instance: TaskInstance, place: Place) -> Response:
    if instance.arguments is None:
        return await _message(words.NOT_OURS)
    if not instance.sops_conn_id:
        return await _message(words.NO_CONNECTION)
    reader = shared_reader()
    try:
        project = await reader.project(instance)
        tagged, list_error = await _tagged(reader, instance, project)
        task_id = _chosen(instance, place, tagged)
        if task_id is None:
            what = words.NO_TASK_YET if place.sops_task_id is None else words.NO_SUCH_TASK
            return await _message(what, renew=place.sops_task_id is None)
        view = await reader.task(instance, project, task_id)
        shown = await _node(reader, instance, project, view, place)
    except (errors.SopsError, errors.SopsConfigError) as error:
        log.warning("SOPS cannot be read for the page of a task instance of DAG %s: %s", instance.dag_id, error)
        return await _message(words.sentences(error, instance.sops_conn_id), renew=True)
    return await asyncio.to_thread(_render_task, instance, place, view, shown, tagged, list_error)


async def _tagged(
    reader: Reader, instance: TaskInstance, project: Project
) -> tuple[tuple[TaggedTask, ...], errors.SopsError | None]:
    """Find the SOPS tasks of all tries; where SOPS does not list them, the present one is shown alone."""
    if not instance.tags:
        return (), None
    try:
        return await reader.tagged(instance, project), None
    except errors.SopsError as error:
        return (), error


def _chosen(instance: TaskInstance, place: Place, tagged: tuple[TaggedTask, ...]) -> int | None:
    """Return the SOPS task to show: only one that belongs to the task instance."""
    present = instance.sops_task_id or next((one.item.task_id for one in tagged if one.run == 0), None)
    if place.sops_task_id is None:
        return present
    own = {present, *(one.item.task_id for one in tagged)}
    return place.sops_task_id if place.sops_task_id in own else None


async def _node(
    reader: Reader, instance: TaskInstance, project: Project, view: TaskView, place: Place
) -> views.ShownNode | None:
    level = views.level_of(view, place)
    if level is None or view.detail is None or not place.node_id:
        return None
    node = draw(level.tree, level.statuses).node(place.node_id)
    if node is None:
        return None
    read: NodeView | Message
    if node.status is None:
        read = Message("This node has not started.")
    elif not views.reads_more(node):
        read = Message("SOPS keeps nothing more of it.")
    else:
        try:
            activity = views.activity_of(view.detail, place.node_id)
            read = await reader.node(instance, project, view, place.node_id, level.stack, activity)
        except errors.SopsError as error:
            read = Message(*words.sentences(error, instance.sops_conn_id))
    return views.shown_node(node, level, place, view.detail, read)


def _render_task(
    instance: TaskInstance,
    place: Place,
    view: TaskView,
    shown: views.ShownNode | None,
    tagged: tuple[TaggedTask, ...],
    list_error: errors.SopsError | None,
) -> Response:
    detail, level = view.detail, views.level_of(view, place)
    notes = [words.DELETED] if view.status.is_deleted else []
    notes += [words.STATUS_MISSING] if view.without_nodes else []
    siblings = views.siblings_of(tagged, view.status.task_id, place)
    unread = Message(*words.sentences(view.detail_error, instance.sops_conn_id)) if view.detail_error else None
    if list_error is not None and unread is None:
        unread = Message(
            "The SOPS tasks of earlier tries cannot be listed.", words.sentences(list_error, instance.sops_conn_id)[0]
        )
    if level is None and detail is not None:
        unread = Message("There is no such subprocess in this task.", "Open one from the picture.")
    return _rendered(
        "task.html",
        refresh=STATUS_CACHE_SECONDS if lifetime_of(view) == STATUS_CACHE_SECONDS else 0,
        name=(detail.name if detail else "") or view.status.name or f"SOPS task {view.status.task_id}",
        look="revoked" if view.status.is_deleted else words.look_of(view.status.state),
        state=view.status.state.value,
        progress=views.progress_of(view),
        notes=notes,
        unread=unread,
        facts_of_task=views.facts_of(view),
        inputs=views.inputs_of(detail) if detail else [],
        outputs=views.outputs_of(detail) if detail else [],
        picture=views.picture_of(view, level, place) if level else None,
        node=shown,
        siblings=siblings if len(siblings) > 1 else [],
        address=views.address_of(view),
        close=place.link(node_id=""),
    )


async def _message(what: tuple[str, str], *, status: int = 200, renew: bool = False) -> Response:
    message = Message(*what)
    refresh = STATUS_CACHE_SECONDS if renew else 0
    return await asyncio.to_thread(_rendered, "message.html", status=status, message=message, refresh=refresh)


def _rendered(template: str, status: int = 200, **values: Any) -> Response:
    return HTMLResponse(_templates().get_template(template).render(**values), status)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
