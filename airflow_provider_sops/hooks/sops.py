# SPDX-License-Identifier: Apache-2.0
"""The hook: an Airflow connection of type ``sops`` as a client of SOPS with typed results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook, mask_secret

from airflow_provider_sops.connection import (
    CONN_TYPE,
    DEFAULT_CONN_ID,
    HOOK_NAME,
    UI_FIELD_BEHAVIOUR,
    Site,
    choose_project,
    parse_connection,
)
from airflow_provider_sops.core import models
from airflow_provider_sops.core.api.calls import make_call, nocache, parse_id, parse_scope
from airflow_provider_sops.core.api.catalogue import MAX_IDS_PER_STATUS_CALL
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.http.client import SopsClient
from airflow_provider_sops.core.http.connection_check import probe
from airflow_provider_sops.core.http.network import route_to
from airflow_provider_sops.core.http.retry import NO_RETRY, RetryPolicy
from airflow_provider_sops.core.models import readers
from airflow_provider_sops.core.task_lists import count_tasks, list_tasks
from airflow_provider_sops.exceptions import airflow_errors
from airflow_provider_sops.masking import maskable
from airflow_provider_sops.task_log import report_to

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_sops.core.api.answer import Answer
    from airflow_provider_sops.core.api.calls import Call, Scope
    from airflow_provider_sops.core.api.catalogue import Method
    from airflow_provider_sops.core.call_flow import Flow, Report

__all__ = ["SopsHook"]

T = TypeVar("T")


def site_of(connection: Connection, extra: Mapping[str, Any]) -> Site:
    """Read a connection, and let Airflow mask all its secrets in logs.

    :param extra: the connection's extra as a dict; read by the caller, as a triggerer does it asynchronously.
    :raises SopsConfigError: names the field that is missing, wrong or contradicts another one, or the variable of the
        environment whose certificates or proxy cannot be used.
    """
    site = parse_connection(
        host=connection.host,
        schema=connection.schema,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        extra=extra,
    )
    for secret in maskable(site.secrets):
        mask_secret(secret)
    # the client finds it again; what cannot be used is reported here, before anything is sent
    for secret in maskable(route_to(site.endpoint.base_url, site.settings).secrets):
        mask_secret(secret)
    return site


class SopsHook(BaseHook):
    """Calls the API of BlueKing Standard OPS (SOPS) with the credentials of an Airflow connection.

    :param sops_conn_id: id of a connection of type ``sops``.
    :param bk_biz_id: business (or project, see ``scope``) to ask; by default the connection's.
    :param scope: ``cmdb_biz`` or ``project``: what ``bk_biz_id`` is; by default the connection's.
    :param retry: how often a failed call is tried again.

    Every method raises :class:`~airflow_provider_sops.exceptions.SopsException` (one of its kinds) when SOPS gives no
    good answer, and :class:`~airflow_provider_sops.exceptions.SopsConfigException` when a field of the connection or
    an argument is missing or wrong.
    """

    conn_name_attr = "sops_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = HOOK_NAME

    def __init__(
        self,
        sops_conn_id: str = DEFAULT_CONN_ID,
        *,
        bk_biz_id: int | str | None = None,
        scope: str | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        super().__init__()
        self.sops_conn_id = sops_conn_id
        self._bk_biz_id = bk_biz_id
        self._scope = scope
        self._retry = retry
        self._client: SopsClient | None = None

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the connection form's extra fields, for Airflow before 3.2."""
        from airflow_provider_sops.connection_form import form_widgets

        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the labels and placeholders of the connection form, for Airflow before 3.2."""
        return {
            "hidden_fields": UI_FIELD_BEHAVIOUR["hidden-fields"],
            "relabeling": UI_FIELD_BEHAVIOUR["relabeling"],
            "placeholders": UI_FIELD_BEHAVIOUR["placeholders"],
        }

    @cached_property
    def site(self) -> Site:
        """The connection's fields, read once."""
        connection = self.get_connection(self.sops_conn_id)
        with airflow_errors():
            site = site_of(connection, connection.extra_dejson)
        if site.unknown_fields:
            self.log.warning(
                "Connection %s has fields in extra that mean nothing to this provider: %s",
                self.sops_conn_id,
                ", ".join(site.unknown_fields),
            )
        return site

    @property
    def project(self) -> Project:
        """The business or project that is asked.

        :raises SopsConfigException: when neither the hook nor the connection names a business.
        """
        with airflow_errors():
            return choose_project(self.sops_conn_id, self._bk_biz_id, self._scope, lambda: self.site)

    def get_conn(self) -> SopsClient:
        """Return the client, with one HTTP session that is reused."""
        if self._client is None:
            site = self.site
            self._client = SopsClient(site.endpoint, settings=site.settings, retry=self._retry)
        return self._client

    def close(self) -> None:
        """Close the HTTP session."""
        if self._client is not None:
            self._client.close()

    def forget_connection(self) -> None:
        """Look the connection up again at the next call, for secrets that were changed meanwhile."""
        self.close()
        self._client = None
        self.__dict__.pop("site", None)

    def send(self, call: Call) -> Answer:
        """Send a prepared call."""
        client = self.get_conn()
        with airflow_errors():
            return client.send(call)

    def run(self, flow: Flow[T], report: Report | None = None) -> T:
        """Carry out a flow, such as those of :class:`~airflow_provider_sops.core.wait.task_wait.TaskWait`.

        :param report: takes the log lines and secrets that the flow yields; by default they go into the hook's log.
        """
        client = self.get_conn()
        with airflow_errors():
            return client.run(flow, report or report_to(self.log))

    def call(
        self,
        name: str,
        /,
        *,
        http_method: Method | None = None,
        path_ids: tuple[str, ...] | None = None,
        **params: Any,
    ) -> Any:
        """Call any API of SOPS by its name.

        :param name: e.g. ``get_template_schemes``.
        :param http_method: ``GET`` or ``POST``, for APIs that this provider does not list.
        :param path_ids: for such APIs: the parameters that stand in the gateway's path, in order.
        :param params: ids and parameters as SOPS names them; ``bk_biz_id`` and ``scope`` are the hook's by default.
        :return: the answer's ``data``.
        """
        with airflow_errors():
            has_default = self._bk_biz_id not in (None, "") or self.site.bk_biz_id is not None
            use_default = has_default and "bk_biz_id" not in params
            call = make_call(
                name,
                params,
                bk_biz_id=self.project.bk_biz_id if use_default else None,
                scope=self._effective_scope(),
                http_method=http_method,
                ids=path_ids,
            )
        return self.send(call).data

    def get_task_detail(self, task_id: int | str, *, fresh: bool = False) -> models.TaskDetail:
        """Read a task's description: times, constants, outputs. It has no state.

        :param fresh: pass SOPS' cache, which else answers with what it knew up to 60 seconds ago.
        """
        return self._read(readers.task_detail, "get_task_detail", task_id=task_id, **nocache(fresh))

    def get_task_status(
        self,
        task_id: int | str,
        *,
        with_ex_data: bool = False,
        with_failed_node_info: bool = False,
        with_auto_retry_status: bool = False,
        subprocess_id: str | None = None,
        fresh: bool = False,
    ) -> models.TaskStatus:
        """Read a task's state and its nodes.

        :param with_ex_data: with the reasons why nodes failed.
        :param with_failed_node_info: with SOPS' own record of failed nodes; an error on a task that was not started.
        :param with_auto_retry_status: with whether SOPS will retry a failed node by itself.
        :param subprocess_id: of this subprocess node instead; one that is not known looks CREATED.
        :param fresh: pass SOPS' cache of 10 seconds.
        """
        flags = {
            "with_ex_data": with_ex_data,
            "with_failed_node_info": with_failed_node_info,
            "with_auto_retry_status": with_auto_retry_status,
        }
        # SOPS takes any value, "0" and "false" too, for yes
        set_flags = {name: "1" for name, value in flags.items() if value}
        return self._read(
            readers.task_status,
            "get_task_status",
            task_id=task_id,
            subprocess_id=subprocess_id,
            **set_flags,
            **nocache(fresh),
        )

    def get_tasks_status(
        self, task_ids: Iterable[int | str], *, include_children_status: bool = False, fresh: bool = False
    ) -> dict[int, models.TaskStatus]:
        """Read the states of any number of tasks, fifty in one request.

        :return: status by task id; tasks that are unknown or another project's are not in it.
        """
        with airflow_errors():
            ids = sorted({parse_id("task_id", task_id) for task_id in task_ids})
        found: dict[int, models.TaskStatus] = {}
        for start in range(0, len(ids), MAX_IDS_PER_STATUS_CALL):
            found |= self._read(
                readers.tasks_status,
                "get_tasks_status",
                task_id_list=ids[start : start + MAX_IDS_PER_STATUS_CALL],
                include_children_status=include_children_status or None,
                **nocache(fresh),
            )
        return found

    def get_task_list(
        self, *, limit: int | str | None = None, offset: int | str | None = None, **filters: Any
    ) -> list[models.TaskListItem]:
        """List tasks of the business, the newest first.

        :param limit: how many at most; more than 200 are read by several requests. By default SOPS gives 100.
        :param offset: how many to pass over.
        :param filters: as SOPS names them: ``keyword``, ``is_started``, ``is_finished``, ``create_method``,
            ``template_id``, ``create_time_start``, ``create_time_end``, ….
        """
        return self._ask(lambda: list_tasks(self.project, limit=limit, offset=offset, **filters))

    def count_tasks(self, **filters: Any) -> int:
        """Count tasks of the business.

        :param filters: those of :meth:`get_task_list`.
        """
        return self._ask(lambda: count_tasks(self.project, **filters))

    def get_template_list(self, **filters: Any) -> list[models.TemplateListItem]:
        """List templates of the business.

        :param filters: as SOPS names them: ``template_source`` (``business`` or ``common``), ``name_keyword``, ….
        """
        return self._read(readers.template_list, "get_template_list", **filters)

    def get_template_info(self, template_id: int | str, **params: Any) -> models.Template:
        """Read a template with its nodes and variables.

        :param params: as SOPS names them: ``template_source`` (``business`` or ``common``).
        """
        return self._read(readers.template, "get_template_info", template_id=template_id, **params)

    def create_task(
        self,
        template_id: int | str,
        name: str,
        *,
        constants: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> models.CreatedTask:
        """Create a task from a template. It does nothing until it is started; the same call twice makes two tasks.

        :param name: 1 to 100 characters, and to 50 before SOPS 3.6.31; a longer one is refused.
        :param constants: values by key as SOPS writes it, e.g. ``{"${IP}": "10.0.0.1"}``.
        :param params: as SOPS names them: ``flow_type``, ``template_source``, ``exclude_task_nodes_id``, ….
        """
        return self._read(
            readers.created_task,
            "create_task",
            template_id=template_id,
            name=name,
            constants=dict(constants or {}),
            **params,
        )

    def start_task(self, task_id: int | str) -> None:
        """Queue a task for its start; that it was queued does not yet mean that it starts."""
        self._send("start_task", task_id=task_id)

    def operate_task(self, task_id: int | str, action: str) -> None:
        """Operate a task.

        :param action: ``start``, ``pause``, ``resume`` or ``revoke``.
        """
        self._send("operate_task", task_id=task_id, action=action)

    def operate_node(self, task_id: int | str, node_id: str, action: str, **params: Any) -> None:
        """Operate a node of a task; that SOPS says yes does not yet mean that something comes of it.

        :param action: ``retry``, ``skip``, ``callback``, ``forced_fail``, ``pause``, ``resume``, ``pause_subproc``,
            ``resume_subproc``, ``skip_exg``.
        :param params: as SOPS names them: ``data``, ``inputs``, ``flow_id``.
        """
        self._send("operate_node", task_id=task_id, node_id=node_id, action=action, **params)

    def get_task_node_detail(self, task_id: int | str, node_id: str, **params: Any) -> models.NodeDetail:
        """Read a node's inputs, outputs and error.

        :param params: as SOPS names them: ``component_code``, ``subprocess_stack`` (JSON list of node ids), ``loop``.
        """
        return self._read(readers.node_detail, "get_task_node_detail", task_id=task_id, node_id=node_id, **params)

    def test_connection(self) -> tuple[bool, str]:
        """Say in one sentence whether a wait can work with the connection: host, credentials, permissions.

        See :func:`~airflow_provider_sops.core.http.connection_check.probe`.
        """
        try:
            site = self.site
            client = SopsClient(site.endpoint, scope=site.scope, settings=site.settings, retry=NO_RETRY)
            with client:
                return probe(client, site.bk_biz_id)
        except Exception as error:
            return False, str(error)

    def _effective_scope(self) -> Scope:
        return parse_scope(self._scope) if self._scope else self.site.scope

    def _read(self, read: Callable[[Answer], T], api: str, /, **params: Any) -> T:
        answer = self._send(api, **params)
        with airflow_errors():
            return read(answer)

    def _ask(self, make: Callable[[], Flow[T]]) -> T:
        with airflow_errors():
            return self.run(make())

    def _send(self, api: str, /, **params: Any) -> Answer:
        with airflow_errors():
            call = self.project.call(api, **params)
        return self.send(call)
